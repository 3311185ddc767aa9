package pool

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// replace gives a pool these backends and leaves the rest as it is.
func replace(t *testing.T, p *Pool, backends ...BackendConfig) Change {
	t.Helper()
	p.mu.Lock()
	c := Config{Name: p.name, Balance: p.policy, Shards: p.shards, QueueMax: p.queueMax, SlowStart: p.slowStart, NoFailback: p.keeps}
	p.mu.Unlock()
	c.Backends = backends
	change, err := p.Update(c)
	if err != nil {
		t.Fatal(err)
	}
	return change
}

// names returns the names of some backends.
func names(backends []*Backend) string {
	var all []string
	for _, b := range backends {
		all = append(all, b.name)
	}
	return strings.Join(all, " ")
}

// expectChange checks what an update has done.
func expectChange(t *testing.T, c Change, added, kept, removed string) {
	t.Helper()
	if a, k, r := names(c.Added), names(c.Kept), names(c.Removed); a != added || k != kept || r != removed {
		t.Errorf("added %q, kept %q, removed %q; want %q, %q, %q", a, k, r, added, kept, removed)
	}
}

func TestUpdateKeepsWhatABackendIs(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		c := weights(1, 2, 3)
		p := newPool(t, policy, c)
		before := slices.Clone(p.Backends())
		for _, b := range before {
			take(b)
			b.Dialed(DialRefused)
			b.AddTraffic(0, 5, 7)
		}
		before[0].SetUp(false)
		before[1].SetEjected(true)
		want := make([]BackendStats, len(before))
		for i, b := range before {
			want[i] = b.Stats()
		}
		for i := range c {
			c[i].Weight, c[i].MaxConns, c[i].State, c[i].Backup, c[i].Down = 5-i, 6+i, Drain, true, true
			want[i].Weight, want[i].MaxConns, want[i].State, want[i].Backup, want[i].Usable = 5-i, 6+i, Drain, true, false
			want[i].Changes++
		}
		expectChange(t, replace(t, p, c[2], c[0], c[1]), "", "c a b", "")
		if !slices.Equal(p.Backends(), []*Backend{before[2], before[0], before[1]}) {
			t.Error("the backends are not the same, in the new order")
		}
		for i, b := range before {
			if got := b.Stats(); got != want[i] {
				t.Errorf("%s is %+v, want %+v", b.Name(), got, want[i])
			}
			if b.Config() != c[i] {
				t.Errorf("%s is configured as %+v, want %+v", b.Name(), b.Config(), c[i])
			}
		}
	})
}

// A backend that is removed takes nobody, whatever its states are set to, and is forgotten with its last session.
func TestUpdateRemoves(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		c := limited(2, 2)
		p := queuePool(t, policy, c)
		a, b := p.Backends()[0], p.Backends()[1]
		sequence(p, 4)
		l := newLine(t, p)
		l.wait("granted")
		a.Release()
		l.order("a slot of a is free", "granted", 0)
		expectChange(t, replace(t, p, c[1]), "", "b", "a")
		l.wait("waits")
		a.Release()
		for _, set := range []func() error{
			func() error { a.SetUp(false); a.SetUp(true); return nil }, func() error { a.SetAdmin(Ready); return nil },
			func() error { return a.SetMaxConns(0) }, func() error { return a.SetWeight(7) },
			func() error { a.SetBackup(true); a.SetEjected(false); return nil },
		} {
			if err := set(); err != nil {
				t.Error(err)
			}
			l.order("a was removed", "granted", 1)
			if got := reserve(p); got != ErrFull.Error() {
				t.Errorf("got %s, want none", got)
			}
		}
		if a.Usable() || a.Stats().Usable || p.Usable() != 1 || p.HasOther(b, nil) || p.MayHaveOther(b, nil) || p.Lookup("a") != nil {
			t.Error("a was removed, and can be had")
		}
		if s := a.Stats(); s.Weight != 7 || s.Active != 1 || names(p.Backends()) != "b" || names(p.All()) != "b a" {
			t.Errorf("a is %+v, the pool has %q, in all %q", s, names(p.Backends()), names(p.All()))
		}
		if got := p.Collect(l.waiters["granted"]); got != a {
			t.Fatalf("collected %s, want the slot of a that was granted before", nameOf(got))
		}
		a.Release()
		if names(p.All()) != "b" {
			t.Errorf("the pool has %q, a has no sessions any more", names(p.All()))
		}
		b.Release()
		l.order("b has room", "granted waits", 0)
	})
}

