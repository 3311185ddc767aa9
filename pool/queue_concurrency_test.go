package pool

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A crowd is many waiters of which some leave while others are served. Its counts say what became of each of them.
type crowd struct {
	t       *testing.T
	p       *Pool
	waiters []crowded
	calls   chan *crowded  // Granted was called; has room for every waiter
	all     sync.WaitGroup // counts the patient that are not served and the impatient that have not left
	held    []atomic.Int64 // by backend: slots that were handed out

	served, leftWithSlot atomic.Int64
}

type crowded struct {
	Waiter
	impatient bool         // leaves, at some time
	calls     atomic.Int32 // of Granted
	slots     atomic.Int32 // handed out to it
}

func newCrowd(t *testing.T, n int, limits ...int) *crowd {
	t.Helper()
	p, err := New(Config{Name: "test", Backends: limited(limits...), QueueMax: n})
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{t: t, p: p, waiters: make([]crowded, n), calls: make(chan *crowded, n),
		held: make([]atomic.Int64, len(limits))}
	c.all.Add(n)
	for i := range c.waiters {
		w := &c.waiters[i]
		w.impatient = i%2 == 1
		w.Client = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		w.Granted = func() {
			w.calls.Add(1)
			select {
			case c.calls <- w:
			default:
				t.Error("Granted was called more often than there are waiters")
			}
		}
	}
	return c
}

// arrive puts everybody into the queue, from several goroutines. All slots are taken.
func (c *crowd) arrive(goroutines int) {
	var arrivals sync.WaitGroup
	for g := range goroutines {
		arrivals.Go(func() {
			for i := g; i < len(c.waiters); i += goroutines {
				if b, waiting, err := c.p.ReserveOrWait(&c.waiters[i].Waiter); !waiting {
					c.t.Errorf("ReserveOrWait: %s, %v, want it to wait", nameOf(b), err)
				}
			}
		})
	}
	arrivals.Wait()
}

// use holds a slot that a waiter was handed, for a moment, and gives it back.
func (c *crowd) use(w *crowded, b *Backend) {
	w.slots.Add(1)
	limit := int64(b.Stats().MaxConns)
	if n := c.held[position(b)].Add(1); n > limit {
		c.t.Errorf("%s holds %d sessions, limit %d", b.Name(), n, limit)
	}
	runtime.Gosched()
	c.held[position(b)].Add(-1)
	b.Release()
}

// serve collects for whoever is granted a slot, until stop is closed.
func (c *crowd) serve(stop <-chan struct{}) {
	for {
		select {
		case w := <-c.calls:
			if b := c.p.Collect(&w.Waiter); b != nil {
				c.served.Add(1)
				c.use(w, b)
				if !w.impatient {
					c.all.Done()
				}
			}
		case <-stop:
			return
		}
	}
}

// depart lets the impatient ones leave, each once.
func (c *crowd) depart(goroutine, goroutines int) {
	for i := 2*goroutine + 1; i < len(c.waiters); i += 2 * goroutines {
		w := &c.waiters[i]
		if b := c.p.Leave(&w.Waiter); b != nil {
			c.leftWithSlot.Add(1)
			c.use(w, b)
		}
		c.all.Done()
		if i%16 == 1 {
			runtime.Gosched()
		}
	}
}

// settled waits until everybody is served or gone.
func (c *crowd) settled() {
	c.t.Helper()
	done := make(chan struct{})
	go func() {
		c.all.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		c.t.Fatalf("a slot was lost: %d wait, %d served, %d left with a slot",
			c.p.Waiting(), c.served.Load(), c.leftWithSlot.Load())
	}
}

// Ten thousand wait, half of them leave, from many goroutines, while slots are freed by others and a backend goes up
// and down. Every slot and every waiter is accounted for.
func TestHalfOfTheQueueLeaves(t *testing.T) {
	const n, servers, leavers = 10000, 4, 4
	c := newCrowd(t, n, 5, 7, 11)
	sequence(c.p, 5+7+11)
	c.arrive(4)
	if got := c.p.Waiting(); got != n {
		t.Fatalf("%d wait, want %d", got, n)
	}

	stop := make(chan struct{})
	var serving, leaving sync.WaitGroup
	for range servers {
		serving.Go(func() { c.serve(stop) })
	}
	for g := range leavers {
		leaving.Go(func() { c.depart(g, leavers) })
	}
	leaving.Go(func() {
		for b := c.p.Backends()[2]; c.p.Waiting() > n/10; {
			b.SetUp(!b.Stats().Up)
			runtime.Gosched()
		}
		c.p.Backends()[2].SetUp(true)
	})
	for i, taken := range []int{5, 7, 11} { // the slots that the crowd waits for
		for range taken {
			c.p.Backends()[i].Release()
		}
	}
	c.settled()
	leaving.Wait()
	close(stop)
	serving.Wait()
	c.check()
}

