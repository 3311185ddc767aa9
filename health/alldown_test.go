package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// moves lets bytes come from a backend, as its live sessions do.
func moves(b *pool.Backend) { b.AddTraffic(0, 100, 0) }

// allDownCase plays a pool whose servers fail together at 1 s, and returns what is left of 10 sessions of each.
func allDownCase(t *testing.T, then func(r *rig)) (left string, warned int) {
	cfg := steady()
	cfg.OnDown.Failed = CloseRule{Close: true, Grace: 5 * time.Second}
	inBubble(t, []spec{{"web", "a b c", cfg}}, nil, func(r *rig) {
		after(time.Second)
		for _, b := range r.pool.Backends() {
			r.sessions.open(b, 10)
			moves(b)
		}
		then(r)
		after(30 * time.Second)
		for _, b := range r.pool.Backends() {
			left += fmt.Sprint(r.sessions.left(b), " ")
		}
		warned = strings.Count(r.logged(), "is it the check?")
	})
	return strings.TrimSpace(left), warned
}

func TestAllDownKeepsSessionsThatMove(t *testing.T) {
	f := func(name, want string, wantWarned int, then func(r *rig)) {
		t.Helper()
		if got, warned := allDownCase(t, then); got != want || warned != wantWarned {
			t.Errorf("%s: left %q, warned %d times, want %q and %d", name, got, warned, want, wantWarned)
		}
	}
	fail := func(r *rig, names string) {
		for _, name := range strings.Fields(names) {
			r.servers[name].set(errDead)
		}
	}
	move := func(r *rig, names string) {
		for _, name := range strings.Fields(names) {
			moves(r.backend(name))
		}
	}
	f("all fail, all move", "10 10 10", 3, func(r *rig) {
		fail(r, "a b c")
		after(4 * time.Second)
		move(r, "a b c")
	})
	f("all fail, none moves", "0 0 0", 0, func(r *rig) { fail(r, "a b c") })
	f("all fail, two move", "10 0 10", 2, func(r *rig) {
		fail(r, "a b c")
		after(4 * time.Second)
		move(r, "a c")
	})
	f("bytes before the first failure do not count", "0 0 0", 0, func(r *rig) {
		fail(r, "a b c")
		move(r, "a b c")
	})
	f("two fail, all move", "0 0 10", 0, func(r *rig) {
		fail(r, "a b")
		after(4 * time.Second)
		move(r, "a b c")
	})
	f("the third fails later, and alone", "0 0 10", 1, func(r *rig) {
		fail(r, "a b")
		after(5 * time.Second)
		fail(r, "c")
		after(3 * time.Second)
		move(r, "a b c")
	})
	f("the third was in maintenance", "10 10 0", 2, func(r *rig) {
		r.backend("c").SetAdmin(pool.Maint)
		fail(r, "a b")
		after(4 * time.Second)
		move(r, "a b")
	})
	f("the third died long ago", "10 10 0", 2, func(r *rig) {
		fail(r, "c")
		after(20 * time.Second)
		fail(r, "a b")
		after(4 * time.Second)
		move(r, "a b c")
	})
	f("alone up is all", "10 0 0", 1, func(r *rig) {
		fail(r, "b c")
		after(20 * time.Second)
		fail(r, "a")
		after(4 * time.Second)
		move(r, "a")
	})
	f("one is back in time", "0 10 10", 0, func(r *rig) {
		fail(r, "a b c")
		after(4 * time.Second)
		move(r, "a b c")
		r.servers["b"].set(nil)
		r.servers["c"].set(nil)
	})
	f("one answers once, which does not bring it back", "10 10 10", 3, func(r *rig) {
		fail(r, "a b c")
		after(4 * time.Second)
		move(r, "a b c")
		r.servers["a"].set(nil)
		for r.Status(r.backend("a")).Successes == 0 {
			after(time.Millisecond)
		}
		fail(r, "a")
	})
}

// Without a grace it is decided while some are still counting failures.
func TestAllDownWithoutGrace(t *testing.T) {
	cfg := steady()
	cfg.OnDown.Failed = CloseRule{Close: true}
	inBubble(t, []spec{{"web", "a b c", cfg}}, nil, func(r *rig) {
		after(time.Second)
		for _, b := range r.pool.Backends() {
			r.sessions.open(b, 10)
			r.servers[b.Name()].set(errDead)
		}
		after(1300 * time.Millisecond)
		for _, b := range r.pool.Backends() {
			moves(b)
		}
		after(10 * time.Second)
		r.wantUp("in the end", "web", "")
		for _, b := range r.pool.Backends() {
			if got := r.sessions.left(b); got != 10 {
				t.Errorf("%d sessions of %s are left", got, b.Name())
			}
		}
	})
}

