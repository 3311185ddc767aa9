package pool

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// A duo is two pools of two processes, one of which takes over from the other, and the sessions that they have.
type duo struct {
	t        *testing.T
	random   *rand.Rand
	old, new *Pool
	serves   *Pool // who takes new sessions; nil: nobody at the moment
	held     []*modelSlot
	waiting  []*duoWaiter // in the order of their coming
	seen     duoSeen
}

// duoSeen is what happened in a play.
type duoSeen struct{ arrived, failed, rejoined, granted, full int }

// A modelSlot is a session with a slot, and in which pool it is.
type modelSlot struct {
	b    *Backend
	away bool // it has departed from the old pool, and is not in the new one yet
}

type duoWaiter struct {
	Waiter
	pool    *Pool // nil: it is on its way
	granted bool
}

func duoConfig() Config {
	c := Config{Name: "test", Backends: limited(2, 3, 1), QueueMax: 8, Balance: LeastConn}
	return c
}

func newDuo(t *testing.T, seed uint64) *duo {
	p, err := New(duoConfig())
	if err != nil {
		t.Fatal(err)
	}
	return &duo{t: t, random: rand.New(rand.NewPCG(seed, 3)), old: p, serves: p}
}

// session lets a session come to the pool that serves.
func (d *duo) session() {
	if d.serves == nil {
		return
	}
	w := &duoWaiter{pool: d.serves}
	w.Granted = func() { w.granted = true }
	b, waits, err := d.serves.ReserveOrWait(&w.Waiter)
	switch {
	case b != nil:
		d.held = append(d.held, &modelSlot{b: b})
	case waits:
		d.waiting = append(d.waiting, w)
	case err == ErrQueueFull:
		d.seen.full++
	default:
		d.t.Fatal(err)
	}
}

// end lets a session end in the process in which it is.
func (d *duo) end() {
	if len(d.held) == 0 {
		return
	}
	at := d.random.IntN(len(d.held))
	if s := d.held[at]; !s.away {
		s.b.Release()
		d.held = slices.Delete(d.held, at, at+1)
	}
}

// giveUp lets one that waits leave.
func (d *duo) giveUp() {
	if len(d.waiting) == 0 {
		return
	}
	at := d.random.IntN(len(d.waiting))
	w := d.waiting[at]
	if w.pool == nil {
		return
	}
	if b := w.pool.Leave(&w.Waiter); b != nil {
		b.Release()
	}
	d.waiting = slices.Delete(d.waiting, at, at+1)
}

// collect takes in what was granted, first come first served in each process, and checks that: nobody who came later
// has been given a slot before one who waits in the same pool.
func (d *duo) collect() {
	for _, p := range []*Pool{d.old, d.new} {
		waits := false
		for _, w := range d.waiting {
			if w.pool != p || p == nil {
				continue
			}
			if w.granted && waits {
				d.t.Fatalf("place %d was granted a slot before somebody of a lower one", w.Place())
			}
			waits = waits || !w.granted
		}
	}
	d.waiting = slices.DeleteFunc(d.waiting, func(w *duoWaiter) bool {
		if !w.granted {
			return false
		}
		d.seen.granted++
		d.held = append(d.held, &modelSlot{b: w.pool.Collect(&w.Waiter)})
		return true
	})
}

// check compares what the pools say with the sessions that there are.
func (d *duo) check() {
	d.t.Helper()
	d.collect()
	for i, b := range d.old.Backends() {
		here, there := 0, 0
		for _, s := range d.held {
			switch {
			case s.b.Name() != b.Name():
			case s.b.pool == d.old && !s.away:
				here++
			default:
				there++
			}
		}
		if limit := b.maxConns; here+there > limit {
			d.t.Fatalf("%s has %d sessions in the old process and %d in the new one, the limit is %d", b.Name(), here, there, limit)
		}
		if got := d.old.Account().Backends[i].Active; got != here {
			d.t.Fatalf("%s: %d are active in the old process, want %d", b.Name(), got, here)
		}
		if d.new != nil && d.serves == d.new {
			if got := d.new.Lookup(b.Name()).Active(); got < here+there {
				d.t.Fatalf("%s: the new process knows of %d, there are %d", b.Name(), got, here+there)
			}
		}
	}
	d.checkOrder()
}

// checkOrder checks that nobody waits beside a slot that is free, and that the queues are in order.
func (d *duo) checkOrder() {
	for _, p := range []*Pool{d.old, d.new} {
		if p == nil {
			continue
		}
		last := uint64(0)
		for w := p.queue.first; w != nil; w = w.next {
			if w.place <= last {
				d.t.Fatalf("place %d stands behind place %d", w.place, last)
			}
			last = w.place
		}
		if p.Waiting() > 0 && p.hasRoom() {
			d.t.Fatalf("%d wait though a slot is free", p.Waiting())
		}
	}
}

// step lets one of the things happen that happen all the time.
func (d *duo) step() {
	switch d.random.IntN(8) {
	case 0, 1, 2, 3:
		d.session()
	case 4, 5, 6:
		d.end()
	case 7:
		d.giveUp()
	}
	d.check()
}

func (d *duo) steps() {
	for range d.random.IntN(6) {
		d.step()
	}
}

