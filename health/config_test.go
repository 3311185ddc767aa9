package health

import (
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	want := DefaultConfig()
	got := Config{Jitter: want.Jitter, Eject: want.Eject}.withDefaults()
	if wayOf(&got) != wayOf(&want) || got.Eject != want.Eject {
		t.Errorf("a Config that says little becomes %+v, want %+v", got, want)
	}
}

func TestIntervalsKeepTheirOrder(t *testing.T) {
	f := func(interval, fast, down, wantFast, wantDown time.Duration) {
		t.Helper()
		c := Config{Interval: interval, FastInterval: fast, DownInterval: down}.withDefaults()
		if c.FastInterval != wantFast || c.DownInterval != wantDown {
			t.Errorf("interval %v, fast %v, down %v: fast %v, down %v, want %v and %v",
				interval, fast, down, c.FastInterval, c.DownInterval, wantFast, wantDown)
		}
	}
	const ms, s = time.Millisecond, time.Second
	f(2*s, 0, 0, 500*ms, 5*s)
	f(100*ms, 0, 0, 100*ms, 5*s)
	f(10*s, 0, 0, 500*ms, 10*s)
	f(s, 2*s, 100*ms, s, s)
	f(s, 200*ms, 3*s, 200*ms, 3*s)
	f(s, -1, -1, 500*ms, 5*s)
}
