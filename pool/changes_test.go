package pool

import "testing"

// TestChangesAreCounted: what is set to what it is already is no change.
func TestChangesAreCounted(t *testing.T) {
	p, err := New(Config{Name: "p", Backends: []BackendConfig{{Name: "b", Weight: 1, Address: Address{Unix: "/b"}}}})
	if err != nil {
		t.Fatal(err)
	}
	b := p.Backends()[0]
	want := uint64(0)
	f := func(name string, set func(), changes uint64) {
		t.Helper()
		want += changes
		set()
		if got := b.Stats().Changes; got != want {
			t.Errorf("%s: %d changes, want %d", name, got, want)
		}
	}
	f("up", func() { b.SetUp(true) }, 0)
	f("down", func() { b.SetUp(false) }, 1)
	f("ejected", func() { b.SetEjected(true) }, 1)
	f("again", func() { b.SetEjected(true) }, 0)
	f("ready", func() { b.SetAdmin(Ready) }, 0)
	f("drain", func() { b.SetAdmin(Drain) }, 1)
	f("back", func() { b.SetUp(true); b.SetEjected(false); b.SetAdmin(Ready) }, 3)
}
