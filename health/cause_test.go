package health

import (
	"testing"
	"time"

	"sluice/pool"
)

// Of several causes the first that closes sessions counts: what is wrong with the server, then removal, then drain.
func TestOutFor(t *testing.T) {
	failed, up := verdict{cause: CauseFailed}, verdict{up: true}
	lagging, unknown := verdict{cause: CauseLagging}, verdict{reason: notChecked}
	f := func(v verdict, maint, removed, drain bool, closes string, want Cause) {
		t.Helper()
		var rules OnDown
		for word, rule := range map[string]*CloseRule{
			"failed": &rules.Failed, "maint": &rules.Maint, "removed": &rules.Removed, "drain": &rules.Drain,
		} {
			rule.Close = closes == word || closes == "all"
		}
		b := &member{pool: &poolWatch{cfg: Config{OnDown: rules}}, verdict: v, maint: maint, removed: removed, drain: drain}
		if got := b.outFor(); got != want {
			t.Errorf("%+v, maint %v, removed %v, drain %v, %q closes: %v, want %v", v, maint, removed, drain, closes, got, want)
		}
	}
	f(up, false, false, false, "all", CauseNone)
	f(unknown, false, false, false, "all", CauseNone)
	f(failed, false, false, false, "", CauseFailed)
	f(failed, true, false, false, "failed", CauseMaint)
	f(up, false, false, true, "", CauseDrain)
	f(unknown, false, false, true, "all", CauseDrain)
	f(failed, false, false, true, "all", CauseFailed)
	f(failed, false, false, true, "drain", CauseDrain)
	f(failed, false, false, true, "", CauseFailed)
	f(lagging, false, false, true, "all", CauseDrain)
	f(up, false, true, true, "all", CauseRemoved)
	f(up, false, true, true, "", CauseRemoved)
	f(up, false, true, true, "drain", CauseDrain)
	f(up, true, true, false, "removed", CauseRemoved)
	f(up, true, true, false, "all", CauseMaint)
}

// A backend that drains keeps its sessions, unless the rule says otherwise.
func TestDrain(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		r.sessions.open(r.backend("a"), 100)
		r.backend("a").SetAdmin(pool.Drain)
		after(time.Minute)
		r.wantDone("by default", "a")
		r.wantUp("by default", "web", "a b")
		r.apply(spec{"web", "a b", draining(CloseRule{Close: true})})
		r.wantDone("all at once", "a", "end 0: 100")
		if n := r.sessions.endedFor(CauseDrain); n != 100 {
			t.Errorf("%d sessions were ended because a drains, want 100", n)
		}
	})
}

func draining(rule CloseRule) Config {
	return with(func(c *Config) { c.OnDown.Drain = rule })
}

// Closing begins after the grace, and stops when the backend is ready again.
func TestDrainClosesUntilReady(t *testing.T) {
	cfg := draining(CloseRule{Close: true, Grace: 5 * time.Second, Rate: 10})
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		a := r.backend("a")
		r.sessions.open(a, 100)
		a.SetAdmin(pool.Drain)
		after(5 * time.Second)
		r.wantDone("within the grace", "a")
		after(adminInterval + 3*time.Second)
		a.SetAdmin(pool.Ready)
		after(time.Minute)
		left := r.sessions.left(a)
		if left < 62 || left > 72 {
			t.Errorf("%d sessions are left, closing was to stop at about 67", left)
		}
		a.SetAdmin(pool.Drain)
		after(time.Minute)
		if n := r.sessions.endedFor(CauseDrain); n != 100 {
			t.Errorf("%d sessions were ended in the end, want 100", n)
		}
	})
}

// The sessions with a server that dies while it drains do not wait for the grace of that, and when it is back the rest
// does.
func TestDrainOfADeadServer(t *testing.T) {
	cfg := draining(CloseRule{Close: true, Grace: time.Hour})
	cfg.OnDown.Failed = CloseRule{Close: true, Rate: 10}
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		a := r.backend("a")
		r.sessions.open(a, 100)
		a.SetAdmin(pool.Drain)
		after(time.Minute)
		r.wantDone("it drains", "a")
		r.servers["a"].set(errDead)
		for n := 100; n > 50; n = r.sessions.left(a) {
			after(100 * time.Millisecond)
		}
		r.servers["a"].set(nil)
		after(59 * time.Minute)
		left, failed := r.sessions.left(a), r.sessions.endedFor(CauseFailed)
		if failed < 50 || left == 0 || left+failed != 100 {
			t.Errorf("%d sessions are left, %d were ended because it failed", left, failed)
		}
		after(2 * time.Minute)
		if n := r.sessions.endedFor(CauseDrain); n != left {
			t.Errorf("%d sessions were ended when it had drained for long enough, want %d", n, left)
		}
	})
}
