package pool

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// slowStart is a hundred seconds in these tests, so that the share grows by about one percent a second.
const slowStart = 100 * time.Second

func slowPool(t *testing.T, policy Policy, backends []BackendConfig) *Pool {
	t.Helper()
	p, err := New(Config{Name: "test", Balance: policy, Backends: backends, QueueMax: 10, SlowStart: slowStart})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// comeBack takes a backend out and in, so that its slow start begins now.
func comeBack(bs ...*Backend) {
	for _, b := range bs {
		b.SetUp(false)
	}
	for _, b := range bs {
		b.SetUp(true)
	}
}

// bubble runs f where the clock is virtual, for every policy of those given.
func bubble(t *testing.T, policies []Policy, f func(t *testing.T, policy Policy)) {
	for _, policy := range policies {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, policy) })
		})
	}
}

// picks counts how many of n sessions each backend is given. Each ends before the next begins.
func picks(t *testing.T, p *Pool, n int) []int {
	t.Helper()
	got := make([]int, len(p.Backends()))
	for range n {
		b, err := p.Reserve(noClient, nil)
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
		got[position(b)]++
	}
	return got
}

// near reports whether got is want, give or take some.
func near(got, want, tolerance int) bool {
	return got >= want-tolerance && got <= want+tolerance
}

func TestShareGrowsByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := slowPool(t, LeastConn, weights(1, 1)).Backends()[0]
		began := time.Now()
		f := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(time.Until(began.Add(after)))
			if got := a.Stats().Share; got != want {
				t.Errorf("after %v the share is %d %%, want %d %%", after, got, want)
			}
		}
		f(0, 100) // a new backend has not come back
		a.SetUp(true)
		a.SetEjected(false)
		f(time.Second, 100)

		comeBack(a)
		began = time.Now()
		f(0, 1)
		f(25*time.Second, 25)
		f(50*time.Second, 50)
		a.SetAdmin(Ready) // changes nothing
		_ = a.SetWeight(7)
		a.SetBackup(true)
		f(75*time.Second, 75)
		f(slowStart-time.Millisecond, 99)
		f(slowStart, 100)
		f(2*slowStart, 100)

		comeBack(a)
		began = time.Now()
		f(50*time.Second, 50)
		comeBack(a) // half way: again from the start
		began = time.Now()
		f(0, 1)
		f(50*time.Second, 50)
		a.SetUp(false)
		f(60*time.Second, 100) // who is out does not ramp
		if n := len(a.pool.ramping); n != 0 {
			t.Errorf("%d backends still ramp: every pick would read the clock", n)
		}
	})
}

func TestRampEndsWithoutStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := slowPool(t, RoundRobin, weights(1, 1, 1))
		comeBack(p.Backends()[0])
		time.Sleep(slowStart / 2)
		comeBack(p.Backends()[1])
		f := func(want int) {
			t.Helper()
			reserve(p)
			if got := len(p.ramping); got != want {
				t.Errorf("%d backends ramp, want %d", got, want)
			}
		}
		f(2)
		time.Sleep(slowStart / 2)
		f(1)
		time.Sleep(slowStart / 2)
		f(0)
	})
}

func TestWhatStartsSlowly(t *testing.T) {
	f := func(name string, slowStart time.Duration, config func(*BackendConfig), change func(*Backend), want int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c := Config{Name: "test", Backends: weights(1, 1), SlowStart: slowStart}
			if config != nil {
				config(&c.Backends[0])
			}
			p, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			change(p.Backends()[0])
			if got := p.Backends()[0].Stats().Share; got != want {
				t.Errorf("%s: the share is %d %%, want %d %%", name, got, want)
			}
			if got := p.Backends()[1].Stats().Share; got != 100 {
				t.Errorf("%s: the share of the other one is %d %%", name, got)
			}
		})
	}
	f("up", time.Minute, nil, func(b *Backend) { b.SetUp(false); b.SetUp(true) }, 1)
	f("up, no slow start", 0, nil, func(b *Backend) { b.SetUp(false); b.SetUp(true) }, 100)
	f("ejection ends", time.Minute, nil, func(b *Backend) { b.SetEjected(true); b.SetEjected(false) }, 1)
	f("drained and ready", time.Minute, nil, func(b *Backend) { b.SetAdmin(Drain); b.SetAdmin(Ready) }, 1)
	f("weight from 0", time.Minute, nil, func(b *Backend) { _ = b.SetWeight(0); _ = b.SetWeight(1) }, 1)
	f("up but ejected", time.Minute, nil, func(b *Backend) { b.SetEjected(true); comeBack(b) }, 100)
	f("configured in drain, then ready", time.Minute,
		func(c *BackendConfig) { c.State = Drain }, func(b *Backend) { b.SetAdmin(Ready) }, 1)
	f("another tier", time.Minute,
		func(c *BackendConfig) { c.Backup = true }, func(b *Backend) { b.SetBackup(false) }, 100)
	f("another weight", time.Minute, nil, func(b *Backend) { _ = b.SetWeight(5) }, 100)
}

