package health

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/pool"
)

var errDead = errors.New("nobody home")

// fakeChecker answers at once with what it was told to, and records when it was asked.
type fakeChecker struct {
	mu    sync.Mutex
	dead  map[string]bool
	cause error // of the dead; nil: errDead
	hang  bool  // wait for the timeout
	asked map[string][]time.Time
}

func newFakeChecker(dead ...string) *fakeChecker {
	c := &fakeChecker{dead: map[string]bool{}, asked: map[string][]time.Time{}}
	for _, name := range dead {
		c.dead[name] = true
	}
	return c
}

func (c *fakeChecker) Check(ctx context.Context, b *pool.Backend) error {
	c.mu.Lock()
	c.asked[b.Name()] = append(c.asked[b.Name()], time.Now())
	dead, hang, cause := c.dead[b.Name()], c.hang, c.cause
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if dead {
		return cmp.Or(cause, errDead)
	}
	return nil
}

func (c *fakeChecker) set(name string, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead[name] = dead
}

func (c *fakeChecker) times(name string) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.asked[name]...)
}

func newPool(t *testing.T, names ...string) *pool.Pool {
	t.Helper()
	c := pool.Config{Name: "web", Balance: pool.RoundRobin}
	for i, name := range names {
		a := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(10000+i))
		c.Backends = append(c.Backends, pool.BackendConfig{Name: name, Address: pool.Address{TCP: a}, Weight: 1})
	}
	p, err := pool.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rig is a monitor at work, in a bubble of testing/synctest.
type rig struct {
	*Monitor
	pool  *pool.Pool
	fake  *fakeChecker
	log   *logBuffer
	start time.Time
	stop  func() // ends Run and waits for it
}

func inBubble(t *testing.T, names []string, cfg Config, fake *fakeChecker, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{pool: newPool(t, names...), fake: fake, log: new(logBuffer), start: time.Now()}
		r.Monitor = New(r.pool, cfg, Options{Logger: testLogger(r.log), Checker: fake})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Run(ctx)
		}()
		r.stop = func() { cancel(); <-done }
		defer r.stop()
		synctest.Wait()
		f(t, r)
	})
}

