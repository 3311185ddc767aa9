package clients

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestClientLimitsCheck(t *testing.T) {
	f := func(c Limits, want ...string) {
		t.Helper()
		err := c.Check()
		if (err == nil) != (len(want) == 0) || err != nil && err.Error() != strings.Join(want, "\n") {
			t.Errorf("%+v: error %v, want %q", c, err, want)
		}
	}
	f(Limits{})
	f(Limits{Sessions: math.MaxInt32, Rate: 1e6, Burst: 1 << 40, Table: 1 << 24})
	f(Limits{Rate: 1.0 / 86400, Burst: 365})
	f(Limits{Sessions: -1, Rate: -1, Burst: -1, Table: -1},
		"sessions -1: want at most 2147483647, or 0 for no limit",
		"rate -1/s: want at most 1000000/s, or 0 for no limit",
		"burst -1: must not be negative",
		"table of -1 clients: want at most 16777216, or 0 for 65536")
	f(Limits{Rate: math.NaN()}, "rate NaN/s: want at most 1000000/s, or 0 for no limit")
	f(Limits{Rate: math.Inf(1)}, "rate +Inf/s: want at most 1000000/s, or 0 for no limit")
	f(Limits{Burst: 5}, "burst 5: there is no rate")
	f(Limits{Rate: 0.5, Burst: 1 << 24},
		"rate 0.5/s: a burst of 16777216 would take more than a year to be granted again")
	f(Limits{Rate: 1e-300}, "rate 1e-300/s: a burst of 1 would take more than a year to be granted again")
}

func TestBucketOfLimits(t *testing.T) {
	f := func(rate float64, burst int, cost, depth time.Duration) {
		t.Helper()
		if b := (Limits{Rate: rate, Burst: burst}).Bucket(); b != (Bucket{cost, depth}) {
			t.Errorf("rate %v, burst %d: %+v, want %v and %v", rate, burst, b, cost, depth)
		}
	}
	f(0, 0, 0, 0)
	f(50, 100, 20*time.Millisecond, 2*time.Second)
	f(50, 0, 20*time.Millisecond, time.Second)
	f(2.5, 0, 400*time.Millisecond, 1200*time.Millisecond) // 3 at once
	f(0.1, 0, 10*time.Second, 10*time.Second)
	f(100.0/60, 10, 600*time.Millisecond, 6*time.Second)
	f(1e6, 1, time.Microsecond, time.Microsecond)
}

// A credit is a token bucket as textbooks have it, in time instead of tokens.
type credit struct {
	left, at time.Duration
}

func (c credit) refilled(b Bucket, now time.Duration) time.Duration {
	return min(b.depth, c.left+now-c.at)
}

func TestBucketAgainstTokens(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		cost := time.Duration(1 + rnd.Int64N(int64(time.Second)))
		b := Bucket{cost, cost * time.Duration(1+rnd.IntN(20))}
		now, full := time.Hour, time.Duration(0)
		tokens := credit{b.depth, now}
		for range 2000 {
			now += time.Duration(rnd.Int64N(int64(2*cost) + 1))
			if rnd.IntN(100) == 0 {
				now += 2 * b.depth
			}
			left := tokens.refilled(b, now)
			next, ok := b.Take(full, now)
			if ok != (left >= cost) {
				t.Fatalf("seed %d: take %v with %v left of %v", seed, ok, left, b)
			}
			if ok {
				full, tokens = next, credit{left - cost, now}
			}
		}
	}
}
