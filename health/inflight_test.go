package health

import (
	"context"
	"slices"
	"testing"
	"time"
)

// silentFor returns how long it takes to find a server silent that has just answered.
func silentFor(t *testing.T, cfg Config) (found time.Duration) {
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		after(10 * time.Second)
		n := len(r.servers["a"].times())
		for len(r.servers["a"].times()) == n {
			after(time.Millisecond)
		}
		r.servers["a"].fallSilent()
		before := time.Now()
		for r.backend("a").Usable() {
			after(time.Millisecond)
		}
		found = time.Since(before)
	})
	return found
}

func TestSilentServerIsFoundInTime(t *testing.T) {
	f := func(interval, fast, timeout time.Duration, fall int, want time.Duration) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Interval, cfg.FastInterval, cfg.Timeout, cfg.Fall = interval, fast, timeout, fall
		longest := time.Duration(0)
		for range 20 {
			longest = max(longest, silentFor(t, cfg))
		}
		if longest > want || longest < want*3/4 {
			t.Errorf("interval %v, fast %v, timeout %v, fall %d: found within %v, want %v",
				interval, fast, timeout, fall, longest, want)
		}
	}
	const ms, s = time.Millisecond, time.Second
	f(s, 500*ms, s, 3, 3200*ms)
	f(s, s, s, 3, 4200*ms)
	f(2*s, 500*ms, s, 3, 4400*ms)
	f(s, 500*ms, 300*ms, 3, 2500*ms)
	f(s, 500*ms, 3*s, 2, 4700*ms)
	f(s, 500*ms, s, 1, 2200*ms)
}

func TestProbesOverlapWithinBounds(t *testing.T) {
	cfg := steady()
	cfg.Timeout = 10 * time.Second
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		after(time.Second)
		a := r.servers["a"]
		a.fallSilent()
		after(9 * time.Second)
		if a.most != 3 || a.inFlight != 3 {
			t.Errorf("%d probes in flight, at most %d, want 3", a.inFlight, a.most)
		}
		if got := gaps(a.times()); !slices.Equal(got, []time.Duration{2 * time.Second, cfg.FastInterval, cfg.FastInterval}) {
			t.Errorf("intervals %v", got)
		}
	})
}

// A probe that started before one that succeeded, and fails after it, is about the past.
func TestLateFailureIsIgnored(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.servers["a"]
		after(time.Second)
		a.fallSilent()
		after(1400 * time.Millisecond) // one probe is in flight, no second one yet
		if a.inFlight != 1 {
			t.Fatalf("%d probes in flight, want 1", a.inFlight)
		}
		a.set(nil)
		after(2 * time.Second)
		if s := r.Status(r.backend("a")); s.Failures != 0 || s.Error != "" || a.inFlight != 0 || s.Successes != 2 {
			t.Errorf("after a late failure: %+v, want 2 successes", s)
		}
	})
}

func TestSlowServerIsUp(t *testing.T) {
	inBubble(t, web("a b"), func(r *rig) { r.servers["a"].delay = 900 * time.Millisecond }, func(r *rig) {
		for range 200 {
			after(100 * time.Millisecond)
			r.wantUp("all the time", "web", "a b")
		}
	})
}

func TestTimeout(t *testing.T) {
	cfg := steady()
	cfg.Timeout = 300 * time.Millisecond
	inBubble(t, []spec{{"web", "a b", cfg}}, func(r *rig) { r.servers["a"].fallSilent() }, func(r *rig) {
		after(firstWithin + cfg.Timeout)
		r.wantUp("after the timeout", "web", "b")
		s := r.Status(r.backend("a"))
		if s.Took != cfg.Timeout || s.Error != context.DeadlineExceeded.Error() {
			t.Errorf("took %v, error %q, want %v and the deadline", s.Took, s.Error, cfg.Timeout)
		}
	})
}

func TestStopIsPrompt(t *testing.T) {
	cfg := steady()
	cfg.Timeout = time.Hour
	inBubble(t, []spec{{"web", "a", cfg}}, func(r *rig) { r.servers["a"].fallSilent() }, func(r *rig) {
		after(time.Second) // a probe is under way
		before := time.Now()
		r.stop()
		if d := time.Since(before); d != 0 {
			t.Errorf("Run returned %v after its context was done", d)
		}
		r.wantUp("after a probe that was cut short", "web", "a")
	})
}