// Sessions that end at once are shared out by weight × share.
func TestIdleSharesDuringSlowStart(t *testing.T) {
	bubble(t, []Policy{LeastConn, RoundRobin, Random}, func(t *testing.T, policy Policy) {
		p := slowPool(t, policy, weights(2, 1, 1))
		a := p.Backends()[0]
		comeBack(a)
		began := time.Now()
		f := func(after time.Duration, n, want int) {
			t.Helper()
			time.Sleep(time.Until(began.Add(after)))
			tolerance := 3 // turns are exact, but for old credit
			if policy == Random {
				tolerance = n / 30 // beyond 6 standard deviations
			}
			got := picks(t, p, n)
			if !near(got[0], want, tolerance) || !near(got[1], (n-want)/2, tolerance) {
				t.Errorf("after %v picked %v, want %d of the first", after, got, want)
			}
		}
		f(0, 20200, 200)                // 2 × 1 % of 2.02
		f(25*time.Second, 20000, 4000)  // 0.5 of 2.5
		f(50*time.Second, 20000, 6667)  // 1 of 3
		f(100*time.Second, 20000, 1e4)  // 2 of 4
		f(1000*time.Second, 20000, 1e4) // nothing is left of it
	})
}

// Sessions that stay are shared out so that each backend has its part of them by weight × share.
func TestLoadDuringSlowStart(t *testing.T) {
	bubble(t, []Policy{LeastConn, Random}, func(t *testing.T, policy Policy) {
		p := slowPool(t, policy, weights(1, 1, 1))
		a := p.Backends()[0]
		a.SetUp(false)
		sequence(p, 2000)
		a.SetUp(true)
		began := time.Now()
		f := func(after time.Duration, sessions, want, tolerance int) {
			t.Helper()
			time.Sleep(time.Until(began.Add(after)))
			sequence(p, sessions)
			if got := a.Stats().Active; !near(got, want, tolerance) {
				t.Errorf("%v after it came back it has %d sessions, want %d", after, got, want)
			}
		}
		if policy == LeastConn {
			// Without slow start it would be given the first thousand, all of them.
			f(0, 100, 10, 1)               // 1 % of what the others have
			f(10*time.Second, 900, 143, 2) // 10 % likewise: 143 + 2 × 1428
		}
		f(90*time.Second, 1e4-p.active(), 3103, 30) // 90 % likewise: 0.9 / 2.9 of 10,000
	})
}

// active returns how many slots are taken in all.
func (p *Pool) active() int {
	n := 0
	for _, b := range p.Backends() {
		n += b.Stats().Active
	}
	return n
}

// In slow start a client of source_hash is where it was while its backend was away, or at home; once at home it stays.
func TestSourceHashMovesEachClientOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20000
		p := slowPool(t, SourceHash, weights(1, 2, 1, 1))
		b := p.Lookup("b")
		cs := clients(n)
		home := placed(t, p, cs)
		b.SetUp(false)
		away := placed(t, p, cs)
		own, _ := moved(home, away, "b")
		b.SetUp(true)
		began, before := time.Now(), away
		f := func(after time.Duration, want, tolerance float64) {
			t.Helper()
			time.Sleep(time.Until(began.Add(after)))
			now := placed(t, p, cs)
			if !slices.Equal(now, placed(t, p, cs)) {
				t.Errorf("after %v clients move though no time passes", after)
			}
			back := 0
			for i := range cs {
				switch {
				case now[i] == home[i] && now[i] != away[i]:
					back++
				case now[i] != away[i]:
					t.Fatalf("after %v client %v is at %s, neither at home %s nor at its stand-in %s",
						after, cs[i], now[i], home[i], away[i])
				case before[i] == home[i] && home[i] != away[i]:
					t.Fatalf("after %v client %v has left home again", after, cs[i])
				}
			}
			if got := float64(back) / float64(own); math.Abs(got-want) > tolerance {
				t.Errorf("after %v %.3f of its clients are back, want %.2f", after, got, want)
			}
			before = now
		}
		f(0, 0.01, 0.005)
		f(10*time.Second, 0.10, 0.02)
		f(25*time.Second, 0.25, 0.02)
		f(50*time.Second, 0.50, 0.02)
		f(90*time.Second, 0.90, 0.02)
		f(slowStart, 1, 0)
		if !slices.Equal(before, home) {
			t.Error("not all are at home in the end")
		}
	})
}

