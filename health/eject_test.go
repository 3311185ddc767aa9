package health

import (
	"testing"
	"time"
)

func TestEvidence(t *testing.T) {
	c := EjectConfig{Failures: 3, Window: 10 * time.Second, Duration: 30 * time.Second, MaxPercent: 50}
	// Seconds at which connects end; a negative one is a success. Want is the second at which to eject first, or -1.
	f := func(want int, at ...int) {
		t.Helper()
		var e evidence
		got := -1
		for _, second := range at {
			if second < 0 {
				e.succeeded()
				continue
			}
			if e.failed(time.Unix(int64(second), 0), c) && got < 0 {
				got = second
			}
		}
		if got != want {
			t.Errorf("failures at %v: eject at %d, want %d", at, got, want)
		}
	}
	f(-1, 1, 2)
	f(3, 1, 2, 3)
	f(11, 1, 2, 11)
	f(-1, 1, 2, 12)
	f(12, 1, 3, 12, 12)
	f(12, 1, 2, 12, 12) // the oldest of the last three is at 2
	f(-1, 1, 2, 13, 13)
	f(-1, 1, 2, -3, 4, 5)
	f(6, 1, 2, -3, 4, 5, 6)
}

func TestEvidenceGoesOnAsking(t *testing.T) {
	c := EjectConfig{Failures: 2, Window: time.Second}
	var e evidence
	now := time.Unix(1, 0)
	for i, want := range []bool{false, true, true, true} {
		if got := e.failed(now, c); got != want {
			t.Errorf("failure %d: eject %v, want %v", i, got, want)
		}
	}
}

func TestEjectionIsOver(t *testing.T) {
	c := EjectConfig{Failures: 1, Window: time.Second, Duration: 30 * time.Second}
	var e evidence
	if e.ejected() || e.over(time.Unix(1e6, 0)) {
		t.Error("ejected at the start")
	}
	e.eject(time.Unix(100, 0), c)
	if !e.ejected() || e.over(time.Unix(129, 0)) || !e.over(time.Unix(130, 0)) {
		t.Errorf("ejected at 100 for 30 s: %+v", e)
	}
}

func TestMayEject(t *testing.T) {
	f := func(percent, backends, ejected, usable int, want bool) {
		t.Helper()
		if got := mayEject(EjectConfig{MaxPercent: percent}, backends, ejected, usable); got != want {
			t.Errorf("%d %% of %d, %d ejected, %d usable: %v, want %v", percent, backends, ejected, usable, got, want)
		}
	}
	f(50, 1, 0, 1, false)
	f(50, 2, 0, 2, true)
	f(50, 2, 1, 1, false)
	f(50, 3, 0, 3, true)
	f(50, 3, 1, 2, false) // 1.5 rounded down
	f(50, 4, 1, 3, true)
	f(34, 3, 0, 3, true)
	f(33, 3, 0, 3, false)
	f(0, 10, 0, 10, false)
	f(100, 2, 0, 2, true)
	f(100, 2, 1, 1, false) // the last usable one stays
	f(100, 1, 0, 1, false)
	f(50, 2, 0, 1, false) // the other one is down
}
