package health

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/pool"
)

// open returns how many probers of a server have not been closed.
func (s *server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probers - s.closed
}

// flying returns how many probes of a server have not ended.
func (s *server) flying() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight
}

// goroutines returns how many goroutines the monitor has. Those of other tests, and of the runtime, come and go.
func goroutines() (n int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(stack, "sluice/health.(*Monitor).") {
			n++
		}
	}
	return n
}

// wantOpen checks how many probers each of some servers has: "a=1 b=0".
func (r *rig) wantOpen(when, want string) {
	r.t.Helper()
	for _, field := range strings.Fields(want) {
		name, n, _ := strings.Cut(field, "=")
		if got := r.servers[name].open(); string(rune('0'+got)) != n {
			r.t.Errorf("%s: %d probers of %s, want %s", when, got, name, n)
		}
	}
}

// with returns the settings of steady with a change.
func with(change func(c *Config)) Config {
	c := steady()
	change(&c)
	return c
}

// other asks what steady does not.
func other() Config { return with(func(c *Config) { c.Probe.ProxyVersion = 1 }) }

// An Apply of what there is changes nothing: not a count, not the time of a probe.
func TestApplyOfTheSame(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	specs[0].cfg.Jitter = 0.2
	specs = append(specs, spec{"web", "a b c d e", with(func(c *Config) { c.Eject.Failures = 2 })})
	inBubble(t, specs, prepare, func(r *rig) {
		web := r.pools["web"]
		after(5 * time.Second)
		r.servers["b"].set(errDead)
		r.servers["c"].fallSilent()
		r.sessions.open(web.Lookup("b"), 100)
		after(16 * time.Second) // b is closing
		r.fail(web.Lookup("a"), 2)
		r.fail(web.Lookup("d"), 1)
		r.logged()
		running := goroutines()
		status := func() (all []Status) {
			for _, b := range slices.Concat(web.Backends(), r.pool.Backends()) {
				all = append(all, r.Status(b))
			}
			return all
		}
		before, asked := status(), len(r.servers["e"].times())
		for range 100 {
			r.apply(specs...)
		}
		if got := status(); !slices.Equal(got, before) {
			t.Errorf("status\n%+v, before\n%+v", got, before)
		}
		if got := len(r.servers["e"].times()); got != asked {
			t.Errorf("%d probes at once", got-asked)
		}
		r.wantLog("the same")
		r.wantOpen("the same", "a=1 b=1 c=1 d=1 e=1 pg1=1 pg2=1")
		if n := goroutines(); n != running {
			t.Errorf("%d goroutines, %d before", n, running)
		}
		for range 100 {
			after(100 * time.Millisecond)
			r.apply(specs...)
		}
		if got := gaps(r.servers["e"].times()); slices.ContainsFunc(got, func(d time.Duration) bool { return d != 2*time.Second }) {
			t.Errorf("intervals %v, want 2 s each", got)
		}
		r.fail(web.Lookup("d"), 1)
		if a, d := web.Lookup("a").Stats(), web.Lookup("d").Stats(); !a.Ejected || !d.Ejected {
			t.Errorf("ejected: a %v, d %v after the second failure", a.Ejected, d.Ejected)
		}
		if got := r.sessions.left(web.Lookup("b")); got != 0 {
			t.Errorf("%d sessions are left of the backend that was closing", got)
		}
	})
}

// Targets start and stop with the pools that need them.
func TestApplyOtherPools(t *testing.T) {
	inBubble(t, []spec{{"web", "a b", steady()}, {"app", "b c", steady()}}, nil, func(r *rig) {
		after(3 * time.Second)
		running := goroutines()
		asked := len(r.servers["b"].times())
		r.apply(spec{"web", "a b", steady()}, spec{"new", "d b", steady()})
		r.wantOpen("app is gone", "a=1 b=1 c=0 d=1")
		if got := len(r.servers["b"].times()); got != asked || r.servers["b"].probers != 1 {
			t.Errorf("b: %d probes at once, %d probers", got-asked, r.servers["b"].probers)
		}
		gone := r.pools["app"].Lookup("c")
		if s := r.Status(gone); s != (Status{}) {
			t.Errorf("status of one that is gone: %+v", s)
		}
		asked = len(r.servers["c"].times())
		r.servers["d"].set(errDead)
		after(firstWithin)
		r.wantUp("after the first probe", "new", "b")
		if n := len(r.servers["d"].times()); n != 1 {
			t.Errorf("d was probed %d times within %v, want once", n, firstWithin)
		}
		after(time.Minute)
		if n := len(r.servers["c"].times()) - asked; n != 0 {
			t.Errorf("one that is gone was asked %d times", n)
		}
		if n := goroutines(); n != running {
			t.Errorf("%d goroutines, %d before", n, running)
		}
		r.apply()
		r.wantOpen("all are gone", "a=0 b=0 c=0 d=0")
		if n := goroutines(); n != running-3*2-2 { // a target has two, a pool one
			t.Errorf("%d goroutines, %d before there were no targets and no pools", n, running)
		}
	})
}

