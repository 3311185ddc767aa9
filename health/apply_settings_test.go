package health

import (
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
)

// Of a server that is asked the same the counts survive, however often it is to be asked from now on.
func TestApplyOtherRhythm(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		after(time.Second)
		r.servers["a"].set(errDead)
		after(1700 * time.Millisecond)
		if s := r.Status(r.backend("a")); s.Failures != 2 {
			t.Fatalf("%d failures, want 2", s.Failures)
		}
		slow := with(func(c *Config) { c.FastInterval, c.Fall = time.Second, 4 })
		r.apply(spec{"web", "a b", slow})
		after(time.Second)
		if s := r.Status(r.backend("a")); s.Failures != 3 || !s.Up {
			t.Errorf("%d failures, up %v, want 3 of 4", s.Failures, s.Up)
		}
		after(time.Second)
		r.wantUp("after 4 failures", "web", "b")
		r.wantOpen("in the end", "a=1 b=1")
		if n := r.servers["a"].probers; n != 1 {
			t.Errorf("%d probers were made of a, want 1: the connection is kept", n)
		}
		r.servers["a"].set(nil)
		r.apply(spec{"web", "a b", with(func(c *Config) { c.DownInterval, c.Rise = 2*time.Second, 1 })})
		after(2 * time.Second)
		r.wantUp("after one success", "web", "a b")
	})
}

// Two pools that asked in one way and now do in two both go on from what is known.
func TestApplyDividesATarget(t *testing.T) {
	inBubble(t, []spec{{"web", "a b", steady()}, {"app", "a b", steady()}}, nil, func(r *rig) {
		after(time.Second)
		r.servers["a"].set(errDead)
		after(1700 * time.Millisecond)
		slow := with(func(c *Config) { c.Fall, c.Timeout = 5, 2*time.Second })
		r.apply(spec{"web", "a b", steady()}, spec{"app", "a b", slow})
		r.wantOpen("divided", "a=2 b=2")
		after(500 * time.Millisecond)
		r.wantUp("after 3 failures", "web", "b")
		r.wantUp("after 3 failures of 5", "app", "a b")
		r.servers["a"].fallSilent()
		r.apply(spec{"web", "a b", slow}, spec{"app", "a b", slow})
		r.wantOpen("together again", "a=1 b=1")
		r.wantUp("as app has counted", "web", "a b")
		after(3 * time.Second)
		r.wantUp("after 5 failures", "web", "b")
		r.wantUp("after 5 failures", "app", "b")
	})
}

// Also when probes are under way, which only one of the two waits for.
func TestApplyDividesATargetWithProbesInFlight(t *testing.T) {
	slow := with(func(c *Config) { c.Fall, c.Timeout = 1, time.Hour })
	inBubble(t, []spec{{"web", "a b", slow}, {"app", "a b", slow}}, nil, func(r *rig) {
		after(time.Second)
		r.servers["a"].fallSilent()
		after(2 * time.Second)
		if n := r.servers["a"].flying(); n != 1 {
			t.Fatalf("%d probes are in flight, want 1", n)
		}
		r.servers["a"].set(nil)
		slower := slow
		slower.Rise = 5
		r.apply(spec{"web", "a b", slow}, spec{"app", "a b", slower})
		asked := len(r.servers["a"].times())
		after(10 * time.Second)
		if n := len(r.servers["a"].times()) - asked; n < 4 {
			t.Errorf("a was asked %d times for app, web waits for an answer", n)
		}
	})
}

// Shorter intervals make no burst of probes.
func TestApplyShorterInterval(t *testing.T) {
	var names []string
	for c := 'a'; c <= 'z'; c++ {
		names = append(names, string(c), string(c)+"1", string(c)+"2")
	}
	hourly := with(func(c *Config) { c.Interval = time.Hour })
	inBubble(t, []spec{{"web", strings.Join(names, " "), hourly}}, nil, func(r *rig) {
		after(time.Minute)
		r.apply(spec{"web", strings.Join(names, " "), steady()})
		var most int
		seen := make(map[string]int)
		for range 20 {
			after(100 * time.Millisecond)
			n := 0
			for name, s := range r.servers {
				if got := len(s.times()); got != seen[name] {
					n += got - max(seen[name], 1)
					seen[name] = got
				}
			}
			most = max(most, n)
		}
		total := 0
		for _, n := range seen {
			total += n - 1
		}
		if total != len(names) || most > len(names)/4 {
			t.Errorf("%d probes of %d servers within an interval of 2 s, %d within 100 ms", total, len(names), most)
		}
	})
}

// A shorter timeout does not make those of longer ones that are under way look late.
func TestApplyOtherTimeout(t *testing.T) {
	long := with(func(c *Config) { c.Timeout, c.Interval, c.Fall = 20*time.Second, 30*time.Second, 1 })
	inBubble(t, []spec{{"web", "a b", long}}, nil, func(r *rig) {
		after(time.Second)
		r.servers["a"].fallSilent()
		after(30 * time.Second)
		long.Timeout = time.Second
		r.apply(spec{"web", "a b", long})
		after(19*time.Second + firstWithin)
		r.wantUp("after the timeout that it began with", "web", "b")
	})
}

