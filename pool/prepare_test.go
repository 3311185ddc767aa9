package pool

import "testing"

// While an update is prepared sessions go on, and whoever else would change what it was made from has to wait.
func TestPrepareHoldsChangesBack(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		c := limited(1, 1)
		p := newPool(t, policy, c)
		ends := map[string]func(*Update) Change{
			"commit":  (*Update).Commit,
			"abandon": func(u *Update) Change { u.Abandon(); return Change{} },
		}
		for name, end := range ends {
			u, err := p.Prepare(Config{Name: p.Name(), Balance: policy, Backends: c})
			if err != nil {
				t.Fatal(err)
			}
			if p.changing.TryLock() {
				t.Fatalf("%s: another update could begin", name)
			}
			sequence(p, 2)
			p.Backends()[0].SetUp(false)
			p.Backends()[0].SetUp(true)
			if end(u); !p.changing.TryLock() {
				t.Fatalf("%s: no other update can begin", name)
			}
			p.changing.Unlock()
			if again := u.Commit(); len(again.Added)+len(again.Kept)+len(again.Removed) > 0 {
				t.Errorf("%s: another commit has done %+v", name, again)
			}
			for _, b := range p.Backends() {
				if n := b.Stats().Active; n != 1 {
					t.Errorf("%s: %s has %d sessions, want 1", name, b.Name(), n)
				}
				b.Release()
			}
		}
	})
}