// A new address under an old name is a new backend, and so is one that comes back after its last session.
func TestUpdateNewAddress(t *testing.T) {
	c := weights(1, 1)
	p := newPool(t, LeastConn, c)
	old := p.Lookup("a")
	take(old)
	moved := c[0]
	moved.Address = testAddr(9)
	expectChange(t, replace(t, p, moved, c[1]), "a", "b", "a")
	second := p.Lookup("a")
	if second == old || second.Address() != testAddr(9) || old.Address() != testAddr(0) || second.Stats().Active != 0 {
		t.Error("the new address is not a new backend")
	}
	take(second)
	change := replace(t, p, c...)
	expectChange(t, change, "a", "b", "a")
	if change.Added[0] != old || change.Removed[0] != second || names(p.All()) != "a b a" {
		t.Errorf("the old one did not come back; all are %q", names(p.All()))
	}
	replace(t, p, c[1])
	old.Release()
	if all := p.All(); len(all) != 2 || all[1] != second {
		t.Errorf("all are %q", names(all))
	}
	if change := replace(t, p, c...); change.Added[0] == old || change.Added[0].Stats().Connects != 0 {
		t.Error("one that was forgotten came back")
	}
}

// A backend that comes back while it has sessions is the same one: its sessions count against its limit.
func TestUpdateRevives(t *testing.T) {
	c := limited(2, 1)
	p := queuePool(t, First, c)
	a := p.Backends()[0]
	sequence(p, 3)
	a.Dialed(DialOK)
	a.SetEjected(true)
	replace(t, p, c[1])
	l := newLine(t, p)
	l.wait("1", a)
	l.wait("2", a)
	expectChange(t, replace(t, p, c...), "a", "b", "")
	if s := a.Stats(); p.Lookup("a") != a || s.Active != 2 || s.Connects != 1 || !s.Ejected || s.Usable {
		t.Errorf("a came back as %+v", s)
	}
	a.SetEjected(false) // it has come back in the middle of a wait
	l.order("a is full", "", 2)
	a.Release()
	l.order("a has room", "1", 1)

	replace(t, p, c[1])
	c[0].Down, c[0].MaxConns = true, 0
	replace(t, p, c...)
	if s := a.Stats(); s.Up || s.Active != 2 || s.Changes != 3 {
		t.Errorf("a came back as %+v, want it down", s)
	}
	l.order("a is down", "1", 1)
	a.SetUp(true)
	l.order("a is up", "1 2", 0)
}

// Whatever an update opens a place by, those who wait get it, first come first served.
func TestUpdateServesWhoWaits(t *testing.T) {
	f := func(name string, change func(c *Config), want string, waiting int) {
		t.Run(name, func(t *testing.T) {
			c := Config{Name: "test", Backends: limited(1, 1), QueueMax: 10}
			c.Backends[1].State = Drain
			p, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			sequence(p, 1)
			l := newLine(t, p)
			l.wait("1")
			l.wait("barred", p.Lookup("a"))
			l.wait("2")
			l.wait("3")
			change(&c)
			if _, err := p.Update(c); err != nil {
				t.Fatal(err)
			}
			l.order(name, want, waiting)
		})
	}
	f("nothing", func(*Config) {}, "", 4)
	f("limit", func(c *Config) { c.Backends[0].MaxConns = 3 }, "1 2", 2)
	f("state", func(c *Config) { c.Backends[1].State = Ready }, "1", 3)
	f("added", func(c *Config) { c.Backends = append(c.Backends, limited(1, 1, 2)[2]) }, "1 barred", 2)
	f("replaced", func(c *Config) { c.Backends = limited(1, 1, 3)[2:] }, "1 barred 2", 1)
	f("smaller queue", func(c *Config) { c.QueueMax = 1 }, "", 4)
	f("no queue", func(c *Config) { c.QueueMax, c.Backends[0].MaxConns = 0, 2 }, "1", 3)
	f("no backends", func(c *Config) { c.Backends = nil }, "", 4)
	f("policy", func(c *Config) { c.Balance, c.Backends[0].MaxConns = SourceHash, 0 }, "1 2 3", 1)
}