// One that is asked another question keeps its state until as many answers as rise and fall want have come.
func TestApplyOtherQuestion(t *testing.T) {
	inBubble(t, web("a b"), func(r *rig) { r.servers["b"].set(errDead) }, func(r *rig) {
		after(3 * time.Second)
		r.wantUp("at first", "web", "a")
		r.logged()
		r.servers["a"].set(errDead)
		r.servers["b"].set(nil)
		r.apply(spec{"web", "a b", other()})
		r.wantOpen("at once", "a=1 b=1")
		r.wantUp("not asked yet", "web", "a")
		r.wantReason("web", "b", "nobody home")
		after(firstWithin)
		r.wantUp("after one answer", "web", "a")
		after(500 * time.Millisecond)
		r.wantUp("after two", "web", "a b")
		after(500 * time.Millisecond)
		r.wantUp("after three", "web", "b")
		r.wantLog("in the end", `level=INFO msg="backend up" pool=web backend=b`,
			`level=WARN msg="backend down" pool=web backend=a reason="nobody home" cause=failed failures=3`)
	})
}

// Also when the next question comes before the answer to the last.
func TestApplyQuestionAfterQuestion(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		after(3 * time.Second)
		r.servers["a"].set(errDead)
		for version := range uint8(2) {
			r.apply(spec{"web", "a b", with(func(c *Config) { c.Probe.ProxyVersion = 1 + version })})
			after(firstWithin)
			r.wantUp("after one answer", "web", "a b")
		}
		after(time.Second)
		r.wantUp("after three", "web", "b")
	})
}

// One that is not asked any more is up, and one that is asked from now on is until it has failed.
func TestApplyOff(t *testing.T) {
	off := with(func(c *Config) { c.Probe.Kind = probe.Off })
	inBubble(t, web("a b"), func(r *rig) { r.servers["a"].set(errDead) }, func(r *rig) {
		after(3 * time.Second)
		r.logged()
		r.apply(spec{"web", "a b", off})
		r.wantUp("off", "web", "a b")
		r.wantLog("off", `level=INFO msg="backend up" pool=web backend=a`)
		r.wantOpen("off", "a=0 b=0")
		if s := r.Status(r.backend("a")); s.Checked || s.Failures != 0 || s.Error != "" {
			t.Errorf("status %+v", s)
		}
		after(time.Minute)
		r.apply(spec{"web", "a b", steady()})
		after(firstWithin)
		r.wantUp("after one failure", "web", "a b")
		after(time.Second)
		r.wantUp("after three", "web", "b")
	})
}

// Settings of closing count for what is being closed.
func TestApplyOtherOnDown(t *testing.T) {
	rule := func(rule CloseRule) spec {
		return spec{"web", "a b", with(func(c *Config) { c.OnDown.Failed = rule })}
	}
	inBubble(t, []spec{rule(CloseRule{Close: true, Grace: time.Minute})}, nil, func(r *rig) {
		after(time.Second)
		a := r.backend("a")
		r.sessions.open(a, 100)
		r.servers["a"].set(errDead)
		after(10 * time.Second)
		r.wantUp("dead", "web", "b")
		r.apply(rule(CloseRule{Close: true, Grace: 12 * time.Second, Rate: 10}))
		after(time.Second)
		if got := r.sessions.left(a); got != 100 {
			t.Errorf("%d sessions are left within the grace", got)
		}
		after(6 * time.Second)
		left := r.sessions.left(a)
		if left > 90 || left < 40 {
			t.Errorf("%d sessions are left", left)
		}
		r.apply(rule(CloseRule{}))
		after(time.Minute)
		if got := r.sessions.left(a); got != left {
			t.Errorf("%d sessions are left, %d when they were to be kept", got, left)
		}
		r.apply(rule(CloseRule{Close: true, Grace: time.Second}))
		after(999 * time.Millisecond)
		if got := r.sessions.left(a); got != left {
			t.Errorf("%d sessions are left within the new grace, want %d", got, left)
		}
		after(time.Millisecond)
		if got := r.sessions.left(a); got != 0 {
			t.Errorf("%d sessions are left in the end", got)
		}
	})
}

// Fewer failures, when more than those have been seen.
func TestApplyOtherEject(t *testing.T) {
	eject := func(failures int, d time.Duration) spec {
		return spec{"web", "a b", with(func(c *Config) { c.Eject.Failures, c.Eject.Duration = failures, d })}
	}
	inBubble(t, []spec{eject(10, time.Minute)}, nil, func(r *rig) {
		r.fail(r.backend("a"), 8)
		r.apply(eject(5, 10*time.Second))
		r.wantEjected(t, "before the next", false, false)
		r.fail(r.backend("a"), 1)
		r.wantEjected(t, "five in a row", true, false)
		r.apply(eject(0, time.Hour))
		r.wantEjected(t, "for as long as it was to be", true, false)
		after(10 * time.Second)
		r.wantEjected(t, "when that is over", false, false)
		r.fail(r.backend("a"), 100)
		r.wantEjected(t, "off", false, false)
	})
}
