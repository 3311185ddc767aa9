package pool

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// Every policy can take the place of every other, with the sessions that there are.
func TestUpdateChangesThePolicy(t *testing.T) {
	allPolicies(t, func(t *testing.T, from Policy) {
		c := Config{Name: "test", Balance: from, Backends: limited(2, 0, 0)}
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		f := func(to Policy, want map[string]int) {
			t.Helper()
			c.Balance = to
			if change, err := p.Update(c); err != nil || len(change.Kept) != 3 || p.Policy() != to {
				t.Fatalf("%v: %+v, error %v", p.Policy(), change, err)
			}
			got := map[string]int{}
			for name := range strings.FieldsSeq(sequence(p, 4)) {
				got[name]++
				p.Lookup(name).Release()
			}
			for name, n := range want {
				if got[name] != n {
					t.Errorf("from %v to %v: %v, want %v", from, to, got, want)
				}
			}
		}
		take(p.Lookup("a"))
		f(First, map[string]int{"a": 1, "b": 3})
		if got := reserve(p); got != "a" {
			t.Errorf("first begins with %s", got)
		}
		f(RoundRobin, map[string]int{"b": 2, "c": 2}) // a is full
		f(SourceHash, map[string]int{"a": 0})
		f(Random, map[string]int{"a": 0})
		f(LeastConn, map[string]int{"b": 2, "c": 2})
	})
}

// The table of source_hash is of the backends that there are: the clients of those that stay stay, nearly all, and an
// update that changes neither backends nor weights makes no new one.
func TestUpdateSourceHash(t *testing.T) {
	c := weights(ones(6)...)
	p := newPool(t, SourceHash, c[:5])
	cs := clients(5000)
	before, table := placed(t, p, cs), p.balancer
	c[0].MaxConns, c[1].Backup = 1e6, true
	replace(t, p, c[3], c[0], c[1], c[2], c[4])
	if p.balancer != table {
		t.Error("a new table was made")
	}
	c[1].Backup = false
	replace(t, p, c[:5]...)
	f := func(what, gone string) {
		t.Helper()
		after := placed(t, p, cs)
		if slices.Contains(after, gone) {
			t.Errorf("%s: %s was given clients", what, gone)
		}
		if fresh := placed(t, newPool(t, SourceHash, configs(p)), cs); !slices.Equal(after, fresh) {
			t.Errorf("%s: clients go elsewhere than in a new pool", what)
		}
		if _, ofOthers := moved(before, after, gone); ofOthers > len(cs)*30/100 {
			t.Errorf("%s: %d clients moved", what, ofOthers)
		}
		before = after
	}
	f("the same", "")
	replace(t, p, c[0], c[1], c[2], c[4])
	f("d has left", "d")
	replace(t, p, c[5], c[0], c[1], c[2], c[4])
	f("f came", "d")
	c[5].Address = testAddr(77)
	replace(t, p, c[5], c[0], c[1], c[2], c[4])
	f("f has another address", "d")
	c[5].Weight = 3
	replace(t, p, c[5], c[0], c[1], c[2], c[4])
	f("f has another weight", "d")
}

// configs returns what a pool was told of its backends.
func configs(p *Pool) (all []BackendConfig) {
	for _, b := range p.Backends() {
		all = append(all, b.Config())
	}
	return all
}

// One that comes ramps, as does one that comes back; one that stays goes on with its ramp, by the new time.
func TestUpdateSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{Name: "test", Backends: weights(1, 1, 1), SlowStart: slowStart}
		all := c.Backends
		c.Backends = all[:2]
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		a := p.Lookup("a")
		f := func(what string, slow time.Duration, backends []BackendConfig, want ...int) {
			t.Helper()
			c.SlowStart, c.Backends = slow, backends
			if _, err := p.Update(c); err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, b := range p.Backends() {
				got = append(got, b.Stats().Share)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: shares %v, want %v", what, got, want)
			}
		}
		f("new", slowStart, all[:2], 100, 100)
		f("c came", slowStart, all, 100, 100, 1)
		time.Sleep(slowStart / 2)
		comeBack(a)
		f("a is back", slowStart, all, 1, 100, 50)
		time.Sleep(slowStart / 4)
		f("later", slowStart, all, 25, 100, 75)
		f("slower", 2*slowStart, all, 13, 100, 38)
		take(a)
		f("a has left", slowStart, all[1:], 100, 75)
		f("a is back", slowStart, all, 1, 100, 75)
		f("no slow start", 0, all, 100, 100, 100)
		f("slow start again", slowStart, all, 100, 100, 100)
	})
}