// testLogger writes lines like "WARN backend down pool=web backend=a reason=...".
func testLogger(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// after lets the bubble's clock run.
func after(d time.Duration) {
	time.Sleep(d) // the fake clock of testing/synctest: takes no time, and is no race
	synctest.Wait()
}

// logBuffer holds log lines.
type logBuffer struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// logged returns the log so far and empties it.
func (r *rig) logged() string {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	defer r.log.lines.Reset()
	return strings.TrimSpace(r.log.lines.String())
}

func (r *rig) wantUp(t *testing.T, when string, want ...bool) {
	t.Helper()
	for i, b := range r.pool.Backends() {
		if s := b.Stats(); s.Up != want[i] || r.Status(b).Up != want[i] {
			t.Errorf("%s: %s up %v, status %v, want %v", when, b.Name(), s.Up, r.Status(b).Up, want[i])
		}
	}
}

// steady has no jitter, so that a test knows when what happens.
func steady() Config {
	c := DefaultConfig()
	c.Jitter = 0
	return c
}

func TestFirstCheckIsPromptAndDecidesAlone(t *testing.T) {
	inBubble(t, []string{"a", "b"}, steady(), newFakeChecker("b"), func(t *testing.T, r *rig) {
		after(firstWithin)
		r.wantUp(t, "after the first check", true, false)
		for _, name := range []string{"a", "b"} {
			if n := len(r.fake.times(name)); n != 1 {
				t.Errorf("%s was checked %d times within %v, want once", name, n, firstWithin)
			}
		}
		want := `level=WARN msg="backend down" pool=web backend=b reason="nobody home" failures=1`
		if got := r.logged(); got != want {
			t.Errorf("log %q, want %q", got, want)
		}
	})
}

func TestFirstCheckWithinAShortInterval(t *testing.T) {
	cfg := steady()
	cfg.Interval = 10 * time.Millisecond
	inBubble(t, []string{"a"}, cfg, newFakeChecker("a"), func(t *testing.T, r *rig) {
		after(cfg.Interval)
		r.wantUp(t, "after one interval", false)
	})
}

func TestFallAndRise(t *testing.T) {
	inBubble(t, []string{"a"}, steady(), newFakeChecker(), func(t *testing.T, r *rig) {
		after(time.Second) // the checks are at most 200 ms after each even second
		r.fake.set("a", true)
		after(4 * time.Second)
		r.wantUp(t, "after 2 failures of 3", true)
		if got := r.logged(); got != "" {
			t.Errorf("log %q before a transition", got)
		}
		after(2 * time.Second)
		r.wantUp(t, "after 3 failures", false)
		after(10 * time.Second)
		want := `level=WARN msg="backend down" pool=web backend=a reason="nobody home" failures=3`
		if got := r.logged(); got != want {
			t.Errorf("log %q, want one line %q", got, want)
		}
		r.fake.set("a", false)
		after(2 * time.Second)
		r.wantUp(t, "after 1 success of 2", false)
		after(2 * time.Second)
		r.wantUp(t, "after 2 successes", true)
		if got, want := r.logged(), `level=INFO msg="backend up" pool=web backend=a successes=2`; got != want {
			t.Errorf("log %q, want %q", got, want)
		}
	})
}

// A balancer that is out of descriptors or ports learns nothing about its backends.
func TestLocalShortageIsNoEvidence(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		fake := newFakeChecker("a")
		fake.cause = fmt.Errorf("dial: %w", os.NewSyscallError("socket", errno))
		inBubble(t, []string{"a"}, DefaultConfig(), fake, func(t *testing.T, r *rig) {
			time.Sleep(time.Minute) // of the bubble's own time
			synctest.Wait()
			if len(fake.times("a")) < 10 || !r.pool.Backends()[0].Usable() {
				t.Errorf("%v: after %d checks usable is %v, want true", errno, len(fake.times("a")), r.pool.Backends()[0].Usable())
			}
		})
	}
}

func TestIntervalIsFromStartToStart(t *testing.T) {
	cfg := steady()
	fake := newFakeChecker()
	fake.hang = true // each check takes the whole timeout of 1 s
	inBubble(t, []string{"a"}, cfg, fake, func(t *testing.T, r *rig) {
		after(20 * time.Second)
		times := r.fake.times("a")
		if len(times) < 9 {
			t.Fatalf("%d checks in 20 s, want 10", len(times))
		}
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d != cfg.Interval {
				t.Errorf("check %d came %v after the one before, want %v", i, d, cfg.Interval)
			}
		}
	})
}

func TestTimeout(t *testing.T) {
	cfg := steady()
	cfg.Timeout = 300 * time.Millisecond
	fake := newFakeChecker()
	fake.hang = true
	inBubble(t, []string{"a"}, cfg, fake, func(t *testing.T, r *rig) {
		after(firstWithin + cfg.Timeout)
		r.wantUp(t, "after the timeout", false)
		s := r.Status(r.pool.Backends()[0])
		if s.Took != cfg.Timeout || s.Error != context.DeadlineExceeded.Error() {
			t.Errorf("took %v, error %q, want %v and the deadline", s.Took, s.Error, cfg.Timeout)
		}
	})
}

func TestChecksAreJittered(t *testing.T) {
	cfg := DefaultConfig()
	inBubble(t, []string{"a", "b", "c"}, cfg, newFakeChecker(), func(t *testing.T, r *rig) {
		after(10 * time.Minute)
		low, high := time.Hour, time.Duration(0)
		first := map[time.Time]bool{}
		for _, name := range []string{"a", "b", "c"} {
			times := r.fake.times(name)
			first[times[0]] = true
			for i := 1; i < len(times); i++ {
				d := times[i].Sub(times[i-1])
				low, high = min(low, d), max(high, d)
			}
		}
		if low < 1600*time.Millisecond || high > 2400*time.Millisecond {
			t.Errorf("intervals from %v to %v, want within 1.6 s and 2.4 s", low, high)
		}
		if low > 1650*time.Millisecond || high < 2350*time.Millisecond {
			t.Errorf("intervals from %v to %v, want them to fill 1.6 s to 2.4 s", low, high)
		}
		if len(first) != 3 {
			t.Errorf("first checks at %d different times, want 3", len(first))
		}
	})
}

