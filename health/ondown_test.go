package health

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

func TestClosingKeepsToItsRate(t *testing.T) {
	// Each step of a second: when, in milliseconds, and how many.
	f := func(rate, wantSteps int, want string) {
		t.Helper()
		start := time.Unix(1000, 0)
		c := newClosing(CauseFailed, CloseRule{Close: true, Rate: rate}, start)
		var steps []string
		total := 0
		for c.next.Before(start.Add(time.Second)) {
			at := c.next.Sub(start)
			n := c.take(c.next)
			total += n
			steps = append(steps, fmt.Sprintf("%.0f:%d", at.Seconds()*1000, n))
		}
		if total != rate || len(steps) != wantSteps || strings.Join(steps[:min(4, len(steps))], " ") != want {
			t.Errorf("rate %d: %d in %d steps, %v, want %d steps, %s", rate, total, len(steps), steps, wantSteps, want)
		}
	}
	f(1, 1, "0:1")
	f(3, 3, "0:1 333:1 667:1")
	f(50, 50, "0:1 20:1 40:1 60:1")
	f(100, 100, "0:1 10:1 20:1 30:1")
	f(150, 100, "0:1 10:2 20:1 30:2")
	f(1000, 100, "0:10 10:10 20:10 30:10")
	f(12345, 100, "0:123 10:123 20:124 30:123")
}

func TestClosingDoesNotMakeUpForLateSteps(t *testing.T) {
	start := time.Unix(1000, 0)
	c := newClosing(CauseFailed, CloseRule{Close: true, Rate: 50}, start)
	late := start.Add(time.Minute)
	if n := c.take(late); n != 1 || c.next != late.Add(20*time.Millisecond) {
		t.Errorf("a minute late: %d, and the next %v later, want 1 and 20 ms", n, c.next.Sub(late))
	}
}

func TestYields(t *testing.T) {
	closes, keeps := CloseRule{Close: true}, CloseRule{}
	f := func(from Cause, old CloseRule, to Cause, rule CloseRule, want bool) {
		t.Helper()
		if got := newClosing(from, old, time.Now()).yields(to, rule); got != want {
			t.Errorf("%v %+v to %v %+v: %v, want %v", from, old, to, rule, got, want)
		}
	}
	f(CauseFailed, closes, CauseFailed, closes, false)
	f(CauseFailed, closes, CauseDemoted, closes, true)
	f(CauseFailed, closes, CauseDemoted, keeps, false)
	f(CauseFailed, closes, CauseLagging, keeps, true) // it answers again
	f(CauseFailed, closes, CauseSplit, keeps, true)
	f(CauseFailed, closes, CauseMaint, keeps, true)
	f(CauseDemoted, closes, CauseFailed, closes, false)
	f(CauseDemoted, closes, CauseMaint, closes, false)
	f(CauseDemoted, keeps, CauseFailed, closes, true)
	f(CauseDemoted, closes, CauseLagging, keeps, true)
	f(CauseLagging, keeps, CauseFailed, closes, true)
	f(CauseMaint, closes, CauseDemoted, closes, true)
	f(CauseDemoted, closes, CauseRemoved, closes, false)
	f(CauseDemoted, keeps, CauseDrain, closes, true)
	f(CauseDrain, closes, CauseFailed, closes, true)
	f(CauseDrain, closes, CauseRemoved, closes, true)
}

// downWith returns a pool in which a fails after one check, and what becomes of its sessions then. Another one is up.
func downWith(rule CloseRule) []spec {
	cfg := steady()
	cfg.Fall, cfg.Rise = 1, 1
	cfg.OnDown.Failed = rule
	return []spec{{"web", "a b", cfg}}
}

// failA makes a go down, and returns when it did, as a time since the start.
func (r *rig) failA() time.Duration {
	after(time.Second)
	r.servers["a"].set(errDead)
	for r.backend("a").Stats().Up {
		after(time.Millisecond)
	}
	return r.Status(r.backend("a")).Since.Sub(r.start)
}

