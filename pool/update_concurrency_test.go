package pool

import (
	"errors"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A churn is a pool under sessions of several event loops, while backends come and go and states change.
type churn struct {
	t     *testing.T
	p     *Pool
	loops []*churnLoop

	// An even number of set means that this set is in force; an odd one that an update is under way.
	turn atomic.Uint64
	set  atomic.Pointer[[]*Backend]

	mu    sync.Mutex
	held  map[*Backend]int // from after a slot was taken to before it is released
	known map[*Backend]bool
}

// A churnLoop is one goroutine's sessions.
type churnLoop struct {
	*churn
	rnd      *rand.Rand
	slots    []*Backend
	waiting  []*churnWaiter // in the queue, or granted a slot that was not collected
	sessions int
}

type churnWaiter struct {
	Waiter
	calls atomic.Int32
}

// limitOf is how many sessions a backend may have, by its name: it never changes.
func limitOf(name string) int { return int(name[0]-'a')%3 + 1 }

// churnConfig returns a configuration of some of six names, each of which has one of two addresses.
func churnConfig(policy Policy, rnd *rand.Rand) Config {
	c := Config{Name: "test", Balance: policy, QueueMax: 20}
	for i := range 6 {
		if rnd.IntN(4) == 0 {
			continue
		}
		bc := randomBackend(i, rnd)
		bc.MaxConns, bc.Weight = limitOf(bc.Name), 1+rnd.IntN(2)
		c.Backends = append(c.Backends, bc)
	}
	return c
}

func newChurn(t *testing.T, policy Policy, loops int) *churn {
	p, err := New(churnConfig(policy, rand.New(rand.NewPCG(1, 1))))
	if err != nil {
		t.Fatal(err)
	}
	c := &churn{t: t, p: p, held: map[*Backend]int{}, known: map[*Backend]bool{}}
	c.note()
	for i := range loops {
		c.loops = append(c.loops, &churnLoop{churn: c, rnd: rand.New(rand.NewPCG(uint64(i), uint64(policy)))})
	}
	return c
}

// note remembers the set that is in force.
func (c *churn) note() {
	set := c.p.Backends()
	c.set.Store(&set)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range set {
		c.known[b] = true
	}
}

// update replaces the set, or is about to.
func (c *churn) update(policy Policy, rnd *rand.Rand) {
	u, err := c.p.Prepare(churnConfig(policy, rnd))
	if err != nil {
		c.t.Error(err)
		return
	}
	if runtime.Gosched(); rnd.IntN(3) == 0 {
		u.Abandon()
		return
	}
	c.turn.Add(1)
	for _, b := range u.Commit().Removed {
		if b.Usable() {
			c.t.Errorf("%s was removed, and is usable", b.Name())
		}
	}
	c.note()
	c.turn.Add(1)
}

// change changes a state of some backend, which may have been removed.
func (c *churn) change(rnd *rand.Rand) {
	all := c.p.All()
	if len(all) == 0 {
		return
	}
	switch b := all[rnd.IntN(len(all))]; rnd.IntN(6) {
	case 0, 1:
		b.SetUp(rnd.IntN(4) > 0)
	case 2:
		b.SetEjected(rnd.IntN(4) == 0)
	case 3:
		b.SetAdmin(AdminState(rnd.IntN(6) / 3))
	case 4:
		b.SetBackup(rnd.IntN(3) == 0)
	case 5:
		_ = b.SetWeight(rnd.IntN(3))
	}
}

// took notes that a session has a slot.
func (l *churnLoop) took(b *Backend) {
	l.mu.Lock()
	l.held[b]++
	n := l.held[b]
	l.mu.Unlock()
	if limit := limitOf(b.Name()); n > limit {
		l.t.Errorf("%s has %d sessions, limit %d", b.Name(), n, limit)
	}
	b.Dialed(DialOK)
	l.slots = append(l.slots, b)
	l.sessions++
}

// reserve takes a slot. If there was one set during all of that, it is of that set.
func (l *churnLoop) reserve() {
	turn, set := l.turn.Load(), *l.set.Load()
	b, err := l.p.Reserve(noClient, l.tried())
	if err != nil {
		if !errors.Is(err, ErrFull) && !errors.Is(err, ErrNoBackend) {
			l.t.Errorf("Reserve: %v", err)
		}
		return
	}
	if turn%2 == 0 && l.turn.Load() == turn && !slices.Contains(set, b) {
		l.t.Errorf("%s was picked, which had been removed", b.Name())
	}
	l.took(b)
}

// tried is no backend, or one that was of the set a moment ago.
func (l *churnLoop) tried() []*Backend {
	if set := *l.set.Load(); len(set) > 0 && l.rnd.IntN(3) == 0 {
		return []*Backend{set[l.rnd.IntN(len(set))]}
	}
	return nil
}

func (l *churnLoop) wait() {
	w := &churnWaiter{Waiter: Waiter{Tried: l.tried()}}
	w.Granted = func() { // the pool's mutex is held
		if w.granted.removed {
			l.t.Errorf("%s was granted, which had been removed", w.granted.Name())
		}
		w.calls.Add(1)
	}
	b, waiting, err := l.p.ReserveOrWait(&w.Waiter)
	switch {
	case waiting:
		l.waiting = append(l.waiting, w)
	case b != nil:
		l.took(b)
	case !errors.Is(err, ErrQueueFull):
		l.t.Errorf("ReserveOrWait: %v", err)
	}
}

// collect takes what was granted to a waiter, or lets it leave.
func (l *churnLoop) collect(i int, leave bool) {
	w := l.waiting[i]
	b := l.p.Collect(&w.Waiter)
	if leave && b == nil {
		b = l.p.Leave(&w.Waiter)
	}
	calls := w.calls.Load()
	if b != nil {
		l.took(b)
	}
	if b != nil || leave {
		if (b != nil) != (calls == 1) || calls > 1 {
			l.t.Errorf("a waiter was told %d times of a slot, and had %s", calls, nameOf(b))
		}
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

func (l *churnLoop) release(i int) {
	b := l.slots[i]
	l.slots = slices.Delete(l.slots, i, i+1)
	l.mu.Lock()
	l.held[b]--
	l.mu.Unlock()
	b.Release()
}

// run does so many things.
func (l *churnLoop) run(steps int) {
	for range steps {
		switch n := l.rnd.IntN(8); {
		case n < 2:
			l.reserve()
		case n < 4:
			l.wait()
		case n == 4 && len(l.waiting) > 0:
			l.collect(l.rnd.IntN(len(l.waiting)), l.rnd.IntN(3) == 0)
		case n == 5 && len(l.waiting) > 0:
			l.p.Forgive(&l.waiting[l.rnd.IntN(len(l.waiting))].Waiter)
		case n == 6:
			l.look()
		case len(l.slots) > 0:
			l.release(l.rnd.IntN(len(l.slots)))
		}
		runtime.Gosched()
	}
}

// look reads what anybody may at any time.
func (l *churnLoop) look() {
	for _, b := range l.p.Backends() {
		if s := b.Stats(); s.Active > limitOf(s.Name) {
			l.t.Errorf("%s has %d active, limit %d", s.Name, s.Active, limitOf(s.Name))
		}
		l.p.HasOther(b, nil)
	}
	l.p.MayHaveOther(nil, nil)
	l.p.Lookup("c")
	l.p.Usable()
}

// settled holds everything together while nothing happens: each backend has as many active as are held or granted, the
// pool knows those of its set and those with sessions, and nobody waits who could be served.
func (c *churn) settled() {
	c.t.Helper()
	active, queued := maps.Clone(c.held), 0
	for _, l := range c.loops {
		for _, w := range l.waiting {
			if w.granted != nil {
				active[w.granted]++
				continue
			}
			queued++
			if c.p.HasOther(nil, w.Tried) || w.calls.Load() > 0 {
				c.t.Errorf("one waits who could be served, or was told %d times that it is", w.calls.Load())
			}
		}
	}
	if n := c.p.Waiting(); n != queued {
		c.t.Errorf("%d wait, want %d", n, queued)
	}
	all := c.p.All()
	if set := c.p.Backends(); !slices.Equal(set, *c.set.Load()) || !slices.Equal(set, all[:len(set)]) {
		c.t.Error("the pool has another set than that of the last update")
	}
	for b := range c.known {
		if got := b.Stats(); got.Active != active[b] || got.Connects < uint64(c.held[b]) {
			c.t.Errorf("%s has %d active of %d connects, %d are held", b.Name(), got.Active, got.Connects, active[b])
		}
		if in := slices.Contains(all, b); in != (active[b] > 0 || slices.Contains(*c.set.Load(), b)) {
			c.t.Errorf("%s has %d active, the pool knows it: %v", b.Name(), active[b], in)
		}
	}
}

// end lets all sessions end and all who wait leave.
func (c *churn) end() {
	for _, l := range c.loops {
		for len(l.waiting) > 0 {
			l.collect(0, true)
		}
		for len(l.slots) > 0 {
			l.release(0)
		}
	}
}

// Sessions come, wait, give up and end on several goroutines while the set of backends and their states change.
func TestUpdateConcurrently(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		c := newChurn(t, policy, 4)
		var all sync.WaitGroup
		for round := range 12 {
			var stop atomic.Bool
			var loops sync.WaitGroup
			for _, l := range c.loops {
				loops.Go(func() { l.run(1000) })
			}
			updates := 0
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(round), 1))
				for ; !stop.Load() || updates == 0; updates++ {
					c.update(policy, rnd)
					runtime.Gosched()
				}
			})
			all.Go(func() {
				for rnd := rand.New(rand.NewPCG(uint64(round), 2)); !stop.Load(); runtime.Gosched() {
					c.change(rnd)
				}
			})
			loops.Wait()
			stop.Store(true)
			all.Wait()
			c.settled()
		}
		sessions := 0
		for _, l := range c.loops {
			sessions += l.sessions
		}
		c.end()
		c.settled()
		if len(c.p.All()) != len(c.p.Backends()) {
			t.Error("a backend without sessions was not forgotten")
		}
		if sessions < 50 || len(c.known) < 20 {
			t.Errorf("%d sessions at %d backends prove nothing", sessions, len(c.known))
		}
		t.Logf("%d sessions, %d backends in all", sessions, len(c.known))
	})
}