// What is known of a server at once holds for a pool that begins to ask it the same.
func TestApplyJoinsATarget(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(10 * time.Second)
		r.servers["pg2"].replica(time.Minute)
		after(2 * time.Second)
		asked := len(r.servers["pg2"].times())
		ro := postgres(RoleReplica)
		ro.MaxLag = time.Second
		r.apply(specs[0], spec{"ro", "pg1 pg2", ro}, spec{"web", "pg1 pg2", steady()})
		r.wantUp("at once", "db", "pg1")
		r.wantUp("at once", "ro", "pg2")
		r.wantReason("ro", "pg1", "is the primary, the pool wants replicas")
		if s := r.PoolStatus(r.pools["ro"]); !s.AllLag {
			t.Error("pg2 serves in the new pool as if it kept up")
		}
		r.wantUp("not asked yet", "web", "pg1 pg2")
		if got := len(r.servers["pg2"].times()); got != asked {
			t.Errorf("%d probes at once", got-asked)
		}
	})
}

// A probe in flight of a question that is not asked any more says nothing.
func TestApplyWithProbesInFlight(t *testing.T) {
	inBubble(t, []spec{{"web", "a b", steady()}}, nil, func(r *rig) {
		after(time.Second)
		r.servers["a"].fallSilent()
		after(2 * time.Second)
		if n := r.servers["a"].flying(); n == 0 {
			t.Fatal("no probe is in flight")
		}
		r.servers["a"].set(nil)
		r.apply(spec{"web", "a b", other()})
		if n := r.servers["a"].flying(); n != 0 {
			t.Errorf("%d probes are in flight, want none", n)
		}
		after(10 * time.Second)
		if s := r.Status(r.backend("a")); s.Failures != 0 || s.Successes < 5 {
			t.Errorf("status %+v", s)
		}
	})
}

// A target of which all members are in maintenance rests, whoever else has left.
func TestApplyAndMaintenance(t *testing.T) {
	inBubble(t, []spec{{"web", "a b", steady()}, {"app", "a", steady()}}, nil, func(r *rig) {
		r.backend("a").SetAdmin(pool.Maint)
		after(3 * time.Second)
		a := r.servers["a"]
		asked := len(a.times())
		r.apply(spec{"web", "a b", steady()})
		after(time.Minute)
		if n := len(a.times()) - asked; n != 0 {
			t.Errorf("probed %d times in maintenance", n)
		}
		a.set(errDead)
		r.apply(spec{"web", "a b", steady()}, spec{"new", "a b", steady()})
		synctest.Wait()
		if n := len(a.times()) - asked; n != 1 {
			t.Errorf("probed %d times for the new pool, want at once", n)
		}
		r.wantUp("after the first probe", "new", "b")
		r.backend("a").SetAdmin(pool.Ready)
		after(adminInterval)
		r.wantUp("out of maintenance", "web", "b")
	})
}

// The same before Run.
func TestApplyBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, web("a b"))
		r.apply(spec{"web", "a b", other()}, spec{"db", "c", postgres(RolePrimary)})
		r.apply(spec{"db", "c", postgres(RolePrimary)})
		r.wantOpen("before Run", "a=0 b=0 c=1")
		r.wantUp("before Run", "db", "")
		after(time.Minute)
		if n := len(r.servers["c"].times()); n != 0 {
			t.Errorf("%d probes before Run", n)
		}
	})
}