func TestFailedSessionsAreClosedAfterGraceAtARate(t *testing.T) {
	inBubble(t, downWith(CloseRule{Close: true, Grace: 10 * time.Second, Rate: 50}), nil, func(r *rig) {
		a := r.backend("a")
		r.sessions.open(a, 120)
		down := r.failA()
		r.wantDone("at once", "a", "redispatch")
		after(time.Until(r.start.Add(down + 10*time.Second - 1)))
		r.wantDone("just before the grace is over", "a")
		after(1)
		for i, want := range []int{119, 118, 117, 116} {
			if got := r.sessions.left(a); got != want {
				t.Errorf("after %d ms %d sessions are left, want %d", 20*i, got, want)
			}
			after(20 * time.Millisecond)
		}
		after(920 * time.Millisecond) // 1 s in all
		if got := r.sessions.left(a); got != 69 {
			t.Errorf("after 1 s %d sessions are left, want 69", got)
		}
		after(10 * time.Second)
		calls := r.sessions.done(a)
		if len(calls) != 120 || !strings.HasSuffix(calls[119], "end 1: 1") {
			t.Errorf("%d calls, the last: %q", len(calls), calls[len(calls)-2:])
		}
		const want = `level=INFO msg="sessions closed" pool=web backend=a cause=failed sessions=120`
		if log := r.logged(); !strings.HasSuffix(log, want) {
			t.Errorf("log %s", log)
		}
		r.wantDone("b all the time", "b")
	})
}

func TestSessionsAreClosedAllAtOnce(t *testing.T) {
	inBubble(t, downWith(CloseRule{Close: true}), nil, func(r *rig) {
		r.sessions.open(r.backend("a"), 120)
		r.failA()
		r.wantDone("at once", "a", "redispatch", "end 0: 120")
		after(time.Minute)
		r.wantDone("later", "a")
	})
}

func TestSessionsAreKept(t *testing.T) {
	inBubble(t, downWith(CloseRule{Grace: time.Second, Rate: 5}), nil, func(r *rig) {
		r.sessions.open(r.backend("a"), 120)
		r.failA()
		after(time.Minute)
		r.wantDone("later", "a", "redispatch")
	})
}

func TestReturnDuringGrace(t *testing.T) {
	inBubble(t, downWith(CloseRule{Close: true, Grace: 10 * time.Second}), nil, func(r *rig) {
		r.sessions.open(r.backend("a"), 120)
		r.failA()
		r.servers["a"].set(nil)
		after(time.Minute)
		r.wantUp("later", "web", "a b")
		r.wantDone("later", "a", "redispatch")
		r.servers["a"].set(errDead)
		after(15 * time.Second)
		r.wantDone("the second time", "a", "redispatch", "end 0: 120")
	})
}

func TestReturnWhileClosing(t *testing.T) {
	specs := downWith(CloseRule{Close: true, Rate: 10})
	specs[0].cfg.DownInterval = 4950 * time.Millisecond
	inBubble(t, specs, nil, func(r *rig) {
		r.sessions.open(r.backend("a"), 120)
		r.failA()
		r.servers["a"].set(nil) // found 50 steps later
		after(time.Minute)
		if got := r.sessions.left(r.backend("a")); got != 70 {
			t.Errorf("%d sessions are left, want 70", got)
		}
		log := strings.Split(r.logged(), "\n")
		want := []string{
			`level=INFO msg="backend up" pool=web backend=a`,
			`level=INFO msg="sessions closed" pool=web backend=a cause=failed sessions=50`,
		}
		if got := log[len(log)-2:]; !slices.Equal(got, want) {
			t.Errorf("log %q, want %q", got, want)
		}
	})
}

// A slow End delays the steps after it, and is not made up for.
func TestSlowEnd(t *testing.T) {
	inBubble(t, downWith(CloseRule{Close: true, Rate: 100}), nil, func(r *rig) {
		r.sessions.takes = 50 * time.Millisecond
		r.sessions.open(r.backend("a"), 1000)
		r.failA()
		after(10 * time.Second)
		if got := r.sessions.left(r.backend("a")); got < 790 || got > 840 {
			t.Errorf("%d sessions are left, want about 1000 less 10 s at 16 a second", got)
		}
	})
}