func TestMaintIsNotChecked(t *testing.T) {
	inBubble(t, []string{"a"}, steady(), newFakeChecker(), func(t *testing.T, r *rig) {
		b := r.pool.Backends()[0]
		after(time.Second)
		b.SetAdmin(pool.Maint)
		r.fake.set("a", true)
		after(time.Minute)
		if n := len(r.fake.times("a")); n != 1 {
			t.Errorf("checked %d times, want only the one before maintenance", n)
		}
		b.SetAdmin(pool.Ready)
		after(2 * time.Second)
		r.wantUp(t, "after the first check since maintenance", false)
	})
}

func TestDrainIsChecked(t *testing.T) {
	inBubble(t, []string{"a"}, steady(), newFakeChecker("a"), func(t *testing.T, r *rig) {
		r.pool.Backends()[0].SetAdmin(pool.Drain)
		after(firstWithin)
		r.wantUp(t, "after the first check", false)
	})
}

func TestOff(t *testing.T) {
	cfg := steady()
	cfg.Type = KindOff
	synctest.Test(t, func(t *testing.T) {
		p, fake := newPool(t, "a"), newFakeChecker("a")
		p.Backends()[0].SetUp(false)
		m := New(p, cfg, Options{Checker: fake})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m.Run(ctx)
		if n := len(fake.times("a")); n != 0 || p.Usable() != 1 {
			t.Errorf("checked %d times, %d usable, want 0 and 1", n, p.Usable())
		}
	})
}

func TestOnProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		p := newPool(t, "a", "b")
		m := New(p, steady(), Options{
			Checker: newFakeChecker("b"),
			OnProbe: func(b *pool.Backend, took time.Duration, err error) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprint(b.Name(), " ", took, " ", err))
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m.Run(ctx)
		want := map[string]bool{"a 0s <nil>": true, "b 0s nobody home": true}
		if len(got) != 2 || !want[got[0]] || !want[got[1]] || got[0] == got[1] {
			t.Errorf("probes %q, want %v", got, want)
		}
	})
}

func TestStopIsPrompt(t *testing.T) {
	fake := newFakeChecker()
	fake.hang = true
	cfg := steady()
	cfg.Timeout = time.Hour
	inBubble(t, []string{"a"}, cfg, fake, func(t *testing.T, r *rig) {
		after(time.Second) // a check is under way
		before := time.Now()
		r.stop()
		if d := time.Since(before); d != 0 {
			t.Errorf("Run returned %v after its context was done", d)
		}
		r.wantUp(t, "after a check that was cut short", true)
	})
}

func TestStatus(t *testing.T) {
	inBubble(t, []string{"a"}, steady(), newFakeChecker(), func(t *testing.T, r *rig) {
		b := r.pool.Backends()[0]
		if s := r.Status(b); s != (Status{Up: true, Since: r.start}) {
			t.Errorf("before the first check: %+v", s)
		}
		after(5 * time.Second) // 3 checks
		times := r.fake.times("a")
		want := Status{Up: true, Since: r.start, Successes: 3, LastProbe: times[2]}
		if s := r.Status(b); s != want {
			t.Errorf("after 3 checks: %+v, want %+v", s, want)
		}
		r.fake.set("a", true)
		after(8 * time.Second) // 4 checks
		times = r.fake.times("a")
		want = Status{Since: times[5], Failures: 4, LastProbe: times[6], Error: "nobody home"}
		if s := r.Status(b); s != want {
			t.Errorf("after 4 failures: %+v, want %+v", s, want)
		}
		if s := r.Status(newPool(t, "a").Backends()[0]); s != (Status{}) {
			t.Errorf("of another pool's backend: %+v", s)
		}
	})
}
