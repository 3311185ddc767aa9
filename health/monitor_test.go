package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// web is a pool of backends that are told nothing special.
func web(backends string) []spec { return []spec{{"web", backends, steady()}} }

func TestFirstProbeIsPromptAndDecidesAlone(t *testing.T) {
	prepare := func(r *rig) { r.servers["b"].set(errDead) }
	inBubble(t, web("a b"), prepare, func(r *rig) {
		r.wantUp("before", "web", "a b")
		after(firstWithin)
		r.wantUp("after the first probe", "web", "a")
		for _, name := range []string{"a", "b"} {
			if n := len(r.servers[name].times()); n != 1 {
				t.Errorf("%s was probed %d times within %v, want once", name, n, firstWithin)
			}
		}
		r.wantLog("after the first probe",
			`level=WARN msg="backend down" pool=web backend=b reason="nobody home" cause=failed failures=1`)
	})
}

func TestFirstProbeWithinAShortInterval(t *testing.T) {
	cfg := steady()
	cfg.Interval = 10 * time.Millisecond
	inBubble(t, []spec{{"web", "a b", cfg}}, func(r *rig) { r.servers["a"].set(errDead) }, func(r *rig) {
		after(cfg.Interval)
		r.wantUp("after one interval", "web", "b")
	})
}

func TestFallAndRise(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.servers["a"]
		after(time.Second) // the probes are at most 200 ms after each even second
		a.set(errDead)
		after(1200 * time.Millisecond) // the first of them
		r.wantUp("after 1 failure", "web", "a b")
		after(500 * time.Millisecond)
		r.wantUp("after 2 failures of 3", "web", "a b")
		r.wantLog("before a transition")
		after(500 * time.Millisecond)
		r.wantUp("after 3 failures", "web", "b")
		r.wantLog("after 3 failures",
			`level=WARN msg="backend down" pool=web backend=a reason="nobody home" cause=failed failures=3`)
		r.wantReason("web", "a", "nobody home")

		a.set(nil)
		after(5 * time.Second)
		r.wantUp("after 1 success of 2", "web", "b")
		r.wantReason("web", "a", "answers again, 1 of 2 checks so far")
		after(500 * time.Millisecond)
		r.wantUp("after 2 successes", "web", "a b")
		r.wantLog("in the end", `level=INFO msg="backend up" pool=web backend=a`)
	})
}

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

// A balancer that is out of descriptors or ports learns nothing about its backends.
func TestLocalShortageIsNoEvidence(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		cause := fmt.Errorf("dial: %w", os.NewSyscallError("socket", errno))
		specs := []spec{{"web", "a", steady()}, {"rw", "pg1", postgres(RolePrimary)}}
		prepare := func(r *rig) {
			r.servers["a"].set(cause)
			r.servers["pg1"].set(cause)
		}
		inBubble(t, specs, prepare, func(r *rig) {
			after(time.Minute)
			if n := len(r.servers["a"].times()); n < 10 || r.pool.Usable() != 1 {
				t.Errorf("%v: after %d probes usable is %v, want 1", errno, n, r.pool.Usable())
			}
			r.wantReason("rw", "pg1", "not checked yet: "+cause.Error())
			r.wantLog("all the time")
		})
	}
}

