package health

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"weak"

	"sluice/pool"
)

// removing returns the rules of a pool that says what becomes of the sessions of removed backends.
func removing(rule CloseRule) Config {
	return with(func(c *Config) { c.OnDown.Removed = rule })
}

// wantLeaving checks how many backends, and pools, the monitor knows that it does not watch any more.
func (r *rig) wantLeaving(when string, backends, pools int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, w := range r.Monitor.pools {
		n += len(w.leaving)
	}
	if n != backends || len(r.gone) != pools {
		r.t.Errorf("%s: %d backends and %d pools are known still, want %d and %d", when, n, len(r.gone), backends, pools)
	}
}

func TestRemovedSessionsAreClosedAfterGraceAtARate(t *testing.T) {
	cfg := removing(CloseRule{Close: true, Grace: 2 * time.Second, Rate: 10})
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		a := r.backend("a")
		r.sessions.open(a, 100)
		r.sessions.open(r.backend("b"), 10)
		r.apply(spec{"web", "b", cfg})
		r.wantLog("at once")
		after(2*time.Second - 1)
		if calls := r.sessions.done(a); len(calls) > 0 {
			t.Errorf("within the grace: %q", calls) // those that it has not answered yet it will
		}
		after(1 + time.Second)
		if got := r.sessions.left(a); got != 90 && got != 89 {
			t.Errorf("%d sessions are left after the first second, want 90", got)
		}
		r.wantLeaving("while closing", 1, 0)
		after(time.Minute)
		r.wantLog("in the end",
			`level=INFO msg="closing sessions" pool=web backend=a cause=removed sessions=100 rate=10`,
			`level=INFO msg="sessions closed" pool=web backend=a cause=removed sessions=100`)
		if n := r.sessions.endedFor(CauseRemoved); n != 100 || r.sessions.left(r.backend("b")) != 10 {
			t.Errorf("%d sessions were ended because of the removal, b has %d", n, r.sessions.left(r.backend("b")))
		}
		r.wantLeaving("in the end", 0, 0)
	})
}

// By default sessions of a removed backend are kept. A rule that is changed later holds for them too.
func TestRemovedSessionsFollowTheRule(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.backend("a")
		r.sessions.open(a, 100)
		f := func(when string, rule CloseRule, want int) {
			t.Helper()
			r.apply(spec{"web", "b", removing(rule)})
			after(time.Minute)
			if got := r.sessions.left(a); got != want {
				t.Errorf("%s: %d sessions are left, want %d", when, got, want)
			}
		}
		f("by default", DefaultConfig().OnDown.Removed, 100)
		r.wantLeaving("by default", 1, 0)
		f("with a grace", CloseRule{Close: true, Grace: 65 * time.Second, Rate: 1}, 100)
		after(6 * time.Second)
		got := r.sessions.left(a)
		if got != 98 && got != 99 {
			t.Errorf("just after the grace %d sessions are left", got)
		}
		f("kept again", CloseRule{}, got)
		f("all at once", CloseRule{Close: true}, 0)
		r.wantLeaving("all at once", 0, 0)
	})
}

// Sessions of a whole pool that is gone are closed by its last rule. Where that keeps them nobody remembers the pool.
func TestRemovedPool(t *testing.T) {
	keep, closes := spec{"keep", "a", steady()}, spec{"web", "a b", removing(CloseRule{Close: true, Rate: 10})}
	inBubble(t, []spec{closes, keep}, nil, func(r *rig) {
		a, kept := r.backend("a"), r.pools["keep"].Backends()[0]
		r.sessions.open(a, 100)
		r.sessions.open(kept, 100)
		r.apply()
		r.wantLeaving("at once", 0, 1)
		after(5 * time.Second)
		if got := r.sessions.left(a); got < 49 || got > 51 {
			t.Errorf("%d sessions are left after 5 s, want 50", got)
		}
		after(time.Minute)
		r.wantLeaving("in the end", 0, 0)
		if n := r.sessions.endedFor(CauseRemoved); n != 100 || r.sessions.left(kept) != 100 {
			t.Errorf("%d sessions were ended, %d are left of those to be kept", n, r.sessions.left(kept))
		}
		r.wantOpen("in the end", "a=0 b=0")
	})
}

