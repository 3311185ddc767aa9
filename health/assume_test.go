package health

import (
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// What one has seen of rise and fall counts in the other one.
func TestAssumeCounts(t *testing.T) {
	web := spec{"web", "a b", steady()}
	inBubble(t, []spec{web}, nil, func(r *rig) {
		after(time.Second)
		r.servers["a"].set(errDead)
		r.until(func() bool { return r.Status(r.backend("a")).Failures == 2 })
		since := r.Status(r.backend("a")).Since
		n := r.takeOver(web)
		n.wantUp("after two failures of three", "web", "a b")
		if s := n.Status(n.backend("a")); s.Failures != 2 || s.Error != errDead.Error() || !s.Since.Equal(since) {
			t.Errorf("status: %+v", s)
		}
		after(firstWithin)
		n.wantUp("the third failure", "web", "b")
		n.wantReason("web", "a", errDead.Error())
		n.servers["a"].set(nil)
		n.until(func() bool { return n.Status(n.backend("a")).Successes == 1 })
		n.logged()
		last := n.takeOver(web)
		last.wantUp("after one success of two", "web", "b")
		last.wantReason("web", "a", "answers again, 1 of 2 checks so far")
		last.wantLog("taking over is no news")
		after(firstWithin)
		last.wantUp("the second success", "web", "a b")
		last.wantLog("it came back", `level=INFO msg="backend up" pool=web backend=a`)
	})
}

// until lets the clock run until something is so.
func (r *rig) until(so func() bool) {
	r.t.Helper()
	for range 1000 {
		if so() {
			return
		}
		after(100 * time.Millisecond)
	}
	r.t.Fatal("it does not get so")
}

// The primary is elected without a pause, and what takes longer to know is known.
func TestAssumePrimary(t *testing.T) {
	rw, ro := spec{"rw", "pg1 pg2 pg3", postgres(RolePrimary)}, spec{"ro", "pg1 pg2 pg3", postgres(RoleReplica)}
	prepare := func(r *rig) {
		r.servers["pg1"].primary(4)
		r.servers["pg2"].replica(0)
		r.servers["pg3"].replica(0)
	}
	inBubble(t, []spec{rw, ro}, prepare, func(r *rig) {
		after(time.Second)
		r.servers["pg2"].primary(5) // and pg1 does not know
		after(3 * time.Second)
		r.wantUp("promoted", "rw", "pg2")
		r.servers["pg3"].set(errDead)
		after(10 * time.Second)
		reason := r.Status(r.pools["rw"].Lookup("pg1")).Reason
		for range 3 {
			n := r.successor(rw, ro)
			if n.wantUp("taken over", "rw", "pg2"); !n.PoolStatus(n.pool).SplitBrain == r.PoolStatus(r.pool).SplitBrain {
				t.Error("a split brain is forgotten, or made up")
			}
			n.wantUp("taken over", "ro", "")
			n.wantReason("rw", "pg1", reason)
			r.stop()
			n.goOn()
			n.wantUp("at work", "rw", "pg2")
			after(time.Minute)
			n.wantUp("later", "rw", "pg2")
			n.wantReason("rw", "pg1", reason)
			n.wantLog("nothing has changed")
			r = n
		}
		r.servers["pg2"].set(errDead) // the old primary must not come back
		after(time.Minute)
		r.wantUp("the new one is gone", "rw", "")
	})
}

// Of servers that number no promotions the one that was the primary is it.
func TestAssumeWriter(t *testing.T) {
	cfg := postgres(RolePrimary)
	cfg.Probe.Kind = probe.MySQL
	rw := spec{"rw", "m1 m2", cfg}
	prepare := func(r *rig) {
		r.servers["m1"].say(probe.DatabaseAnswer{Primary: true, ID: 1})
		r.servers["m2"].set(errDead)
	}
	inBubble(t, []spec{rw}, prepare, func(r *rig) {
		after(10 * time.Second)
		r.wantUp("m1 alone", "rw", "m1")
		r.servers["m2"].say(probe.DatabaseAnswer{Primary: true, ID: 2}) // back, and nobody has set read_only
		after(20 * time.Second)
		r.wantUp("m2 is back", "rw", "m1")
		n := r.takeOver(rw)
		n.wantUp("taken over", "rw", "m1")
		after(time.Minute)
		n.wantUp("later", "rw", "m1")
		n.wantReason("rw", "m2", "is writable, and m1 was the primary before it came back")
		n.wantLog("nothing has changed")
	})
}

func TestAssumeEjection(t *testing.T) {
	web := spec{"web", "a b c d", steady()}
	inBubble(t, []spec{web}, nil, func(r *rig) {
		after(time.Second)
		for range web.cfg.Eject.Failures {
			r.Observe(r.backend("a"), pool.DialRefused)
		}
		for range web.cfg.Eject.Failures - 1 {
			r.Observe(r.backend("b"), pool.DialRefused)
		}
		out := r.Status(r.backend("a")).EjectedUntil
		after(4 * time.Second)
		n := r.takeOver(web)
		if s := n.Status(n.backend("a")); !n.backend("a").Stats().Ejected || !s.EjectedUntil.Equal(out) {
			t.Errorf("ejected until %v, want %v", s.EjectedUntil, out)
		}
		if n.Observe(n.backend("b"), pool.DialRefused); !n.backend("b").Stats().Ejected {
			t.Error("b is not ejected by one failure more")
		}
		for range web.cfg.Eject.Failures {
			n.Observe(n.backend("c"), pool.DialRefused)
		}
		if n.backend("c").Stats().Ejected {
			t.Error("c is ejected: half of the backends are already")
		}
		after(time.Until(out) - time.Millisecond)
		if !n.backend("a").Stats().Ejected {
			t.Error("a is back too early")
		}
		after(time.Millisecond)
		if n.backend("a").Stats().Ejected || !n.backend("b").Stats().Ejected {
			t.Error("a is to be back, b is not")
		}
	})
}

// Sessions that are closed at a rate go on to be, those of a removed backend too.
func TestAssumeClosing(t *testing.T) {
	cfg := steady()
	cfg.OnDown.Failed = CloseRule{Close: true, Grace: 4 * time.Second, Rate: 1}
	cfg.OnDown.Removed = CloseRule{Close: true, Grace: 4 * time.Second, Rate: 1}
	web := spec{"web", "a b", cfg}
	inBubble(t, []spec{{"web", "a b c", cfg}}, nil, func(r *rig) {
		after(time.Second)
		a, c := r.backend("a"), r.backend("c")
		r.sessions.open(a, 100)
		r.sessions.open(c, 100)
		r.servers["a"].set(errDead)
		r.apply(web)
		r.until(func() bool { return !a.Stats().Up })
		after(2 * time.Second)
		n := r.takeOver(web)
		next := n.backend("a")
		gone := n.pool.Harbour(pool.BackendConfig{Name: "c", Address: c.Address()})
		if n.sessions.left(next) != 100 {
			t.Errorf("%d sessions are left when half of the grace is over", n.sessions.left(next))
		}
		after(12 * time.Second)
		if left := n.sessions.left(next); left < 88 || left > 91 {
			t.Errorf("%d sessions are left 10 s after the grace, want about 90", left)
		}
		if left := n.sessions.left(gone); left < 85 || left > 90 {
			t.Errorf("%d sessions of the removed one are left, want about 88", left)
		}
		if got := n.logged(); strings.Count(got, "closing sessions") != 1 || strings.Contains(got, "backend down") {
			t.Errorf("log:\n%s", got)
		}
		last := n.takeOver(web)
		next = last.backend("a")
		left := last.sessions.left(next)
		after(10 * time.Second)
		if now := last.sessions.left(next); now < left-11 || now > left-9 {
			t.Errorf("%d sessions are left, %d 10 s before", now, left)
		}
		if got := last.logged(); got != "" {
			t.Errorf("the closing had begun before: log:\n%s", got)
		}
		last.servers["a"].set(nil)
		last.until(func() bool { return next.Stats().Up })
		left = last.sessions.left(next)
		after(time.Minute)
		if now := last.sessions.left(next); now != left {
			t.Errorf("%d of %d sessions are left though it is back", now, left)
		}
	})
}

// Maintenance goes on without checks, and ends as usual.
func TestAssumeMaint(t *testing.T) {
	rw := spec{"rw", "pg1 pg2", postgres(RolePrimary)}
	inBubble(t, []spec{rw}, func(r *rig) { r.servers["pg1"].primary(1); r.servers["pg2"].replica(0) }, func(r *rig) {
		after(time.Second)
		r.backend("pg1").SetAdmin(pool.Maint)
		after(10 * time.Second)
		r.wantReason("rw", "pg1", "in maintenance")
		asked := len(r.servers["pg1"].times())
		n := r.takeOver(rw)
		after(time.Minute)
		if more := len(r.servers["pg1"].times()) - asked; more != 0 {
			t.Errorf("asked %d times in maintenance", more)
		}
		n.wantReason("rw", "pg1", "in maintenance")
		n.wantLog("nothing has changed")
		n.backend("pg1").SetAdmin(pool.Ready)
		after(2 * time.Second)
		n.wantUp("back from maintenance", "rw", "pg1")
	})
}

// Who asks something else believes what was known until rise or fall answers have come.
func TestAssumeOtherQuestion(t *testing.T) {
	web := spec{"web", "a b c", steady()}
	inBubble(t, []spec{web}, func(r *rig) { r.servers["b"].set(errDead) }, func(r *rig) {
		after(10 * time.Second)
		r.wantUp("at first", "web", "a c")
		other := spec{"web", "a b c d", steady()}
		other.cfg.Probe.Kind = probe.HTTP
		n := r.successor(other)
		n.wantUp("taken over", "web", "a c d")
		n.servers["a"].set(errDead)
		n.servers["b"].set(nil)
		n.servers["d"].set(errDead)
		r.stop()
		n.goOn()
		after(firstWithin)
		n.wantUp("one answer", "web", "a c") // d is new: one decides
		after(3 * time.Second)
		n.wantUp("enough answers", "web", "b c")
		off := spec{"web", "a b c d", steady()}
		off.cfg.Probe.Kind = probe.Off
		n.takeOver(off).wantUp("without checks", "web", "a b c d")
	})
}

// A pool that wants another role of the same servers judges by what they said, at once.
func TestAssumeOtherRole(t *testing.T) {
	inBubble(t, []spec{{"db", "pg1 pg2", postgres(RoleAny)}},
		func(r *rig) { r.servers["pg1"].replica(0); r.servers["pg2"].primary(1) }, func(r *rig) {
			after(10 * time.Second)
			r.wantUp("any", "db", "pg1 pg2")
			n := r.successor(spec{"db", "pg1 pg2", postgres(RolePrimary)})
			n.wantUp("the primary", "db", "pg2")
			r.stop()
			n.goOn()
			after(time.Minute)
			n.wantUp("later", "db", "pg2")
		})
}

// A server that another pool of the predecessor has asked the same is not new.
func TestAssumeOtherName(t *testing.T) {
	inBubble(t, []spec{{"web", "a b", steady()}}, func(r *rig) { r.servers["a"].set(errDead) }, func(r *rig) {
		after(10 * time.Second)
		n := r.takeOver(spec{"other", "a b", steady()})
		n.wantUp("taken over", "other", "b")
		n.wantReason("other", "a", errDead.Error())
	})
}

// Replicas go on to lag by what was seen before, with what was counted.
func TestAssumeLag(t *testing.T) {
	cfg := postgres(RoleReplica)
	cfg.MaxLag = 5 * time.Second
	ro := spec{"ro", "pg1 pg2 pg3", cfg}
	inBubble(t, []spec{ro}, func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].replica(0)
		r.servers["pg3"].replica(0)
	}, func(r *rig) {
		after(10 * time.Second)
		r.wantUp("both keep up", "ro", "pg2 pg3")
		r.servers["pg1"].say(probe.DatabaseAnswer{System: 7, Primary: true, Timeline: 1, Has: 200, Whole: 200})
		r.servers["pg2"].say(probe.DatabaseAnswer{System: 7, Has: 200, Whole: 200, Replayed: 200})
		after(30 * time.Second)
		before := r.Status(r.backend("pg3"))
		if before.Lag < 20*time.Second || !before.LagKnown {
			t.Fatalf("pg3 does not lag: %+v", before)
		}
		n := r.takeOver(ro)
		if s := n.Status(n.backend("pg3")); s.Lag != before.Lag || s.LagKnown != before.LagKnown || s.Reason != before.Reason {
			t.Errorf("lag %v, %v, reason %q, was %v, %v, %q", s.Lag, s.LagKnown, s.Reason, before.Lag, before.LagKnown, before.Reason)
		}
		after(30 * time.Second)
		if s := n.Status(n.backend("pg3")); s.Lag < before.Lag+25*time.Second {
			t.Errorf("lag %v 30 s after it was %v", s.Lag, before.Lag)
		}
	})
}