// With no failback, the one that has taken over stays the first, wherever it is written, until it leaves.
func TestUpdateNoFailback(t *testing.T) {
	c := Config{Name: "test", Balance: First, Backends: weights(1, 1, 1)}
	all := c.Backends
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, noFailback bool, want string, backends ...BackendConfig) {
		t.Helper()
		c.NoFailback, c.Backends = noFailback, backends
		if _, err := p.Update(c); err != nil {
			t.Fatal(err)
		}
		if got := reserve(p); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	f("failback", false, "a", all...)
	p.Lookup("a").SetUp(false)
	f("a is down", false, "b", all...)
	c.NoFailback = true
	if _, err := p.Update(c); err != nil { // b has sessions by now
		t.Fatal(err)
	}
	p.Lookup("a").SetUp(true)
	f("a is back", true, "b", all...)
	f("another order", true, "b", all[2], all[0], all[1])
	f("b has left", true, "c", all[2], all[0])
	f("b is back, and the first", true, "c", all[1], all[2], all[0])
	f("failback again", false, "b", all[1], all[2], all[0])
	f("none", true, ErrNoBackend.Error())
	f("another", true, "a", all[0])
	p.Lookup("a").SetUp(false)
	f("b, unused so far", true, "b", all[:2]...)
}

// A reload that leaves the tier alone does not undo what health checks have made of it.
func TestUpdateKeepsTheTier(t *testing.T) {
	c := weights(1, 1)
	p := newPool(t, First, c)
	a := p.Lookup("a")
	f := func(what string, configured, want bool) {
		t.Helper()
		c[0].Backup = configured
		replace(t, p, c...)
		if a.Backup() != want || a.Config().Backup != configured {
			t.Errorf("%s: backup %v, configured %v", what, a.Backup(), a.Config().Backup)
		}
	}
	a.SetBackup(true)
	f("not configured", false, true)
	f("configured", true, true)
	a.SetBackup(false)
	f("configured still", true, false)
	f("not any more", false, false)
	a.SetBackup(true)
	take(a)
	replace(t, p, c[1])
	f("it came back", false, false)
}

// Nothing of a pool keeps a backend that was removed.
func TestUpdateLetsGo(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		c := Config{Name: "test", Balance: policy, Backends: weights(1, 1, 1), SlowStart: time.Hour, NoFailback: policy == First}
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		gone := weak.Make(p.Lookup("a"))
		comeBack(p.Lookup("a"))
		if b, err := p.Reserve(noClient, []*Backend{p.Lookup("a")}); err != nil {
			t.Fatal(err)
		} else {
			defer b.Release() // one that stays
			sequence(p, 9)
		}
		for b := p.Lookup("a"); b.Stats().Active > 0; {
			b.Release()
		}
		c.Backends = c.Backends[1:]
		if _, err := p.Update(c); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); gone.Value() != nil; runtime.GC() {
			if time.Now().After(deadline) {
				t.Fatal("it is kept")
			}
		}
		runtime.KeepAlive(p)
	})
}

// A backend that nobody knows yet waits for its first check, unless the pool has nobody else: then it is up, when it joins
// and also when the others leave or may not serve any more.
func TestUpdateOfUnproven(t *testing.T) {
	join := func(name string) BackendConfig {
		return BackendConfig{Name: name, Address: Address{Unix: "/" + name}, Weight: 1, Unproven: true}
	}
	expectUp := func(p *Pool, want string) {
		t.Helper()
		var up []string
		for _, b := range p.Backends() {
			if b.Stats().Up {
				up = append(up, b.name)
			}
		}
		if got := strings.Join(up, " "); got != want {
			t.Errorf("%q are up, want %q", got, want)
		}
	}
	p := newPool(t, RoundRobin, []BackendConfig{{Name: "a", Address: Address{Unix: "/a"}, Weight: 1}})
	replace(t, p, join("a"), join("b"))
	expectUp(p, "a")
	replace(t, p, join("b"), join("c"))
	expectUp(p, "b c")
	b, c := p.Backends()[0], p.Backends()[1]
	b.SetUp(false)
	replace(t, p, join("b"), join("c"), join("d"))
	expectUp(p, "c")
	drained := join("c")
	drained.State = Drain
	replace(t, p, join("b"), drained, join("d"))
	expectUp(p, "c d") // of b is known that it does not serve
	c.SetUp(false)
	replace(t, p, join("e"))
	expectUp(p, "e")
	replace(t, p, BackendConfig{Name: "f", Address: Address{Unix: "/f"}, Weight: 1, Down: true})
	expectUp(p, "")
}
