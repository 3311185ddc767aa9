package pool

import (
	"net/netip"
	"slices"
	"testing"
)

// Every change that opens a place gives it to who waits, in the same call.
func TestEveryChangeGrants(t *testing.T) {
	f := func(name string, close, open func(a, b *Backend), want string) {
		t.Helper()
		allPolicies(t, func(t *testing.T, policy Policy) {
			bs := limited(1, 1)
			bs[1].Backup = true
			p := queuePool(t, policy, bs)
			a, b := p.Backends()[0], p.Backends()[1]
			close(a, b)
			l := newLine(t, p)
			w, behind := l.wait("1"), l.wait("2")
			open(a, b)
			l.order(name, "1", 1)
			if got := nameOf(p.Collect(w)); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
			if got := nameOf(p.Leave(behind)); got != "none" {
				t.Errorf("%s: the second waiter has got %s", name, got)
			}
		})
	}
	full := func(a, _ *Backend) { reserve(a.Pool()) }
	bothDown := func(a, b *Backend) { a.SetUp(false); b.SetUp(false) }
	f("Release", full, func(a, _ *Backend) { a.Release() }, "a")
	f("SetMaxConns", full, func(a, _ *Backend) { _ = a.SetMaxConns(2) }, "a")
	f("SetUp", bothDown, func(a, _ *Backend) { a.SetUp(true) }, "a")
	f("SetUp of a backup", bothDown, func(_, b *Backend) { b.SetUp(true) }, "b")
	f("SetUp(false) of the first tier", full, func(a, _ *Backend) { a.SetUp(false) }, "b")
	f("SetEjected(true) of the first tier", full, func(a, _ *Backend) { a.SetEjected(true) }, "b")
	f("SetBackup(false)", full, func(_, b *Backend) { b.SetBackup(false) }, "b")
	f("SetEjected(false)",
		func(a, b *Backend) { a.SetEjected(true); b.SetEjected(true) },
		func(a, _ *Backend) { a.SetEjected(false) }, "a")
	f("SetAdmin",
		func(a, b *Backend) { a.SetAdmin(Maint); b.SetAdmin(Drain) },
		func(a, _ *Backend) { a.SetAdmin(Ready) }, "a")
	f("SetWeight",
		func(a, b *Backend) { _ = a.SetWeight(0); _ = b.SetWeight(0) },
		func(a, _ *Backend) { _ = a.SetWeight(1) }, "a")
}

func TestRaisedLimitGrantsAsMany(t *testing.T) {
	f := func(limit int, want string, waiting int) {
		t.Helper()
		p := queuePool(t, LeastConn, limited(1))
		reserve(p)
		l := newLine(t, p)
		for _, name := range []string{"1", "2", "3", "4"} {
			l.wait(name)
		}
		_ = p.Backends()[0].SetMaxConns(limit)
		l.order("raised", want, waiting)
	}
	f(1, "", 4)
	f(3, "1 2", 2)
	f(0, "1 2 3 4", 0)
}

// A waiter that has failed on what is free lets those behind it pass, and newcomers too.
func TestBarredWaiterIsPassedOver(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := queuePool(t, policy, limited(1, 1))
		sequence(p, 2)
		a, b := p.Backends()[0], p.Backends()[1]
		l := newLine(t, p)
		l.wait("not a", a)
		l.wait("not a either", a)
		l.wait("any")
		a.Release()
		l.order("a freed", "any", 2)
		if got := p.Leave(l.waiters["any"]); got != a {
			t.Fatalf("got %s, want a", nameOf(got))
		}
		a.Release()
		l.order("a freed again", "any", 2)
		if got := reserve(p); got != "a" {
			t.Errorf("a newcomer got %s, want a, which nobody who waits may have", got)
		}
		b.Release()
		l.order("b freed", "any not a", 1)
	})
}

// countingPolicy counts how often a policy is asked.
type countingPolicy struct {
	balancer
	picks int
}

