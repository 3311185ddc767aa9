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

func TestNewErrors(t *testing.T) {
	p, q := newPool(t, "web", "a", "b"), newPool(t, "other", "c")
	s := &server{}
	_, err := New([]Watched{{Pool: p, Config: steady()}, {Pool: q, Config: steady()}, {Pool: p, Config: steady()}}, Options{
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
		m, err := New([]Watched{{Pool: p, Config: cfg}}, Options{
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
		m, err := New([]Watched{{Pool: p, Config: steady()}}, Options{
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