// Sessions are kept when every check fails while bytes still move, also when those moved before one took over, and in the
// next process they still are.
func TestAssumeKept(t *testing.T) {
	cfg := steady()
	cfg.OnDown.Failed = CloseRule{Close: true, Grace: 10 * time.Second}
	web := spec{"web", "a b", cfg}
	for _, moves := range []bool{true, false} {
		inBubble(t, []spec{web}, nil, func(r *rig) {
			after(time.Second)
			r.backend("a").AddTraffic(0, 1000, 0)
			r.sessions.open(r.backend("a"), 10)
			r.servers["a"].set(errDead)
			r.servers["b"].set(errDead)
			r.until(func() bool { return r.pool.Usable() == 0 })
			if moves {
				r.backend("a").AddTraffic(0, 1, 0)
			}
			n := r.takeOver(web)
			n.pool.AddCounters(travel(t, r.pool.Counters())) // the last thing that comes
			after(20 * time.Second)
			want := 0
			if moves {
				want = 10
			}
			if got := n.sessions.left(n.backend("a")); got != want {
				t.Errorf("moves %v: %d sessions are left, want %d", moves, got, want)
			}
			last := n.takeOver(web)
			after(time.Minute)
			if got := last.sessions.left(last.backend("a")); got != want {
				t.Errorf("moves %v: %d sessions are left in the next one, want %d", moves, got, want)
			}
			last.servers["b"].set(nil)
			after(time.Minute)
			if got := last.sessions.left(last.backend("a")); got != 0 {
				t.Errorf("moves %v: %d sessions are left when b is up", moves, got)
			}
		})
	}
}
