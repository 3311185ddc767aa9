package health

import (
	"testing"
	"time"

	"sluice/health/probe"
)

// second is that second of a test.
func second(n float64) time.Time { return time.Unix(0, int64(n*float64(time.Second))) }

func TestProgress(t *testing.T) {
	p := new(progress)
	learn := func(at float64, has, whole uint64) {
		p.learn(&probe.DatabaseAnswer{Has: has, Whole: whole}, second(at), second(at+0.5))
	}
	// lags checks the lag of a replica with a last transaction of that age; a negative one is not known.
	lags := func(at float64, replayed uint64, age, want float64) {
		t.Helper()
		a := &probe.DatabaseAnswer{Replayed: replayed, AgeKnown: age >= 0, Age: time.Duration(age * float64(time.Second))}
		got, known := p.lag(a, second(at))
		if !known || got != time.Duration(want*float64(time.Second)) {
			t.Errorf("at %v, %d replayed, last transaction %v s ago: lag %v, known %t, want %v s", at, replayed, age, got, known, want)
		}
	}
	lags(9, 70, 3600, 0) // nobody has been seen to have more
	learn(10, 100, 100)
	lags(3600, 100, 3590, 0) // nobody has written since, or nobody answers any more
	lags(11, 90, 7, 7)       // as old as its last transaction says
	lags(20, 90, 7, 9.5)     // it cannot be younger than the first sight of what it lacks

	learn(20, 100, 100)
	learn(30, 200, 200)
	lags(31, 200, 3600, 0)
	lags(31, 100, 3600, 11) // all was replayed at 20
	lags(31, 199, 0.02, 0.5)
	lags(31, 100, -1, 11)
	lags(31, 100, -5, 11)
	lags(30.2, 100, 0.01, 0.01) // asked before the answer that told of more

	learn(40, 8192, 150) // the end of a page: nothing more is sure to be whole
	lags(50, 200, 3600, 0)
	learn(60, 9000, 9000)
	lags(61, 200, 3600, 31) // of what was written since 30 it has nothing

	p.cut(8500)
	lags(70, 200, 3600, 0)
}

// What a replica that has replayed nothing since it started lags is not known, unless it has everything.
func TestProgressUnknown(t *testing.T) {
	p := new(progress)
	p.learn(&probe.DatabaseAnswer{Has: 100, Whole: 100}, second(1), second(2))
	f := func(a probe.DatabaseAnswer, want bool) {
		t.Helper()
		if lag, known := p.lag(&a, second(60)); known != want {
			t.Errorf("%+v: lag %v, known %t", a, lag, known)
		}
	}
	f(probe.DatabaseAnswer{}, false)
	f(probe.DatabaseAnswer{Replayed: 50}, false)
	f(probe.DatabaseAnswer{Replayed: 50, AgeKnown: true}, true)
	f(probe.DatabaseAnswer{Replayed: 100}, true)
}

// The history is bounded, and still tells the lag of a replica that replays nothing for long.
func TestProgressIsBounded(t *testing.T) {
	p := new(progress)
	const hours = 10 * 3600
	for s := 1; s <= hours; s++ {
		p.learn(&probe.DatabaseAnswer{Has: uint64(s), Whole: uint64(s)}, second(float64(s)), second(float64(s)))
		if len(p.samples) > mostSamples {
			t.Fatalf("%d samples", len(p.samples))
		}
	}
	for _, ago := range []int{1, 10, 100, 1000, 10000} {
		lag, known := p.lag(&probe.DatabaseAnswer{Replayed: uint64(hours - ago)}, second(hours))
		want := time.Duration(ago) * time.Second
		if !known || lag < want || lag > 2*want+time.Second {
			t.Errorf("lag %v, known %t, want %v", lag, known, want)
		}
	}
}
