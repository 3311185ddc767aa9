package health

import (
	"testing"
	"time"

	"sluice/health/probe"
)

func TestNextProbe(t *testing.T) {
	c := Config{
		Interval: 2 * time.Second, FastInterval: 500 * time.Millisecond, DownInterval: 5 * time.Second, Fall: 3, Jitter: 0.2,
	}
	base := time.Unix(1000, 0)
	// The latest probe started at 0; want is when the next one starts, in milliseconds, -1: not before one has ended.
	f := func(s schedule, p pace, want int) {
		t.Helper()
		s.started = base
		at, ok := s.next(c, p)
		got := -1
		if ok {
			got = int(at.Sub(base).Milliseconds())
		}
		if got != want {
			t.Errorf("%+v, %+v: next at %d ms, want %d", s, p, got, want)
		}
	}
	up, down, hurry, hurryDown := pace{}, pace{down: true}, pace{hurry: true}, pace{hurry: true, down: true}
	f(schedule{random: 0.5}, up, 2000)
	f(schedule{random: 0}, up, 1600)
	f(schedule{random: 0.75}, up, 2200)
	f(schedule{random: 0.5}, down, 5000)
	f(schedule{random: 0}, down, 4000)
	f(schedule{random: 0}, hurry, 500) // not jittered
	f(schedule{random: 0}, hurryDown, 500)

	f(schedule{random: 0.5, open: true, inFlight: 1}, up, 500)
	f(schedule{random: 0.5, open: true, inFlight: 2}, up, 500)
	f(schedule{random: 0.5, open: true, inFlight: 3}, up, -1)
	f(schedule{random: 0.5, open: true, inFlight: 3}, hurry, -1)
	f(schedule{random: 0.5, inFlight: 1}, up, 2000) // an older one is still in flight
	f(schedule{random: 0.5, open: true, inFlight: 1}, down, 5000)
	f(schedule{random: 0.5, open: true, inFlight: 1}, hurryDown, 500)

	ago := func(d time.Duration) time.Time { return base.Add(-d) }
	f(schedule{random: 0.5, wanted: true, hasty: ago(time.Second)}, up, -500) // at once
	f(schedule{random: 0.5, wanted: true, hasty: base}, up, 500)
	f(schedule{random: 0.5, wanted: true, hasty: ago(100 * time.Millisecond)}, down, 400)
	f(schedule{random: 0.5, wanted: true, inFlight: 3}, up, -1)
}

// A server of MySQL that is silent is not asked more often than it must be: it counts logins that were given up.
func TestSilentMySQLIsAskedSeldom(t *testing.T) {
	cfg := steady()
	cfg.Probe.Kind = probe.MySQL
	inBubble(t, []spec{{"db", "a", cfg}}, nil, func(r *rig) {
		after(time.Second)
		a := r.servers["a"]
		a.fallSilent()
		after(10 * time.Second)
		r.wantUp("after ten seconds of silence", "db", "")
		n := len(a.times())
		after(time.Minute)
		if got := len(a.times()) - n; got > 12 || a.most != 1 {
			t.Errorf("asked %d times in a minute, %d at a time; want 12 and 1: down_interval is 5s", got, a.most)
		}
	})
}

func TestProbesInFlight(t *testing.T) {
	f := func(fall, inFlight int, want bool) {
		t.Helper()
		c := DefaultConfig()
		c.Fall = fall
		s := schedule{started: time.Unix(1000, 0), open: true, inFlight: inFlight}
		if _, ok := s.next(c, pace{}); ok != want {
			t.Errorf("fall %d, %d in flight: another one %v, want %v", fall, inFlight, ok, want)
		}
	}
	f(1, 0, true)
	f(1, 1, false)
	f(5, 4, true)
	f(5, 5, false)
	f(100, 4, true)
	f(100, 5, false)
}

func TestFirstProbe(t *testing.T) {
	first := time.Unix(1000, 0)
	s := schedule{first: first}
	if at, ok := s.next(DefaultConfig(), pace{}); !ok || at != first {
		t.Errorf("the first probe starts at %v, %v, want %v", at, ok, first)
	}
}

func TestScheduleCountsProbes(t *testing.T) {
	one, two := time.Unix(1, 0), time.Unix(2, 0)
	var s schedule
	s.wanted = true
	s.begin(one, 0.5)
	if s.wanted || s.hasty != one || !s.open || s.inFlight != 1 {
		t.Errorf("after one wanted start: %+v", s)
	}
	s.begin(two, 0.5)
	if s.hasty != one || s.started != two || s.inFlight != 2 {
		t.Errorf("after a second start: %+v", s)
	}
	s.end(one)
	if !s.open || s.inFlight != 1 {
		t.Errorf("the first has ended: %+v", s)
	}
	s.end(two)
	if s.open || s.inFlight != 0 {
		t.Errorf("both have ended: %+v", s)
	}
}

func TestOpenProbeNeverDelaysTheNext(t *testing.T) {
	c := Config{Interval: 100 * time.Millisecond, FastInterval: 100 * time.Millisecond, Fall: 3, Jitter: 0.2}
	s := schedule{started: time.Unix(1, 0), open: true, inFlight: 1}
	if at, _ := s.next(c, pace{}); at.Sub(s.started) != 80*time.Millisecond {
		t.Errorf("next after %v, want the jittered interval of 80 ms", at.Sub(s.started))
	}
}

func TestJitterStaysInBounds(t *testing.T) {
	f := func(part, random float64, want time.Duration) {
		t.Helper()
		if got := jittered(time.Second, part, random); got != want {
			t.Errorf("jittered(1s, %v, %v) = %v, want %v", part, random, got, want)
		}
	}
	f(0, 0.9, time.Second)
	f(0.2, 0, 800*time.Millisecond)
	f(0.2, 0.5, time.Second)
	f(0.2, 0.75, 1100*time.Millisecond)
	f(1, 0, 100*time.Millisecond)
	f(1, 0.04, 100*time.Millisecond)
	f(1, 0.25, 500*time.Millisecond)
}
