package rebalance

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
)

// A play is a pool with sessions of which there is nothing but a number, a backend and the time since which they are idle.
type play struct {
	t      *testing.T
	pool   *pool.Pool
	open   map[uint64]held
	lastID uint64
	leave  bool // those that are closed do not come back
	busy   bool // nothing is idle
	closed []closing
}

type held struct {
	backend *pool.Backend
	since   time.Time
}

type closing struct {
	id   uint64
	from string
	at   time.Duration // since the play began
}

func newPlay(t *testing.T, config pool.Config) *play {
	t.Helper()
	config.Name, config.Shards = "p", 1
	p, err := pool.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return &play{t: t, pool: p, open: make(map[uint64]held)}
}

func backends(names ...string) (all []pool.BackendConfig) {
	for _, name := range names {
		all = append(all, pool.BackendConfig{Name: name, Weight: 1, Address: pool.Address{Unix: "/run/" + name}})
	}
	return all
}

// begin opens sessions where the pool wants them.
func (p *play) begin(n int) {
	p.t.Helper()
	for range n {
		b, err := p.pool.Reserve(netip.Addr{}, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		p.lastID++
		p.open[p.lastID] = held{b, time.Now()}
	}
}

func (p *play) LongestIdle(_ context.Context, b *pool.Backend, idle time.Duration, n int) (refs []l4.SessionRef, _ error) {
	for id := range p.open {
		if p.isIdle(id, b, idle) {
			refs = append(refs, l4.SessionRef{ID: id})
		}
	}
	slices.SortFunc(refs, func(a, b l4.SessionRef) int {
		return cmp.Or(p.open[a.ID].since.Compare(p.open[b.ID].since), cmp.Compare(a.ID, b.ID))
	})
	return refs[:min(n, len(refs))], nil
}

func (p *play) isIdle(id uint64, b *pool.Backend, idle time.Duration) bool {
	s, ok := p.open[id]
	return ok && s.backend == b && !p.busy && time.Since(s.since) >= idle
}

// EndIdle lets the client come back at once.
func (p *play) EndIdle(ref l4.SessionRef, b *pool.Backend, idle time.Duration) bool {
	if !p.isIdle(ref.ID, b, idle) {
		return false
	}
	delete(p.open, ref.ID)
	b.Release()
	p.closed = append(p.closed, closing{ref.ID, b.Name(), 0})
	if !p.leave {
		p.begin(1)
	}
	return true
}

// run lets a watch follow the pool for a time, as the program does.
func (p *play) run(w *Watch, config configs.Rebalance, d time.Duration) {
	begin := time.Now()
	for end := begin.Add(d); time.Now().Before(end); {
		before := len(p.closed)
		next := w.Step(context.Background(), config, time.Now())
		for i := range p.closed[before:] {
			p.closed[before+i].at = time.Since(begin)
		}
		if !next.After(time.Now()) {
			p.t.Fatal("something is due all the time")
		}
		time.Sleep(time.Until(next))
	}
}

func (p *play) watch() *Watch { return NewWatch(p.pool, p, slog.New(slog.DiscardHandler)) }

func (p *play) active() (all []int) {
	for _, b := range p.pool.Backends() {
		all = append(all, b.Stats().Active)
	}
	return all
}

var someRate = configs.Rebalance{Skew: 0.1, Rate: 5, Idle: 30 * time.Second}

// A backend that has come back gets its share at the rate, evenly spread; the longest idle go first, and then it is over.
func TestRebalanceAfterReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, pool.Config{Backends: backends("a", "b", "c")})
		c := p.pool.Backends()[2]
		c.SetUp(false)
		for range 90 {
			p.begin(1)
			time.Sleep(time.Second)
		}
		w := p.watch()
		p.run(w, someRate, time.Minute)
		if len(p.closed) > 0 {
			t.Fatalf("closed before it has come back: %v", p.closed)
		}
		c.SetUp(true)
		p.run(w, someRate, 10*time.Second)
		if got := p.active(); !slices.Equal(got, []int{30, 30, 30}) || len(p.closed) != 30 {
			t.Errorf("%v, %d were closed; want 30 each", got, len(p.closed))
		}
		for i := 1; i < len(p.closed); i++ {
			if apart := p.closed[i].at - p.closed[i-1].at; apart != time.Second/5 {
				t.Errorf("closed %v after the one before, want 200ms", apart)
			}
			if p.closed[i].id > 40 {
				t.Errorf("session %d was closed, and others have been idle for longer", p.closed[i].id)
			}
		}
		p.run(w, someRate, time.Hour)
		if len(p.closed) != 30 {
			t.Errorf("%d were closed, want 30 and no more", len(p.closed))
		}
	})
}

