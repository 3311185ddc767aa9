package pool

import (
	"net/netip"
	"slices"
	"testing"
)

func TestBeyondTheLimit(t *testing.T) {
	p := queuePool(t, LeastConn, limited(1, 1))
	a, b := p.Backends()[0], p.Backends()[1]
	f := func(what string, active int, want string) {
		t.Helper()
		if got := a.Stats().Active; got != active {
			t.Errorf("%s: %d active, want %d", what, got, active)
		}
		got := reserve(p, b)
		if got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
		if got == "a" {
			a.Release()
		}
	}
	f("new", 0, "a")
	take(a)
	f("one taken", 1, ErrFull.Error())
	take(a)
	take(a)
	f("two beyond the limit", 3, ErrFull.Error())
	l := newLine(t, p)
	w := l.wait("1", b)
	a.Release()
	a.Release()
	f("at the limit", 1, ErrFull.Error())
	l.order("at the limit", "", 1)
	a.Release()
	l.order("below", "1", 0)
	f("its slot is the waiter's", 1, ErrFull.Error())
	p.Leave(w).Release()

	a.SetUp(false)
	a.SetAdmin(Maint)
	take(a)
	f("out, but taken", 1, ErrNoBackend.Error())
	a.Release()
	f("released", 0, ErrNoBackend.Error())
}

func TestSetBackup(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := newPool(t, policy, weights(1, 1, 1))
		a, b, c := p.Backends()[0], p.Backends()[1], p.Backends()[2]
		f := func(what string, want ...string) {
			t.Helper()
			got := map[string]bool{}
			for _, name := range placed(t, p, clients(200)) {
				got[name] = true
			}
			if policy == First {
				want = want[:1]
			}
			for _, name := range want {
				if !got[name] {
					t.Errorf("%s: %s was given nothing", what, name)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d backends were given sessions, want %v", what, len(got), want)
			}
		}
		f("no backups", "a", "b", "c")
		a.SetBackup(true)
		if !a.Backup() || !a.Stats().Backup || b.Backup() || b.Stats().Backup {
			t.Error("SetBackup does not show")
		}
		f("a is the backup", "b", "c")
		b.SetUp(false)
		c.SetUp(false)
		f("the first tier is down", "a")
		c.SetBackup(true)
		c.SetUp(true)
		f("c joins the backups", "a", "c")
		a.SetBackup(false)
		f("a leaves them", "a")
		b.SetUp(true)
		f("b is back", "a", "b")
		b.SetBackup(true)
		a.SetBackup(true)
		f("all are backups", "a", "b", "c")
	})
}

// A change of tier moves the clients of that backend only, needs no new table, and gives them back.
func TestSourceHashChangeOfTier(t *testing.T) {
	p := newPool(t, SourceHash, weights(ones(5)...))
	cs := clients(5000)
	before, balancer := placed(t, p, cs), p.balancer
	d := p.Lookup("d")
	d.SetBackup(true)
	ofD, ofOthers := moved(before, placed(t, p, cs), "d")
	if ofOthers != 0 || ofD != count(before, "d") {
		t.Errorf("%d of d's %d clients moved, and %d of the others'", ofD, count(before, "d"), ofOthers)
	}
	d.SetBackup(false)
	if !slices.Equal(placed(t, p, cs), before) {
		t.Error("clients did not all return")
	}
	if p.balancer != balancer {
		t.Error("a new table was made")
	}
}

func count(names []string, name string) (n int) {
	for _, s := range names {
		if s == name {
			n++
		}
	}
	return n
}

// take takes a slot beyond the limit, as if the limit had been lowered since.
func take(b *Backend) {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.active++
}

// TestBackendWithoutAddress: there is none.
func TestBackendWithoutAddress(t *testing.T) {
	for _, bad := range []Address{{}, {TCP: netip.AddrPortFrom(netip.Addr{}, 80)}, {TCP: netip.MustParseAddrPort("10.0.0.1:0")}} {
		if _, err := New(Config{Name: "web", Backends: []BackendConfig{{Name: "a", Weight: 1, Address: bad}}}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
