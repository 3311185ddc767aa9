package l4

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newQuota(limit int64) *quota {
	q := new(quota)
	q.limit.Store(limit)
	return q
}

func TestQuotaWarnsAt(t *testing.T) {
	f := func(limit int64, want ...int64) {
		t.Helper()
		q := newQuota(limit)
		var got []int64
		for i := range limit + 5 {
			if ok := q.take(); ok != (limit == 0 || i < limit) {
				t.Errorf("limit %d: %v for number %d", limit, ok, i+1)
			}
			if q.isNear(time.Hour) {
				got = append(got, q.taken.Load())
			}
		}
		if len(got) != len(want) || len(want) == 1 && got[0] != want[0] {
			t.Errorf("limit %d: near at %v, want %v", limit, got, want)
		}
		taken := limit
		if limit == 0 {
			taken = 5 // they are counted all the same
		}
		if q.isFull() != (limit > 0) || q.taken.Load() != taken {
			t.Errorf("limit %d: %d taken in the end", limit, q.taken.Load())
		}
		for range taken {
			q.give()
		}
		if q.taken.Load() != 0 || q.isFull() {
			t.Errorf("limit %d: %d taken after all were given back", limit, q.taken.Load())
		}
	}
	f(0)
	f(1, 1)
	f(2, 2)
	f(3, 3)
	f(4, 4)
	f(5, 4)
	f(10, 8)
	f(11, 9)
	f(100, 80)
	f(101, 81)
}

// However many take and give at once, no more than the limit are ever taken, and all can be
// taken again in the end.
func TestQuotaConcurrently(t *testing.T) {
	const limit, takers, rounds = 7, 16, 20_000
	q := newQuota(limit)
	var held, most atomic.Int64
	var all sync.WaitGroup
	for taker := range uint64(takers) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(taker, 1))
			var mine int64
			for range rounds {
				if mine > 0 && rnd.IntN(2) == 0 {
					held.Add(-1)
					q.give()
					mine--
				} else if q.take() {
					mine++
					n := held.Add(1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
				}
			}
			for range mine {
				held.Add(-1)
				q.give()
			}
		})
	}
	all.Wait()
	if most.Load() > limit || q.taken.Load() != 0 {
		t.Errorf("%d were taken at once, %d are in the end; the limit is %d", most.Load(), q.taken.Load(), limit)
	}
	for range limit {
		if !q.take() {
			t.Error("a free place cannot be taken")
		}
	}
}

// eachLimit runs a test with each way to bound the sessions of one listener.
func eachLimit(t *testing.T, limit int, f func(t *testing.T, r *rig)) {
	t.Helper()
	t.Run("listener", func(t *testing.T) {
		f(t, newRig(t, rigConfig{listener: func(l *ListenerConfig) { l.MaxSessions = limit }}))
	})
	t.Run("server", func(t *testing.T) { f(t, newRig(t, rigConfig{maxSessions: limit})) })
	t.Run("both", func(t *testing.T) {
		f(t, newRig(t, rigConfig{maxSessions: limit, listener: func(l *ListenerConfig) { l.MaxSessions = limit }}))
	})
}

// expectPlaces checks how many sessions have a place.
func (r *rig) expectPlaces(want int64) {
	r.t.Helper()
	for _, q := range []*quota{&r.srv.places, &r.srv.listeners()[0].places} {
		if n := q.taken.Load(); n != want {
			r.t.Errorf("%d places of %d are taken, want %d", n, q.limit.Load(), want)
		}
	}
}

// At the limit the rest waits in the kernel's backlog and is served in turn, as soon as there
// is a place.
func TestMaxSessions(t *testing.T) {
	const limit, clients = 3, 9
	eachLimit(t, limit, func(t *testing.T, r *rig) {
		for range clients {
			r.dial()
		}
		stats := func() ListenerStats { return r.srv.Stats().Listeners[0] }
		var open [][2]conn
		for i := range clients {
			if i >= limit {
				if s := stats(); s.Sessions != limit || !s.AtLimit || !s.Resting || s.Accepts != uint64(i) {
					t.Fatalf("%+v, want %d sessions, at rest", s, limit)
				}
				r.expectPlaces(limit)
				r.expectNothing(r.dialled[i:]...)
				r.expectNobody(r.backend)
				r.leave(open[0])
				open = open[1:]
			}
			ends := [2]conn{client: r.dialled[i]}
			ends[server] = r.accept() // the clock stands: the place that came free is what it takes
			r.exchange(ends[client], ends[server], 3)
			open = append(open, ends)
			r.settle()
		}
		for _, ends := range open {
			r.leave(ends)
		}
		r.now += restTime
		r.settle()
		if s := stats(); s.Sessions != 0 || s.AtLimit || s.Resting || s.Accepts != clients || s.AcceptErrors != 0 {
			t.Errorf("%+v, want nothing left of %d accepts", s, clients)
		}
		r.expectPlaces(0)
	})
}