// The server's own word takes it down, whatever Fall says.
func TestUnavailableTakesDownAtOnce(t *testing.T) {
	err := unavailable(t)
	inBubble(t, web("a b"), nil, func(r *rig) {
		after(time.Second)
		r.servers["a"].set(err)
		after(1200 * time.Millisecond)
		r.wantUp("after 1 failure", "web", "b")
		r.servers["a"].set(nil)
		after(5 * time.Second)
		r.wantUp("after 1 success", "web", "b")
		after(500 * time.Millisecond)
		r.wantUp("after 2 successes", "web", "a b")
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

// Pools that ask the same share one probe, and each makes of the answer what it wants.
func TestPoolsShareProbes(t *testing.T) {
	other := postgres(RoleAny)
	other.Fall = 5
	specs := []spec{
		{"rw", "pg1 pg2", postgres(RolePrimary)}, {"ro", "pg1 pg2", postgres(RoleReplica)},
		{"any", "pg1 pg2", postgres(RoleAny)}, {"other", "pg1", other},
	}
	prepare := func(r *rig) {
		r.servers["pg1"].primary(3)
		r.servers["pg2"].replica(time.Second)
	}
	inBubble(t, specs, prepare, func(r *rig) {
		if a, b := r.servers["pg1"].probers, r.servers["pg2"].probers; a != 2 || b != 1 {
			t.Errorf("%d and %d probers, want 2 and 1", a, b)
		}
		r.wantUp("before the first probe", "rw", "")
		r.wantUp("before the first probe", "ro", "")
		r.wantUp("before the first probe", "any", "pg1 pg2")
		r.wantReason("rw", "pg1", "not checked yet")
		after(firstWithin)
		r.wantUp("after it", "rw", "pg1")
		r.wantUp("after it", "ro", "pg2")
		r.wantUp("after it", "any", "pg1 pg2")
		if n := len(r.servers["pg2"].times()); n != 1 {
			t.Errorf("pg2 was probed %d times, want once for three pools", n)
		}
		r.wantReason("rw", "pg2", "is a replica, the pool wants the primary")
		r.wantReason("ro", "pg1", "is the primary, the pool wants replicas")
		r.servers["pg2"].set(errDead)
		after(10 * time.Second)
		r.wantUp("pg2 is dead", "ro", "")
		r.wantUp("pg2 is dead", "any", "pg1")
		r.stop()
		for name, s := range r.servers {
			if s.closed != s.probers {
				t.Errorf("%s: %d of %d probers were closed", name, s.closed, s.probers)
			}
		}
	})
}

func TestBackendsOfOnePoolShareAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		address := pool.Address{Unix: "/a"}
		p, err := pool.New(pool.Config{Name: "web", Backends: []pool.BackendConfig{
			{Name: "x", Address: address, Weight: 1}, {Name: "y", Address: address, Weight: 1},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{lost: make(chan struct{}), err: errDead}
		var told []string
		m, err := New([]Watched{{p, steady()}}, Options{
			NewProber: func(probe.Config, pool.Address) (probe.Prober, error) { s.probers++; return s, nil },
			OnProbe:   func(b *pool.Backend, _ time.Duration, err error) { told = append(told, b.Name()+" "+err.Error()) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		m.Run(ctx)
		if s.probers != 1 || p.Usable() != 0 || !slices.Equal(told, []string{"x nobody home", "y nobody home"}) {
			t.Errorf("%d probers, %d usable, told %q", s.probers, p.Usable(), told)
		}
	})
}

func TestNewErrors(t *testing.T) {
	p, q := newPool(t, "web", "a", "b"), newPool(t, "other", "c")
	s := &server{}
	_, err := New([]Watched{{p, steady()}, {q, steady()}, {p, steady()}}, Options{
		NewProber: func(_ probe.Config, a pool.Address) (probe.Prober, error) {
			if a.Unix == "/b" {
				return nil, errors.New("no user")
			}
			return s, nil
		},
	})
	want := "watch pool \"web\": backend \"b\": no user\nwatch pool \"web\": it is given twice"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if s.closed != 2 {
		t.Errorf("%d probers were closed, want the 2 that were made", s.closed)
	}
}

func TestDrainIsProbed(t *testing.T) {
	inBubble(t, web("a"), func(r *rig) { r.servers["a"].set(errDead) }, func(r *rig) {
		r.backend("a").SetAdmin(pool.Drain)
		after(firstWithin)
		r.wantUp("after the first probe", "web", "")
	})
}

func TestOff(t *testing.T) {
	cfg := steady()
	cfg.Probe.Kind = probe.Off
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "web", "a")
		p.Backends()[0].SetUp(false)
		m, err := New([]Watched{{p, cfg}}, Options{
			NewProber: func(probe.Config, pool.Address) (probe.Prober, error) { return nil, errDead },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		m.Run(ctx)
		if s := m.Status(p.Backends()[0]); p.Usable() != 1 || s != (Status{Up: true, Since: start}) {
			t.Errorf("%d usable, want 1; status %+v", p.Usable(), s)
		}
	})
}

func TestOnProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		p := newPool(t, "web", "a", "b")
		servers := map[string]*server{"/a": {}, "/b": {err: errDead}}
		m, err := New([]Watched{{p, steady()}}, Options{
			NewProber: func(_ probe.Config, a pool.Address) (probe.Prober, error) { return servers[a.Unix], nil },
			OnProbe: func(b *pool.Backend, took time.Duration, err error) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprint(b.Name(), " ", took, " ", err))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m.Run(ctx)
		slices.Sort(got)
		if want := []string{"a 0s <nil>", "b 0s nobody home"}; !slices.Equal(got, want) {
			t.Errorf("probes %q, want %q", got, want)
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

func TestStatus(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.backend("a")
		if s := r.Status(a); s != (Status{Checked: true, Up: true, Since: r.start}) {
			t.Errorf("before the first probe: %+v", s)
		}
		after(5 * time.Second) // 3 probes
		times := r.servers["a"].times()
		want := Status{Checked: true, Up: true, Since: r.start, Successes: 3, LastProbe: times[2]}
		if s := r.Status(a); s != want {
			t.Errorf("after 3 probes: %+v, want %+v", s, want)
		}
		r.servers["a"].set(errDead)
		after(8 * time.Second) // 4 probes
		times = r.servers["a"].times()
		want = Status{
			Checked: true, Reason: "nobody home", Since: times[5], Failures: 4, LastProbe: times[6], Error: "nobody home",
		}
		if s := r.Status(a); s != want {
			t.Errorf("after 4 failures: %+v, want %+v", s, want)
		}
		foreign := newPool(t, "other", "a")
		if s := r.Status(foreign.Backends()[0]); s != (Status{}) {
			t.Errorf("of another pool's backend: %+v", s)
		}
		if s := r.PoolStatus(foreign); s != (PoolStatus{}) {
			t.Errorf("of another pool: %+v", s)
		}
	})
}

func TestStatusOfPostgres(t *testing.T) {
	prepare := func(r *rig) {
		r.servers["pg1"].primary(3)
		r.servers["pg2"].replica(2 * time.Second)
		r.servers["pg3"].replica(-1)
	}
	inBubble(t, []spec{{"all", "pg1 pg2 pg3", postgres(RoleAny)}}, prepare, func(r *rig) {
		after(time.Second)
		f := func(backend, role string, timeline uint32, lag time.Duration, known bool) {
			t.Helper()
			s := r.Status(r.backend(backend))
			if s.Role != role || s.Timeline != timeline || s.LagKnown != known || known && s.Lag != lag {
				t.Errorf("status of %s: %+v", backend, s)
			}
		}
		f("pg1", "primary", 3, 0, false)
		f("pg2", "replica", 0, 2*time.Second, true)
		f("pg3", "replica", 0, 0, false)
		r.servers["pg1"].set(errDead)
		after(10 * time.Second)
		f("pg1", "", 0, 0, false)
	})
}

// What is logged is in the order in which it happened, whoever found out.
func TestLogIsInOrder(t *testing.T) {
	names := strings.Fields("a b c d e f g h")
	prepare := func(r *rig) {
		for i, name := range names {
			r.servers[name].set(fmt.Errorf("failure %d", i))
		}
	}
	inBubble(t, web(strings.Join(names, " ")), prepare, func(r *rig) {
		after(firstWithin)
		var want []time.Time
		for _, line := range strings.Split(r.logged(), "\n") {
			_, rest, _ := strings.Cut(line, "backend=")
			want = append(want, r.Status(r.backend(rest[:1])).Since)
		}
		if len(want) != len(names) || !slices.IsSortedFunc(want, time.Time.Compare) {
			t.Errorf("lines of %v", want)
		}
	})
}