// Those that do not come back make nobody else's too many.
func TestRebalanceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, pool.Config{Backends: backends("a", "b", "c")})
		c := p.pool.Backends()[2]
		c.SetUp(false)
		p.begin(90)
		w := p.watch()
		p.run(w, someRate, time.Minute)
		p.leave = true
		c.SetUp(true)
		p.run(w, someRate, time.Hour)
		if got := p.active(); !slices.Equal(got, []int{30, 30, 0}) {
			t.Errorf("%v are left, want 30, 30 and 0", got)
		}
	})
}

// Nothing is closed while nothing is idle, nor when the backend has gone again.
func TestRebalanceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, pool.Config{Backends: backends("a", "b")})
		b := p.pool.Backends()[1]
		b.SetUp(false)
		p.begin(20)
		w := p.watch()
		p.run(w, someRate, time.Minute)
		p.busy = true
		b.SetUp(true)
		p.run(w, someRate, time.Minute)
		p.busy = false
		for begin := time.Now(); len(p.closed) == 0; {
			if p.run(w, someRate, time.Second/5); time.Since(begin) > searchEvery+time.Second {
				t.Fatal("none was closed")
			}
		}
		done := len(p.closed)
		b.SetUp(false)
		p.run(w, someRate, time.Hour)
		if len(p.closed) != done {
			t.Errorf("%d more were closed for a backend that has gone", len(p.closed)-done)
		}
	})
}

// While its share grows a backend gets no more than that, and in the end all of it.
func TestRebalanceDuringSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, pool.Config{Backends: backends("a", "b"), SlowStart: 10 * time.Minute})
		b := p.pool.Backends()[1]
		time.Sleep(time.Hour)
		b.SetUp(false)
		p.begin(100)
		w := p.watch()
		p.run(w, someRate, time.Minute)
		b.SetUp(true)
		p.run(w, someRate, 5*time.Minute)
		if got := p.active()[1]; got < 25 || got > 34 { // half of its weight is a third of both
			t.Errorf("after half of its slow start it has %d, want about 33", got)
		}
		p.run(w, someRate, 6*time.Minute)
		if got := p.active(); !slices.Equal(got, []int{50, 50}) {
			t.Errorf("%v in the end, want 50 each", got)
		}
	})
}

// A backend that is added is one that has come.
func TestRebalanceAfterAddition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, pool.Config{Backends: backends("a")})
		p.begin(20)
		w := p.watch()
		p.run(w, someRate, time.Minute)
		if _, err := p.pool.Update(pool.Config{Name: "p", Shards: 1, Backends: backends("a", "b")}); err != nil {
			t.Fatal(err)
		}
		p.run(w, someRate, time.Minute)
		if got := p.active(); !slices.Equal(got, []int{10, 10}) {
			t.Errorf("%v, want 10 each", got)
		}
	})
}

// Once closes what is too many, evenly spread, though no backend has come; nothing while nothing is idle.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, pool.Config{Backends: backends("a", "b")})
		b := p.pool.Backends()[1]
		b.SetUp(false)
		p.begin(20)
		b.SetUp(true)
		p.busy = true
		time.Sleep(time.Minute)
		if got := p.watch().Once(t.Context(), someRate); got != 0 || len(p.closed) > 0 {
			t.Errorf("%d sessions in use are closed", got)
		}
		p.busy = false
		begin := time.Now()
		if got := p.watch().Once(t.Context(), someRate); got != 10 || !slices.Equal(p.active(), []int{10, 10}) {
			t.Errorf("%d are closed, there are %v", got, p.active())
		}
		if took := time.Since(begin); took != 9*time.Second/5 { // no wait after the last
			t.Errorf("10 at 5 in a second took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.begin(20)
		for id, s := range p.open { // all of b's go
			if s.backend == b {
				delete(p.open, id)
				b.Release()
			}
		}
		time.Sleep(time.Minute)
		if got := p.watch().Once(ctx, someRate); got > 1 {
			t.Errorf("%d are closed for somebody who has left", got)
		}
	})
}
