package health

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/pool"
)

// gaps returns the times between starts of probes.
func gaps(times []time.Time) (ds []time.Duration) {
	for i := 1; i < len(times); i++ {
		ds = append(ds, times[i].Sub(times[i-1]))
	}
	return ds
}

// The server of a backend that is long down is asked less often, one that is changing more often.
func TestIntervalsFollowTheState(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.servers["a"]
		after(5 * time.Second) // 3 probes
		a.set(errDead)
		after(12 * time.Second) // 3 to go down within a second from 6 s on, then at 12 s
		a.set(nil)
		after(11 * time.Second) // at 17 s and 17.5 s it comes up
		const s, ms = time.Second, time.Millisecond
		want := []time.Duration{
			2 * s, 2 * s, 2 * s, 500 * ms, 500 * ms, 5 * s, 5 * s, 500 * ms, 2 * s, 2 * s, 2 * s, 2 * s, 2 * s,
		}
		if got := gaps(a.times()); !slices.Equal(got, want) {
			t.Errorf("intervals\n%v, want\n%v", got, want)
		}
	})
}

// While nobody is left to serve, the servers are asked as often as may be: one of them may have been promoted.
func TestStrandedPoolIsProbedFast(t *testing.T) {
	prepare := func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].replica(0)
	}
	inBubble(t, []spec{{"rw", "pg1 pg2", postgres(RolePrimary)}}, prepare, func(r *rig) {
		after(5 * time.Second)
		r.servers["pg1"].set(errDead)
		after(10 * time.Second)
		for _, name := range []string{"pg1", "pg2"} {
			times := r.servers[name].times()
			if last := gaps(times)[len(times)-4:]; last[0] != 500*time.Millisecond || last[2] != 500*time.Millisecond {
				t.Errorf("%s is probed in intervals of %v", name, last)
			}
		}
		before := time.Now()
		r.servers["pg2"].primary(2)
		after(500 * time.Millisecond)
		r.wantUp(fmt.Sprint(time.Since(before), " after the promotion"), "rw", "pg2")
		after(10 * time.Second)
		times := r.servers["pg2"].times()
		if last := gaps(times)[len(times)-2]; last != 2*time.Second {
			t.Errorf("after the failover pg2 is probed in intervals of %v", last)
		}
	})
}

// The others are asked as soon as nobody is left.
func TestStrandedPoolIsProbedAtOnce(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	for range 20 {
		inBubble(t, specs, prepare, func(r *rig) {
			after(3 * time.Second)
			r.servers["pg1"].set(errDead)
			after(3 * time.Second)
			down := r.Status(r.backend("pg1")).Since
			times := r.servers["pg2"].times()
			i, _ := slices.BinarySearchFunc(times, down, time.Time.Compare)
			want := times[i-1].Add(500 * time.Millisecond)
			if want.Before(down) {
				want = down
			}
			if times[i] != want {
				t.Errorf("pg2 was asked %v after pg1 went down, want %v", times[i].Sub(down), want.Sub(down))
			}
		})
	}
}

// The same when it is the operator who takes the last one out.
func TestPoolThatTheOperatorStrands(t *testing.T) {
	inBubble(t, web("a b"), func(r *rig) { r.servers["b"].set(errDead) }, func(r *rig) {
		after(21 * time.Second) // the next probe of b is at 25 s
		r.backend("a").SetAdmin(pool.Drain)
		r.servers["b"].set(nil)
		after(adminInterval + 500*time.Millisecond)
		r.wantUp("a second later", "web", "a b")
	})
}

func TestPoolThatTheOperatorEmptiedIsNotStranded(t *testing.T) {
	inBubble(t, web("a"), nil, func(r *rig) {
		r.backend("a").SetAdmin(pool.Drain)
		after(10 * time.Second)
		if n := len(r.servers["a"].times()); n != 5 {
			t.Errorf("probed %d times in 10 s, want 5", n)
		}
	})
}

// A connection that is lost makes the target ask at once, but not without end.
func TestLostConnection(t *testing.T) {
	inBubble(t, web("a"), nil, func(r *rig) {
		a := r.servers["a"]
		after(time.Second)
		a.lost <- struct{}{}
		synctest.Wait()
		if n := len(a.times()); n != 2 {
			t.Errorf("probed %d times, want a second time at once", n)
		}
		for range 3 {
			a.lost <- struct{}{}
			synctest.Wait()
		}
		if n := len(a.times()); n != 2 {
			t.Errorf("probed %d times in the same moment, want no third time", n)
		}
		after(500 * time.Millisecond)
		if n := len(a.times()); n != 3 {
			t.Errorf("probed %d times after the fast interval, want 3", n)
		}
	})
}

// A failed connect of a session makes the target ask at once, unless it has just done so.
func TestFailedConnectNudges(t *testing.T) {
	cfg := steady()
	cfg.Eject.Failures = 0
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		a := r.servers["a"]
		after(300 * time.Millisecond)
		r.Observe(r.backend("a"), pool.DialRefused)
		synctest.Wait()
		if n := len(a.times()); n != 1 {
			t.Errorf("probed %d times, want no probe so soon after the first", n)
		}
		after(700 * time.Millisecond)
		r.Observe(r.backend("a"), pool.DialOK)
		synctest.Wait()
		if n := len(a.times()); n != 1 {
			t.Errorf("probed %d times, want none for a connect that succeeded", n)
		}
		for range 100 {
			r.Observe(r.backend("a"), pool.DialTimeout)
		}
		synctest.Wait()
		if n := len(a.times()); n != 2 {
			t.Errorf("probed %d times, want a second time at once", n)
		}
		if n := len(r.servers["b"].times()); n != 1 {
			t.Errorf("b was probed %d times, want once", n)
		}
	})
}

func TestProbesAreJittered(t *testing.T) {
	inBubble(t, []spec{{"web", "a b c", DefaultConfig()}}, nil, func(r *rig) {
		after(10 * time.Minute)
		low, high := time.Hour, time.Duration(0)
		first := map[time.Time]bool{}
		for _, s := range r.servers {
			times := s.times()
			first[times[0]] = true
			low, high = min(low, slices.Min(gaps(times))), max(high, slices.Max(gaps(times)))
		}
		if low < 1600*time.Millisecond || high > 2400*time.Millisecond {
			t.Errorf("intervals from %v to %v, want within 1.6 s and 2.4 s", low, high)
		}
		if low > 1650*time.Millisecond || high < 2350*time.Millisecond {
			t.Errorf("intervals from %v to %v, want them to fill 1.6 s to 2.4 s", low, high)
		}
		if len(first) != 3 {
			t.Errorf("first probes at %d different times, want 3", len(first))
		}
	})
}
