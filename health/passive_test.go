package health

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// fail observes n failed connects.
func (r *rig) fail(b *pool.Backend, n int) {
	for range n {
		r.Observe(b, pool.DialRefused)
	}
	synctest.Wait()
}

func (r *rig) wantEjected(t *testing.T, when string, want ...bool) {
	r.t.Helper()
	for i, b := range r.pool.Backends() {
		if got := b.Stats().Ejected; got != want[i] {
			t.Errorf("%s: %s ejected %v, want %v", when, b.Name(), got, want[i])
		}
	}
}

func TestEjectAndReturn(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.pool.Backends()[0]
		r.fail(a, 4)
		r.wantEjected(t, "after 4 failures of 5", false, false)
		before := time.Now()
		r.fail(a, 1)
		r.wantEjected(t, "after 5 failures", true, false)
		if got := r.Status(a).EjectedUntil; got != before.Add(30*time.Second) {
			t.Errorf("ejected until %v, want 30 s after %v", got, before)
		}
		want := `level=WARN msg="backend ejected" pool=web backend=a ` +
			`reason="5 connects failed in a row, the last: refused" duration=30s`
		if got := r.logged(); got != want {
			t.Errorf("log %q, want %q", got, want)
		}
		after(30*time.Second - 1)
		r.wantEjected(t, "just before the end", true, false)
		after(1)
		r.wantEjected(t, "after 30 s", false, false)
		if got := r.Status(a).EjectedUntil; !got.IsZero() {
			t.Errorf("after its return ejected until %v", got)
		}
		if got := r.logged(); got != `level=INFO msg="backend returned" pool=web backend=a reason="its ejection is over"` {
			t.Errorf("log %q", got)
		}
		r.fail(a, 4)
		r.wantEjected(t, "4 failures after its return", false, false)
		r.fail(a, 1)
		r.wantEjected(t, "5 failures after its return", true, false)
	})
}

func TestSuccessForgetsFailures(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.pool.Backends()[0]
		for range 10 {
			r.fail(a, 4)
			r.Observe(a, pool.DialOK)
		}
		r.wantEjected(t, "after 4 in a row, ten times", false, false)
	})
}

// Thousands of connects a second succeed on event loops: they must not wait for whoever holds the mutex.
func TestSuccessTakesNoMutex(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.backend("a")
		withoutMutex := func(when string) {
			t.Helper()
			done := make(chan struct{})
			r.mu.Lock()
			go func() {
				defer close(done)
				r.Observe(a, pool.DialOK)
			}()
			select {
			case <-done:
			case <-time.After(time.Second):
				t.Errorf("%s: a success waits for the mutex", when)
			}
			r.mu.Unlock()
			<-done
		}
		withoutMutex("at first")
		r.fail(a, 4)
		r.Observe(a, pool.DialOK)
		withoutMutex("failures are forgotten")
		r.fail(a, 5)
		r.wantEjected(t, "5 in a row", true, false)
		withoutMutex("ejected")
	})
}

func TestFailuresOutsideTheWindow(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.pool.Backends()[0]
		for range 10 {
			r.fail(a, 1)
			after(3 * time.Second) // 5 of them span 12 s
		}
		r.wantEjected(t, "after 1 failure each 3 s", false, false)
		for range 5 {
			r.fail(a, 1)
			after(2 * time.Second)
		}
		r.wantEjected(t, "after 1 failure each 2 s", true, false)
	})
}

func TestEjectKeepsToItsShare(t *testing.T) {
	inBubble(t, web("a b c d e"), nil, func(r *rig) {
		for _, b := range r.pool.Backends() {
			r.fail(b, 5)
		}
		r.wantEjected(t, "all five failed", true, true, false, false, false) // half of 5, rounded down
		after(5 * time.Second)
		r.fail(r.pool.Backends()[2], 5)
		after(25 * time.Second)
		r.wantEjected(t, "the first two are back", false, false, false, false, false)
		r.fail(r.pool.Backends()[2], 5)
		r.wantEjected(t, "there is room for c now", false, false, true, false, false)
	})
}