// After an outage of the whole pool nobody is whole, and there is no reason to go anywhere but home.
func TestAllRampSideBySide(t *testing.T) {
	bubble(t, []Policy{LeastConn, RoundRobin, Random, SourceHash}, func(t *testing.T, policy Policy) {
		p := slowPool(t, policy, weights(1, 3, 1, 1))
		cs := clients(2000)
		home := placed(t, p, cs)
		comeBack(p.Backends()...)
		for range 3 {
			if policy == SourceHash && !slices.Equal(placed(t, p, cs), home) {
				t.Error("clients are not at home")
			}
			if got := picks(t, p, 1200); policy != SourceHash && !near(got[1], 600, 120) {
				t.Errorf("picked %v, want half of the second: all weights count alike", got)
			}
			time.Sleep(slowStart / 3)
		}
	})
}

func TestRampingAloneTakesEverything(t *testing.T) {
	all := []Policy{LeastConn, RoundRobin, Random, SourceHash, First}
	bubble(t, all, func(t *testing.T, policy Policy) {
		f := func(what string, limits []int, others func(*Backend), tried bool) {
			t.Helper()
			bs := limited(limits...)
			p := slowPool(t, policy, bs)
			var avoid []*Backend
			for _, b := range p.Backends()[1:] {
				if others != nil {
					others(b)
				}
				if tried {
					avoid = append(avoid, b)
				}
			}
			comeBack(p.Backends()[0])
			for i, c := range clients(200) {
				b, err := p.Reserve(c, avoid)
				if err != nil || b != p.Backends()[0] {
					t.Fatalf("%s: session %d: %s, %v, want a", what, i, nameOf(b), err)
				}
			}
		}
		f("the only backend", []int{0}, nil, false)
		f("the others are down", []int{0, 0, 0}, func(b *Backend) { b.SetUp(false) }, false)
		f("the others are backups", []int{0, 0, 0}, func(b *Backend) { b.SetBackup(true) }, false)
		f("the others are full", []int{0, 1, 1}, take, false)
		f("the others have failed", []int{0, 0, 0}, nil, true)
	})
}

func TestFirstIgnoresSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs := limited(2, 0)
		p := slowPool(t, First, bs)
		comeBack(p.Backends()[0])
		if got := sequence(p, 3); got != "a a b" {
			t.Errorf("got %s, want a a b", got)
		}
	})
}

// Slow start keeps nobody waiting.
func TestWaitersGoToTheRamping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := slowPool(t, LeastConn, limited(2, 1))
		a := p.Backends()[0]
		a.SetUp(false)
		sequence(p, 1)
		l := newLine(t, p)
		for _, name := range []string{"1", "2", "3"} {
			l.wait(name)
		}
		a.SetUp(true)
		l.order("back", "1 2", 1)
	})
}

func TestRampDoesNotAllocate(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p, err := New(Config{Name: "test", Balance: policy, Backends: weights(1, 2, 3), SlowStart: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		comeBack(p.Backends()...)
		client := netip.MustParseAddr("192.0.2.7")
		if n := testing.AllocsPerRun(1000, func() {
			comeBack(p.Backends()[:2]...)
			b, err := p.Reserve(client, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		}); n != 0 {
			t.Errorf("slow start allocates %v times", n)
		}
	})
}

func BenchmarkReserveWhileOneRamps(b *testing.B) {
	for _, word := range Policies() {
		var policy Policy
		if err := policy.UnmarshalText([]byte(word)); err != nil {
			b.Fatal(err)
		}
		b.Run(word, func(b *testing.B) {
			p, err := New(Config{Name: "test", Balance: policy, Backends: weights(1, 1, 1), SlowStart: time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			comeBack(p.Backends()[0])
			b.ReportAllocs()
			for b.Loop() {
				backend, err := p.Reserve(noClient, nil)
				if err != nil {
					b.Fatal(err)
				}
				backend.Release()
			}
		})
	}
}