// A backend that comes back keeps the sessions that it has still, in its pool or with it.
func TestRemovedComesBack(t *testing.T) {
	cfg := removing(CloseRule{Close: true, Rate: 10})
	both := []spec{{"web", "a b", cfg}, {"app", "a", cfg}}
	inBubble(t, both, nil, func(r *rig) {
		for _, p := range r.pools {
			r.sessions.open(p.Lookup("a"), 100)
		}
		web, app := r.backend("a"), r.pools["app"].Lookup("a")
		r.apply(spec{"web", "b", cfg})
		after(time.Second)
		r.wantLeaving("a is gone", 1, 1)
		r.apply(both...)
		r.wantLeaving("a is back", 0, 0)
		after(time.Minute)
		for _, b := range []*pool.Backend{web, app} {
			if got := r.sessions.left(b); got < 88 || got > 91 {
				t.Errorf("%s of %s has %d sessions, closing was to stop at 90", b.Name(), b.Pool().Name(), got)
			}
		}
		if r.backend("a") != web || !r.Status(web).Up || !r.Status(app).Up {
			t.Error("a is not what it was")
		}
	})
}

// A server may be dead, or the wrong one, when it is removed: its sessions must not be kept for that.
func TestRemovedDemoted(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	specs[0].cfg.OnDown.Demoted.Rate = 10
	specs[0].cfg.OnDown.Removed = CloseRule{Close: true, Grace: time.Hour}
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		old := r.backend("pg1")
		r.sessions.open(old, 100)
		r.servers["pg2"].primary(2)
		after(3 * time.Second)
		specs[0].backends = "pg2"
		r.apply(specs...)
		after(time.Minute)
		if n := r.sessions.endedFor(CauseDemoted); n != 100 {
			t.Errorf("%d sessions were ended, %d are left", n, r.sessions.left(old))
		}
	})
}

// What was planned is forgotten when it has been carried out: each plan knows the targets before it.
func TestPlansAreForgotten(t *testing.T) {
	r := newRig(t, web("a b"))
	var plans []weak.Pointer[plan]
	var pools []weak.Pointer[plannedPool]
	for i := range 4 {
		p, err := r.Prepare(r.watched([]spec{{"web", "a b", with(func(c *Config) { c.Rise += i / 2 })}, {"app", "a", steady()}}))
		if err != nil {
			t.Fatal(err)
		}
		plans, pools = append(plans, weak.Make(p.plan)), append(pools, weak.Make(p.plan.pools[0]))
		p.Commit()
	}
	runtime.GC()
	for i := range plans {
		if plans[i].Value() != nil || pools[i].Value() != nil {
			t.Errorf("plan %d is kept", i)
		}
	}
	runtime.KeepAlive(r)
}

// Nothing of what has left stays with the monitor, however often pools and backends come and go with sessions.
func TestNothingLeaks(t *testing.T) {
	cfg := removing(CloseRule{Close: true, Grace: time.Second, Rate: 100})
	base := spec{"web", "a b", cfg}
	inBubble(t, []spec{base}, nil, func(r *rig) {
		after(time.Minute)
		goroutines := runtime.NumGoroutine()
		for i := range 3000 {
			gone := fmt.Sprint("gone", i)
			next := []spec{{"web", fmt.Sprint("a c", i%7), cfg}, {gone, "d e", cfg}}
			if i%2 == 0 {
				next[0].cfg, next[1].cfg = steady(), steady()
			}
			r.apply(next...)
			r.sessions.open(r.backend(fmt.Sprint("c", i%7)), 2)
			r.sessions.open(r.pools[gone].Lookup("d"), 2)
			after(100 * time.Millisecond)
			delete(r.pools, gone)
		}
		r.apply(base)
		after(time.Minute)
		r.wantLeaving("in the end", 0, 0)
		if n := runtime.NumGoroutine(); n > goroutines+10 { // other tests may leave some for a moment
			t.Errorf("%d goroutines, %d at first", n, goroutines)
		}
		if n := r.sessions.endedFor(CauseRemoved); n < 3000 {
			t.Errorf("%d sessions were ended: that proves nothing", n)
		}
	})
}