func TestNothingIsEndedWithoutSessions(t *testing.T) {
	inBubble(t, downWith(CloseRule{Close: true, Grace: time.Second}), nil, func(r *rig) {
		r.sessions.open(r.backend("a"), 1)
		r.failA()
		r.sessions.End(r.backend("a"), CauseNone, 0) // it ends by itself
		r.sessions.done(r.backend("a"))
		after(time.Minute)
		r.wantDone("later", "a")
		r.servers["a"].set(nil)
		after(time.Minute)
		r.failA()
		after(time.Minute)
		r.wantDone("without sessions", "a", "redispatch")
	})
}

// A connect that was under way when the backend went down may become a session after the others were closed.
func TestStragglersAreSwept(t *testing.T) {
	inBubble(t, downWith(CloseRule{Close: true}), nil, func(r *rig) {
		r.backend("b").SetAdmin(pool.Drain)
		slot, err := r.pool.Reserve(netip.Addr{}, nil)
		if err != nil || slot != r.backend("a") {
			t.Fatal(slot, err)
		}
		r.failA()
		r.wantDone("at once", "a", "redispatch", "end 0: 0")
		after(2500 * time.Millisecond)
		r.wantDone("while a slot is taken", "a", "end 0: 0", "end 0: 0")
		r.sessions.connected(slot, 1)
		after(time.Second)
		r.wantDone("the connect has succeeded", "a", "end 0: 1")
		after(time.Minute)
		r.wantDone("no slot is taken", "a")
	})
}

func TestSilentPrimaryIsDemoted(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		r.wantDone("at first: it is a replica without sessions", "pg2", "redispatch")
		pg1 := r.backend("pg1")
		r.sessions.open(pg1, 500)
		r.servers["pg1"].fallSilent()
		after(8 * time.Second)
		r.wantDone("silent, within the grace", "pg1", "redispatch")
		r.servers["pg2"].primary(2)
		after(500 * time.Millisecond)
		r.wantDone("another one has taken over", "pg1", "redispatch", "end 0: 500")
		after(time.Minute)
		r.wantDone("later", "pg1")
		r.servers["pg1"].primary(1)
		after(time.Minute)
		r.wantDone("it resumes", "pg1")
	})
}

// Sessions that exist are kept while it is not clear which server is the primary.
func TestSplitKeepsSessions(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		r.sessions.open(r.backend("pg1"), 50)
		r.servers["pg2"].primary(1)
		after(time.Minute)
		r.wantUp("both", "db", "")
		r.wantDone("both", "pg1", "redispatch")
		r.servers["pg2"].primary(2)
		after(2 * time.Second)
		r.wantDone("it is clear now", "pg1", "redispatch", "end 0: 50")
	})
}

func TestDemotedThenDead(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	specs[0].cfg.OnDown.Demoted.Rate = 10
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		r.sessions.open(r.backend("pg1"), 100)
		r.servers["pg1"].replica(0)
		after(3 * time.Second)
		r.servers["pg1"].set(errDead)
		after(9 * time.Second) // failed has a grace of 10 s
		if got := r.sessions.left(r.backend("pg1")); got > 5 {
			t.Errorf("%d sessions are left, want closing to go on", got)
		}
	})
}

// A replica that lags keeps its sessions. When it is promoted, that is another cause, with a rule of its own.
func TestLaggingKeepsSessions(t *testing.T) {
	cfg := postgres(RoleReplica)
	cfg.MaxLag = time.Second
	cfg.OnDown.Promoted = CloseRule{Close: true, Grace: 5 * time.Second}
	inBubble(t, []spec{{"ro", "pg1 pg2", cfg}}, func(r *rig) {
		r.servers["pg1"].replica(0)
		r.servers["pg2"].replica(0)
	}, func(r *rig) {
		after(time.Second)
		r.sessions.open(r.backend("pg1"), 50)
		r.servers["pg1"].replica(time.Minute)
		after(time.Minute)
		r.wantUp("pg1 lags", "ro", "pg2")
		r.wantDone("pg1 lags", "pg1", "redispatch")
		r.servers["pg1"].primary(2)
		after(4 * time.Second)
		r.wantDone("pg1 is promoted", "pg1", "redispatch")
		after(2 * time.Second)
		r.wantDone("the grace is over", "pg1", "end 0: 50")
	})
}

func TestEjectionClosesNothing(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		r.fail(r.backend("a"), 5)
		after(10 * time.Second)
		r.wantDone("ejected", "a")
	})
}