func TestUpdateQueueMax(t *testing.T) {
	c := Config{Name: "test", Backends: limited(1), QueueMax: 2}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	sequence(p, 1)
	l := newLine(t, p)
	l.wait("1")
	l.wait("2")
	f := func(queueMax int, want error) {
		t.Helper()
		c.QueueMax = queueMax
		if _, err := p.Update(c); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.ReserveOrWait(new(Waiter)); err != want || p.QueueMax() != queueMax {
			t.Errorf("at most %d, want %d: error %v, want %v", p.QueueMax(), queueMax, err, want)
		}
		l.order("who waits stays", "", 2)
	}
	f(2, ErrQueueFull)
	f(1, ErrQueueFull)
	f(0, ErrFull)
	c.QueueMax = 3
	if _, err := p.Update(c); err != nil {
		t.Fatal(err)
	}
	l.wait("3")
}

// What New takes not, Update takes not, nor another name or number of shards; and then nothing has changed.
func TestUpdateIsAllOrNothing(t *testing.T) {
	valid := Config{Name: "test", Balance: RoundRobin, Backends: weights(1, 2), QueueMax: 3, SlowStart: time.Second, Shards: 2}
	f := func(want string, spoil func(c *Config)) {
		t.Run(want, func(t *testing.T) {
			p, err := New(valid)
			if err != nil {
				t.Fatal(err)
			}
			set := p.Backends()
			before := []BackendStats{set[0].Stats(), set[1].Stats()}
			c := valid
			c.Balance, c.QueueMax, c.SlowStart, c.Backends = First, 9, 0, weights(5, 0, 1)
			c.Backends[0].MaxConns, c.Backends[0].State = 7, Maint
			spoil(&c)
			change, err := p.Update(c)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `update pool "test": `) {
				t.Errorf("error %v, want %s", err, want)
			}
			expectChange(t, change, "", "", "")
			after := []BackendStats{set[0].Stats(), set[1].Stats()}
			if !slices.Equal(before, after) || !slices.Equal(p.All(), set) || p.Policy() != RoundRobin || p.QueueMax() != 3 ||
				p.slowStart != time.Second {
				t.Errorf("%+v became %+v", before, after)
			}
		})
	}
	f(`backend 1 "a": name is already taken`, func(c *Config) { c.Backends[1].Name = "a" })
	f(`address ""`, func(c *Config) { c.Backends[2].Address = Address{} })
	f("weight 257", func(c *Config) { c.Backends[1].Weight = 257 })
	f("max_conns -1", func(c *Config) { c.Backends[2].MaxConns = -1 })
	f("queue max -1", func(c *Config) { c.QueueMax = -1 })
	f("slow_start -1s", func(c *Config) { c.SlowStart = -time.Second })
	f("unknown balance policy", func(c *Config) { c.Balance = 99 })
	f("no failback with balance random", func(c *Config) { c.Balance, c.NoFailback = Random, true })
	f(`name "other": a pool keeps its name`, func(c *Config) { c.Name = "other" })
	f("3 shards: a pool keeps its 2", func(c *Config) { c.Shards = 3 })
	f("0 shards: a pool keeps its 2", func(c *Config) { c.Shards = 0 })
}

// Turns go on where they were while others come and go, and begin anew with other weights.
func TestUpdateKeepsTurns(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, LeastConn} {
		t.Run(policy.String(), func(t *testing.T) {
			c := weights(5, 1, 1, 1)
			p := newPool(t, policy, c[:3])
			turns := func(n int) string {
				var got []string
				for range n {
					b, err := p.Reserve(noClient, nil)
					if err != nil {
						t.Fatal(err)
					}
					b.Release()
					got = append(got, b.name)
				}
				return strings.Join(got, " ")
			}
			f := func(what string, want string) {
				t.Helper()
				if got := turns(len(strings.Fields(want))); got != want {
					t.Errorf("%s: turns %q, want %q", what, got, want)
				}
				sum := 0
				for _, b := range p.Backends() {
					sum += b.credit
				}
				if sum != 0 {
					t.Errorf("%s: the credits add up to %d", what, sum)
				}
			}
			f("new", "a a")
			replace(t, p, c[:3]...)
			f("unchanged", "b a")
			replace(t, p, c[2], c[0], c[1])
			f("another order", "c a a")
			f("all round", "a a c")
			replace(t, p, c[0], c[2])
			f("b has left", "a a a a a c a a")
			replace(t, p, c[0], c[2], c[3])
			f("d came", "a a d a a c a a a")
			c[0].Weight = 1
			replace(t, p, c[0], c[2], c[3])
			f("another weight", "a c d a c d")
		})
	}
}