func (c *countingPolicy) pick(candidates []*Backend, client netip.Addr) *Backend {
	c.picks++
	return c.balancer.pick(candidates, client)
}

// A long queue of those who can take nothing must not be walked for every session that ends: a dead backend loses all
// of its sessions at once, while those who have failed on it wait.
func TestReleaseDoesNotWalkTheQueue(t *testing.T) {
	p := queuePool(t, LeastConn, limited(0, 3))
	a, b := p.Backends()[0], p.Backends()[1]
	policy := &countingPolicy{balancer: p.balancer}
	p.balancer = policy
	f := func(what string, freed *Backend, want int) {
		t.Helper()
		before := policy.picks
		freed.Release()
		if got := policy.picks - before; got != want {
			t.Errorf("%s: the policy was asked %d times, want %d", what, got, want)
		}
	}
	for range 4 {
		reserve(p, b)
	}
	for range 3 {
		reserve(p, a)
	}
	take(b)
	f("nobody waits", a, 0)
	l := newLine(t, p)
	for range 5 {
		l.wait("barred", a, b)
	}
	f("no limit", a, 0)
	f("still at the limit", b, 0)
	f("no longer full", b, 5)
	f("was not full", b, 0)
	l.order("all barred", "", 5)
	a.SetUp(false)
	l.order("a down", "", 5)
	f("down", a, 0)
}

func TestComebackForgives(t *testing.T) {
	changes := map[string][2]func(*Backend){
		"up":      {func(b *Backend) { b.SetUp(false) }, func(b *Backend) { b.SetUp(true) }},
		"ejected": {func(b *Backend) { b.SetEjected(true) }, func(b *Backend) { b.SetEjected(false) }},
		"admin":   {func(b *Backend) { b.SetAdmin(Drain) }, func(b *Backend) { b.SetAdmin(Ready) }},
		"weight":  {func(b *Backend) { _ = b.SetWeight(0) }, func(b *Backend) { _ = b.SetWeight(9) }},
	}
	for name, change := range changes {
		p, elsewhere := queuePool(t, LeastConn, limited(0, 1, 0)), newPool(t, First, weights(1))
		a, b, c := p.Backends()[0], p.Backends()[1], p.Backends()[2]
		l := newLine(t, p)
		reserve(p, a, c)
		w := l.wait("1", c, a, elsewhere.Backends()[0], a)
		change[0](a)
		l.order(name+": gone", "", 1)
		b.SetAdmin(Ready) // what changes nothing forgives nothing
		l.order(name+": still gone", "", 1)
		change[1](a)
		l.order(name+": back", "1", 0)
		if got := p.Collect(w); got != a {
			t.Errorf("%s: got %s, want a", name, nameOf(got))
		}
		if !slices.Equal(w.Tried, []*Backend{c, elsewhere.Backends()[0]}) {
			t.Errorf("%s: tried %d backends after the comeback, want c and the other pool's", name, len(w.Tried))
		}
	}
}

func TestForgive(t *testing.T) {
	p := queuePool(t, LeastConn, limited(1))
	a := p.Backends()[0]
	l := newLine(t, p)
	l.wait("1", a)
	l.wait("2", a)
	l.order("room for neither", "", 2)
	p.Forgive(l.waiters["2"])
	l.order("2 forgiven", "2", 1)
	p.Forgive(l.waiters["1"])
	l.order("1 forgiven, but a is full", "2", 1)
	l.wait("3")
	p.Leave(l.waiters["2"]).Release()
	l.order("1 has kept its place", "2 1", 1)
	_ = a.SetMaxConns(0)
	l.order("no limit", "2 1 3", 0)
	rested := &Waiter{Tried: []*Backend{a}, Granted: func() { t.Error("granted to who does not wait") }}
	p.Forgive(rested)
	if b := p.Leave(rested); b != nil || len(rested.Tried) != 0 || a.Stats().Active != 2 {
		t.Errorf("Forgive of who does not wait: got %s, tried %d", nameOf(b), len(rested.Tried))
	}
}