// handOver moves everything from the old pool to a new one, in steps between which sessions go on. It fails at a random
// step sometimes: what has not arrived goes back.
func (d *duo) handOver() {
	d.serves = nil // the old one accepts no more
	p, err := New(duoConfig())
	if err != nil {
		d.t.Fatal(err)
	}
	d.new = p
	d.new.Assume(d.old.Account())
	d.steps()
	failsAt := d.random.IntN(30) // most do not
	d.moveWaiters(failsAt == 0)
	if failsAt == 0 {
		d.back()
		return
	}
	d.expect()
	d.serves = d.new
	d.steps()
	for batch := 1; d.moveSessions(failsAt == batch); batch++ {
		if failsAt == batch {
			return // the new one has sessions: it is not known what would become of them
		}
		d.steps()
	}
	for _, b := range d.new.Backends() {
		b.Expect(0)
	}
	d.check()
	d.old, d.new = d.new, nil
}

// moveWaiters lets those who wait change their queue, or come back to it.
func (d *duo) moveWaiters(fails bool) {
	var away []*duoWaiter
	for _, w := range d.waiting {
		if d.old.Leave(&w.Waiter) != nil {
			d.t.Fatal("what is granted was collected")
		}
		w.pool = nil
		away = append(away, w)
	}
	d.steps()
	to := d.new
	if fails {
		to = d.old
	}
	if d.random.IntN(2) == 0 {
		slices.Reverse(away)
	}
	// Nothing ends meanwhile: who comes back first may be given what was free before the others have come.
	for _, b := range to.Backends() {
		b.Expect(b.elsewhere + b.maxConns)
	}
	for _, w := range away {
		w.pool = to
		d.seen.rejoined++
		to.Rejoin(&w.Waiter, w.Place())
	}
	for _, b := range to.Backends() {
		b.Expect(b.elsewhere - b.maxConns)
	}
	d.check()
}

// moveSessions moves some sessions to the new pool, and reports whether some are left. When it fails they are back.
func (d *duo) moveSessions(fails bool) (more bool) {
	var batch []*modelSlot
	for _, s := range d.held {
		if s.b.pool == d.old && len(batch) < 1+d.random.IntN(3) {
			s.b.Depart()
			s.away = true
			batch = append(batch, s)
		}
	}
	d.steps()
	for _, s := range batch {
		s.away = false
		if fails {
			s.b.Arrive()
			continue
		}
		s.b = d.new.Lookup(s.b.Name())
		s.b.Arrive()
		d.seen.arrived++
	}
	d.expect()
	d.check()
	for _, b := range d.new.Backends() {
		n := 0
		for _, s := range d.held {
			if s.b.Name() == b.Name() {
				n++
			}
		}
		if got := b.Stats().Active; got != n {
			d.t.Fatalf("%s: the new process knows of %d sessions, there are %d", b.Name(), got, n)
		}
	}
	return slices.ContainsFunc(d.held, func(s *modelSlot) bool { return s.b.pool == d.old })
}

// expect tells the new pool what the old one has still.
func (d *duo) expect() {
	for _, a := range d.old.Account().Backends {
		d.new.Lookup(a.Name).Expect(a.Active)
	}
}

// back lets the old pool go on as if nothing had happened.
func (d *duo) back() {
	d.seen.failed++
	d.new, d.serves = nil, d.old
	for _, b := range d.old.Backends() {
		b.Expect(0)
	}
	d.check()
}

// Through any number of hand-overs at any moment, no limit is exceeded, nobody waits beside a free slot, and the order of
// those who wait is kept.
func TestHandOvers(t *testing.T) {
	var seen duoSeen
	for seed := range uint64(300) {
		d := newDuo(t, seed)
		for range 10 {
			for range d.random.IntN(40) {
				d.step()
			}
			d.handOver()
			if d.new != nil {
				break
			}
		}
		seen.arrived += d.seen.arrived
		seen.failed += d.seen.failed
		seen.rejoined += d.seen.rejoined
		seen.granted += d.seen.granted
		seen.full += d.seen.full
	}
	if seen.arrived < 1000 || seen.failed < 20 || seen.rejoined < 1000 || seen.granted < 1000 || seen.full < 100 {
		t.Errorf("the play is too dull: %+v", seen)
	}
}

// Sessions of several loops come and go in both pools while others move: in the end every slot is free.
func TestHandOverConcurrently(t *testing.T) {
	old, err := New(duoConfig())
	if err != nil {
		t.Fatal(err)
	}
	const loops, moves = 4, 300
	for range moves {
		next, err := New(duoConfig())
		if err != nil {
			t.Fatal(err)
		}
		var held []*Backend
		for {
			b, err := old.Reserve(noClient, nil)
			if err != nil {
				break
			}
			held = append(held, b)
		}
		next.Assume(old.Account())
		var all sync.WaitGroup
		for _, b := range held {
			all.Go(func() { // it ends here, or there
				if rand.IntN(2) == 0 {
					b.Release()
					next.Lookup(b.Name()).Expect(0)
					return
				}
				b.Depart()
				to := next.Harbour(BackendConfig{Name: b.Name(), Address: b.Address()})
				to.Arrive()
				to.Release()
			})
		}
		for range loops {
			all.Go(func() {
				w := &Waiter{Granted: func() {}}
				if b, waits, _ := next.ReserveOrWait(w); b != nil {
					b.Release()
				} else if waits {
					place := w.Place()
					b := next.Leave(w)
					if b == nil {
						next.Rejoin(w, place)
						b = next.Leave(w)
					}
					if b != nil {
						b.Release()
					}
				}
			})
		}
		all.Wait()
		for _, b := range next.Backends() {
			b.Expect(0)
			if n := b.Active(); n != 0 {
				t.Fatalf("%s: %d active in the end", b.Name(), n)
			}
		}
		if n := next.Waiting(); n != 0 {
			t.Fatalf("%d wait in the end", n)
		}
		old = next
	}
}