// check holds all counts together after everybody has been served or has left.
func (c *crowd) check() {
	var calls, slots int64
	for i := range c.waiters {
		w := &c.waiters[i]
		called, got := w.calls.Load(), w.slots.Load()
		calls, slots = calls+int64(called), slots+int64(got)
		if called > 1 || got != called || !w.impatient && got != 1 {
			c.t.Errorf("waiter %d: granted %d times, %d slots handed out, impatient %v", i, called, got, w.impatient)
		}
	}
	if sum := c.served.Load() + c.leftWithSlot.Load(); sum != slots || sum != calls {
		c.t.Errorf("%d slots were handed out, %d granted, %d used", sum, calls, slots)
	}
	if got := c.p.Waiting(); got != 0 {
		c.t.Errorf("%d wait in the end", got)
	}
	for _, b := range c.p.Backends() {
		if got := b.Stats().Active; got != 0 {
			c.t.Errorf("%s has %d active in the end", b.Name(), got)
		}
	}
	c.t.Logf("%d served, %d left with a slot, %d without", c.served.Load(), c.leftWithSlot.Load(),
		int64(len(c.waiters))-slots)
}

// A slot can be collected, on whatever goroutine, before Granted was heeded.
func TestCollectUntold(t *testing.T) {
	p := queuePool(t, LeastConn, limited(1))
	a := p.Backends()[0]
	reserve(p)
	w := &Waiter{Granted: func() {}}
	for range 1000 {
		if b, waiting, err := p.ReserveOrWait(w); !waiting {
			t.Fatalf("ReserveOrWait: %s, %v, want it to wait", nameOf(b), err)
		}
		go a.Release()
		for deadline := time.Now().Add(time.Minute); p.Collect(w) != a; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("the slot was not granted")
			}
		}
	}
	if n := a.Stats().Active; n != 1 {
		t.Errorf("%d active, want 1", n)
	}
}

// Sessions of several event loops come, wait, give up and end while states change under them: a slot that is freed
// between the look for one and the wait for it must not be missed, or the last to wait waits for ever.
func TestWaitConcurrently(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		const workers, sessions, limit = 8, 500, 1
		bs := weights(1, 2, 3)
		for i := range bs {
			bs[i].MaxConns = limit
		}
		p, err := New(Config{Name: "test", Balance: policy, Backends: bs, QueueMax: 5, SlowStart: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var changer, all sync.WaitGroup
		stop := make(chan struct{})
		changer.Go(func() { changeStates(p, stop) })
		held := make([]atomic.Int64, len(bs))
		for w := range workers {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(w), 1))
				for range sessions {
					b := waitedFor(t, p, rnd)
					if b == nil {
						continue
					}
					if n := held[position(b)].Add(1); n > limit {
						t.Errorf("%s holds %d sessions, limit %d", b.Name(), n, limit)
					}
					runtime.Gosched()
					held[position(b)].Add(-1)
					b.Release()
				}
			})
		}
		all.Wait()
		close(stop)
		changer.Wait()
		if n := p.Waiting(); n != 0 {
			t.Errorf("%d wait in the end", n)
		}
		for _, b := range p.Backends() {
			if n := b.Stats().Active; n != 0 {
				t.Errorf("%s has %d active in the end", b.Name(), n)
			}
		}
	})
}

// waitedFor returns a backend whose slot was taken or waited for; nil when there was none, or the session gave up.
func waitedFor(t *testing.T, p *Pool, rnd *rand.Rand) *Backend {
	granted := make(chan struct{}, 1)
	w := &Waiter{Granted: func() { granted <- struct{}{} }}
	b, waiting, err := p.ReserveOrWait(w)
	switch {
	case err != nil && !errors.Is(err, ErrQueueFull):
		t.Errorf("ReserveOrWait: %v, want ErrQueueFull or none", err)
	case waiting && rnd.IntN(4) == 0:
		return p.Leave(w)
	case waiting:
		select {
		case <-granted:
		case <-time.After(time.Minute):
			t.Error("nobody was granted a slot for a minute")
			return p.Leave(w)
		}
		if b = p.Leave(w); b == nil {
			t.Error("a slot was granted, but not handed out")
		}
	}
	return b
}