func TestLastUsableIsNotEjected(t *testing.T) {
	cfg := steady()
	cfg.Eject.MaxPercent = 100
	inBubble(t, []spec{{"web", "a b", cfg}}, func(r *rig) { r.servers["b"].set(errDead) }, func(r *rig) {
		after(firstWithin)
		r.wantUp("b is dead", "web", "a")
		r.fail(r.pool.Backends()[0], 50)
		r.wantEjected(t, "a is all there is", false, false)
		if r.pool.Usable() != 1 {
			t.Errorf("%d usable, want 1", r.pool.Usable())
		}
	})
}

func TestFailuresOfUnusableBackendsDoNotCount(t *testing.T) {
	inBubble(t, web("a b c"), nil, func(r *rig) {
		a := r.pool.Backends()[0]
		a.SetAdmin(pool.Drain)
		r.fail(a, 50)
		a.SetAdmin(pool.Ready)
		r.wantEjected(t, "a failed while draining", false, false, false)
		r.fail(a, 5)
		until := r.Status(a).EjectedUntil
		after(time.Second)
		r.fail(a, 50)
		if got := r.Status(a).EjectedUntil; got != until || until.IsZero() {
			t.Errorf("late failures moved the end from %v to %v", until, got)
		}
	})
}

func TestEjectOff(t *testing.T) {
	cfg := steady()
	cfg.Eject.Failures = 0
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		r.fail(r.pool.Backends()[0], 100)
		r.wantEjected(t, "ejection is off", false, false)
	})
}

func TestEjectWithChecksOff(t *testing.T) {
	cfg := steady()
	cfg.Probe.Kind = probe.Off
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		r.fail(r.pool.Backends()[1], 5)
		r.wantEjected(t, "b failed", false, true)
		after(30 * time.Second)
		r.wantEjected(t, "30 s later", false, false)
	})
}

func TestSeveralEjectionsEndInTime(t *testing.T) {
	inBubble(t, web("a b c d e f g h"), nil, func(r *rig) {
		bs := r.pool.Backends()
		for _, i := range []int{3, 1, 5} { // neither in configured order nor against it
			r.fail(bs[i], 5)
			after(5 * time.Second)
		}
		r.wantEjected(t, "at 15 s", false, true, false, true, false, true, false, false)
		after(15 * time.Second)
		r.wantEjected(t, "at 30 s", false, true, false, false, false, true, false, false)
		after(5 * time.Second)
		r.wantEjected(t, "at 35 s", false, false, false, false, false, true, false, false)
		after(5 * time.Second)
		r.wantEjected(t, "at 40 s", false, false, false, false, false, false, false, false)
	})
}

func TestNothingStaysEjectedAfterRun(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.pool.Backends()[0]
		r.fail(a, 5)
		r.wantEjected(t, "while running", true, false)
		r.stop()
		r.wantEjected(t, "after Run", false, false)
		r.fail(a, 50)
		r.wantEjected(t, "evidence after Run", false, false)
	})
}

func TestObserveAnotherPool(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		foreign := newPool(t, "other", "a", "b").Backends()[0]
		r.fail(foreign, 50)
		if foreign.Stats().Ejected {
			t.Error("a backend of another pool was ejected")
		}
	})
}

func TestObserveConcurrently(t *testing.T) {
	cfg := steady()
	cfg.Eject.Duration = time.Millisecond
	inBubble(t, []spec{{"web", "a b c d", cfg}}, nil, func(r *rig) {
		var loops sync.WaitGroup
		for range 4 {
			loops.Go(func() {
				for i := range 2000 {
					r.Observe(r.pool.Backends()[i%4], pool.DialTimeout)
					if n := r.pool.Usable(); n < 2 {
						t.Errorf("%d of 4 usable, want at least 2", n)
					}
					if i%100 == 0 {
						time.Sleep(time.Millisecond) // fake clock: lets ejections end
					}
				}
			})
		}
		loops.Wait()
		after(time.Second)
		r.wantEjected(t, "in the end", false, false, false, false)
	})
}
