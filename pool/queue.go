package pool

import (
	"errors"
	"net/netip"
	"slices"
)

// ErrQueueFull means that no backend may take the session now, and that as many sessions wait already as may.
var ErrQueueFull = errors.New("the queue is full")

// A Waiter is a session that asks for a backend and stands in the queue while there is none for it. From the moment
// that ReserveOrWait says that it waits until Leave, or Collect with a backend, has returned, its fields are the
// pool's and must not be touched. It can be used for one wait after another, always in the same pool.
type Waiter struct {
	// Client is the real client's address; the zero Addr stands for clients without one.
	Client netip.Addr
	// Tried are the backends that are not picked: the session failed on them. One that becomes usable during the wait
	// is struck off, in place: it deserves a new chance.
	Tried []*Backend
	// Granted is called once when a waiter has been granted a slot. The pool's mutex is held, on whatever goroutine
	// freed the slot: it must neither block nor call the pool.
	Granted func()

	// Guarded by pool.mu. A waiter is in the queue, or has been granted a backend, or neither; never both.
	prev, next *Waiter
	queued     bool
	granted    *Backend // its slot is taken, and not yet handed out
	place      uint64   // in line: who came later has a higher one
}

// Place returns the place in line that w was given when it began to wait, for Rejoin. Whoever came later in its pool has a
// higher one; 0 = it has never waited. It may be called by whoever lets w wait, also after w has left.
func (w *Waiter) Place() uint64 { return w.place }

// QueueMax returns how many sessions may wait now; 0 = none.
func (p *Pool) QueueMax() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queueMax
}

// Waiting returns how many sessions stand in the queue now.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.length
}

// ReserveOrWait takes a slot for w, as Reserve does, or else puts w at the end of the queue. That is one step: no
// slot that is freed meanwhile is missed.
//
// When waiting is true, w.Granted is called as soon as w has been granted a slot, perhaps before ReserveOrWait
// returns, and Collect or Leave hands the backend out. The error is ErrNoBackend or ErrFull where nobody may wait,
// and ErrQueueFull when the queue has no room. It does not allocate, and panics when w waits already or was granted a
// slot that nobody took.
func (p *Pool) ReserveOrWait(w *Waiter) (b *Backend, waiting bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.queued || w.granted != nil {
		panic("pool: reserve or wait in pool " + p.name + ": the waiter has not left")
	}
	// Nobody who waits could take what is free, so this jumps no queue.
	if b := p.place(w.Client, w.Tried); b != nil {
		return b, false, nil
	}
	switch {
	case p.queueMax == 0:
		return nil, false, p.refusal(w.Tried)
	case p.queue.length >= p.queueMax:
		return nil, false, ErrQueueFull
	}
	p.queue.push(w)
	return nil, true, nil
}

// Rejoin puts w, which has left the queue of this pool or of its predecessor in another process, back at the place that
// it had there, however long the queue is. It takes a slot at once if there is one for it; w.Granted is called then. It
// panics when w waits already or was granted a slot that nobody took.
func (p *Pool) Rejoin(w *Waiter, place uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.queued || w.granted != nil {
		panic("pool: rejoin the queue of pool " + p.name + ": the waiter has not left")
	}
	w.place = place
	p.queue.insert(w)
	p.serve(w) // nobody else's chances have changed
}

// Collect returns the backend that w was granted, once: the caller holds its slot from then on and must Release it. It
// returns nil when there is none; a waiter that waits keeps its place.
func (p *Pool) Collect(w *Waiter) *Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.collect()
}

// Leave ends w's wait. It returns the backend that w was granted meanwhile, whose slot the caller holds from then on
// and must Release. On nil there is none, and Granted is not called any more. A waiter that does not wait may leave
// too.
func (p *Pool) Leave(w *Waiter) *Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.queued {
		p.queue.remove(w)
	}
	return w.collect()
}

// Forgive clears w.Tried. A waiter in the queue keeps its place, and takes a slot now if one is free.
func (p *Pool) Forgive(w *Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Tried = w.Tried[:0]
	if w.queued {
		p.serve(w) // nobody else's chances have changed
	}
}

// collect hands the granted backend out. The pool's mutex is held.
func (w *Waiter) collect() *Backend {
	b := w.granted
	w.granted = nil
	return b
}

// grant gives what is free to those who wait, first come first served; a waiter that has failed on all that has room
// does not block those behind it. It is called, with the mutex held, after every change that may open a place to
// somebody, so that while the mutex is free this holds: no slot is free that anyone in the queue could take.
func (p *Pool) grant() {
	if p.queue.first == nil {
		return
	}
	room := p.hasRoom()
	for w := p.queue.first; w != nil && room; {
		next := w.next // serve takes w out of the queue
		if p.serve(w) {
			room = p.hasRoom()
		}
		w = next
	}
}

// serve grants a slot to a waiter in the queue if there is one for it. The mutex is held.
func (p *Pool) serve(w *Waiter) bool {
	b := p.place(w.Client, w.Tried)
	if b == nil {
		return false
	}
	p.queue.remove(w)
	w.granted = b
	w.Granted()
	return true
}

// hasRoom reports whether any candidate has a free slot. The mutex is held.
func (p *Pool) hasRoom() bool {
	for _, b := range p.candidates {
		if !b.full() {
			return true
		}
	}
	return false
}

// forgive strikes a backend that came back off what the waiters have tried. The mutex is held.
func (p *Pool) forgive(b *Backend) {
	for w := p.queue.first; w != nil; w = w.next {
		w.Tried = slices.DeleteFunc(w.Tried, func(tried *Backend) bool { return tried == b })
	}
}

// queue is a list of waiters in the order of their coming. It links the waiters themselves, so that it never
// allocates and one that gives up is out at once, wherever it stands.
type queue struct {
	first, last *Waiter
	length      int
	lastPlace   uint64 // that was given to anybody
}

// push puts a waiter at the end.
func (q *queue) push(w *Waiter) {
	q.lastPlace++
	w.place = q.lastPlace
	q.link(w, q.last)
}

// insert puts a waiter where its place is: behind all who came before it. Those who come back do so in their order, and
// nearly always before anybody new: the way from the end is short.
func (q *queue) insert(w *Waiter) {
	q.lastPlace = max(q.lastPlace, w.place)
	before := q.last
	for before != nil && before.place > w.place {
		before = before.prev
	}
	q.link(w, before)
}

// link puts a waiter behind another one; nil: before all.
func (q *queue) link(w, before *Waiter) {
	after := q.first
	if before != nil {
		after = before.next
	}
	w.prev, w.next, w.queued = before, after, true
	if before == nil {
		q.first = w
	} else {
		before.next = w
	}
	if after == nil {
		q.last = w
	} else {
		after.prev = w
	}
	q.length++
}

func (q *queue) remove(w *Waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.length--
}