// Only a failed check is doubted, not what a server says of itself.
func TestDemotedSessionsThatMove(t *testing.T) {
	specs := []spec{{"rw", "pg1", postgres(RolePrimary)}}
	inBubble(t, specs, func(r *rig) { r.servers["pg1"].primary(1) }, func(r *rig) {
		after(time.Second)
		r.sessions.open(r.backend("pg1"), 10)
		moves(r.backend("pg1"))
		r.servers["pg1"].replica(0)
		after(2 * time.Second)
		r.wantDone("it is a replica now", "pg1", "redispatch", "end 0: 10")
	})
}

// The primary is alone up in its pool. When its check fails while its sessions move bytes, they are kept, unless another
// one has taken over.
func TestAllDownOfAPrimary(t *testing.T) {
	f := func(promote bool, want int) {
		t.Helper()
		specs, prepare := cluster(RolePrimary)
		inBubble(t, specs, prepare, func(r *rig) {
			after(time.Second)
			pg1 := r.backend("pg1")
			r.sessions.open(pg1, 10)
			r.servers["pg1"].set(errDead)
			after(5 * time.Second)
			moves(pg1)
			if promote {
				r.servers["pg2"].primary(2)
			}
			after(time.Minute)
			if got := r.sessions.left(pg1); got != want {
				t.Errorf("promoted %v: %d sessions are left, want %d", promote, got, want)
			}
		})
	}
	f(false, 10)
	f(true, 0)
}

// kept plays a pool whose backend a was alone up and fails while its 10 sessions move bytes, up to where they are kept.
func kept(t *testing.T, rule CloseRule, then func(r *rig)) {
	t.Helper()
	cfg := steady()
	cfg.OnDown.Failed = rule
	inBubble(t, []spec{{"web", "a b c", cfg}}, func(r *rig) {
		r.servers["b"].set(errDead)
		r.servers["c"].set(errDead)
	}, func(r *rig) {
		after(10 * time.Second)
		a := r.backend("a")
		r.sessions.open(a, 10)
		r.failA()
		r.sessions.done(a)
		moves(a)
		after(rule.Grace + time.Second)
		if log := r.logged(); strings.Count(log, "is it the check?") != 1 {
			t.Errorf("when the grace is over: log %s", log)
		}
		r.wantDone("when the grace is over", "a")
		then(r)
	})
}

// firstUp waits until a backend is up.
func (r *rig) firstUp(name string) {
	for !r.backend(name).Stats().Up {
		after(time.Millisecond)
	}
}

// A session must not stay with an old primary once there is a new one.
func TestKeptSessionsEndWhenAnotherBackendIsUp(t *testing.T) {
	kept(t, CloseRule{Close: true, Grace: 5 * time.Second}, func(r *rig) {
		moves(r.backend("a")) // still: an old primary does not know that it is one
		after(time.Minute)
		moves(r.backend("a"))
		r.wantDone("a minute later", "a")
		r.servers["b"].set(nil)
		r.firstUp("b")
		r.wantDone("at the moment b is up", "a", "end 0: 10")
		want := `level=INFO msg="backend up" pool=web backend=b
level=INFO msg="closing sessions" pool=web backend=a cause=failed sessions=10 rate=0
level=INFO msg="sessions closed" pool=web backend=a cause=failed sessions=10`
		if log := r.logged(); log != want {
			t.Errorf("log\n%s\nwant\n%s", log, want)
		}
		r.servers["b"].set(errDead)
		after(time.Minute)
		r.wantDone("b is gone again", "a")
	})
}

func TestKeptSessionsEndAtTheRate(t *testing.T) {
	kept(t, CloseRule{Close: true, Grace: 5 * time.Second, Rate: 5}, func(r *rig) {
		r.servers["c"].set(nil)
		r.firstUp("c")
		if got := r.sessions.left(r.backend("a")); got != 9 {
			t.Errorf("%d sessions are left at once, want 9", got)
		}
		after(time.Second)
		if got := r.sessions.left(r.backend("a")); got != 4 {
			t.Errorf("%d sessions are left a second later, want 4", got)
		}
	})
}

// Sessions that are silent for a while do not show that the server is dead.
func TestKeptSessionsMayBeIdle(t *testing.T) {
	kept(t, CloseRule{Close: true, Grace: time.Second}, func(r *rig) {
		after(time.Hour)
		r.wantDone("idle for an hour", "a")
		if log := r.logged(); log != "" {
			t.Errorf("log %s", log)
		}
		r.servers["a"].set(nil)
		after(time.Minute)
		r.wantUp("the check works again", "web", "a")
		r.servers["b"].set(nil)
		after(time.Minute)
		r.wantDone("nothing was to be closed", "a")
	})
}

// One that comes back from maintenance is up when its check has succeeded.
func TestKeptSessionsEndAfterMaintenanceOfAnother(t *testing.T) {
	kept(t, CloseRule{Close: true, Grace: time.Second}, func(r *rig) {
		b := r.backend("b")
		b.SetAdmin(pool.Maint)
		r.servers["b"].set(nil)
		after(time.Minute)
		r.wantDone("b is in maintenance", "a")
		b.SetAdmin(pool.Ready)
		after(10 * time.Second)
		r.wantDone("b is back", "a", "end 0: 10")
	})
}