func TestMaxSessionsStats(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 5, listener: func(l *ListenerConfig) { l.MaxSessions = 2 }})
	stats := r.srv.Stats()
	if stats.MaxSessions != 5 || stats.Listeners[0].MaxSessions != 2 || stats.Listeners[0].AtLimit {
		t.Errorf("%+v, want limits of 5 and 2", stats)
	}
	r.pair()
	if r.srv.Stats().Listeners[0].AtLimit {
		t.Error("at the limit with one session of two")
	}
	r.pair()
	r.settle()
	if stats := r.srv.Stats().Listeners[0]; !stats.AtLimit {
		t.Errorf("%+v: it is at the limit", stats)
	}

	r = newRig(t, rigConfig{})
	r.pair()
	stats = r.srv.Stats()
	if stats.MaxSessions != 0 || stats.Listeners[0].MaxSessions != 0 || stats.Listeners[0].AtLimit {
		t.Errorf("%+v, want no limits", stats)
	}
}

// expectWarnings checks how many warnings with these words were logged.
func (r *rig) expectWarnings(words string, want int) {
	r.t.Helper()
	if n := strings.Count(r.logs.String(), words); n != want {
		r.t.Errorf("%q was logged %d times, want %d:\n%s", words, n, want, r.logs.String())
	}
}

// The operator is told once when a limit is near, once when it is reached, and again after a
// while if that has not changed.
func TestLimitWarnings(t *testing.T) {
	f := func(name string, config rigConfig) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, config)
			const rests = "rests at the limit of sessions"
			for range 7 {
				r.pair()
			}
			r.settle()
			r.expectWarnings("near", 0)
			r.pair()
			r.settle()
			r.expectWarnings("listener=test limit_of="+name+" sessions=8 limit=10", 1)
			open := r.pair()
			r.pair()
			r.dial()
			r.until("it rests", func() bool { return r.srv.Stats().Listeners[0].Resting })
			for range 20 {
				r.now += restTime
				r.settle()
			}
			r.expectWarnings(rests, 1)
			r.expectWarnings("listener=test limit_of="+name+" sessions=10 limit=10", 1)
			r.now += 10 * restTime * 10
			r.settle()
			r.expectWarnings(rests, 2) // it goes on
			r.leave(open)
			r.accept()
			r.settle()
			r.expectWarnings(rests, 2)
			r.expectWarnings("near", 1)
			if n := strings.Count(r.logs.String(), "\n"); n != 3 {
				t.Errorf("%d lines are logged, want 3:\n%s", n, r.logs.String())
			}
		})
	}
	f("listener", rigConfig{listener: func(l *ListenerConfig) { l.MaxSessions = 10 }})
	f("process", rigConfig{maxSessions: 10})
}

// A number of sessions that goes up and down at 80 % is no news; one that was low and is high again
// is.
func TestNearAgain(t *testing.T) {
	q := newQuota(100)
	now := time.Hour
	f := func(to int64, want bool) {
		t.Helper()
		now += time.Minute
		for q.taken.Load() > to {
			q.give()
		}
		near := false
		for q.taken.Load() < to {
			q.take()
			near = q.isNear(now) || near
		}
		if near != want {
			t.Errorf("at %d: told %v, want %v", to, near, want)
		}
	}
	f(79, false)
	f(80, true)
	f(79, false)
	f(80, false)
	f(70, false)
	f(100, false)
	f(69, false)
	f(79, false)
	f(80, true)
	f(0, false)
	f(90, true)

	small := newQuota(2) // one session more or less is far or near
	told := 0
	for range 100 {
		small.take()
		small.take()
		if small.isNear(now) {
			told++
		}
		small.give()
		small.give()
	}
	if told > 1 {
		t.Errorf("told %d times at once", told)
	}
}
