package l4

import (
	"slices"
	"time"

	"sluice/l4/proxyheader"
)

// A session that is handed over to another process is first taken out of its loop: out of epoll,
// for a descriptor that two processes hold is not deregistered by close(2) (epoll(7), question 6),
// out of the timer wheel and out of the slab. So nothing that happens meanwhile can touch it: an
// event, a timer or a message that is on its way has the token of a session that is gone.

const (
	// batchMax is how many sessions travel together. All of them stand still for as long as the slowest takes:
	// with 64 the longest pause of one in a hundred is half of that with 126, the most whose descriptors fit one
	// message (SCM_MAX_FD is 253, see unix(7)), and the whole takes no longer. With 32 it does.
	batchMax = 64
	// batchBytes is how many bytes read and not yet sent travel together, of the last session more:
	// the sessions of a batch wait for them to be written and read.
	batchBytes = 4 << 20
	// huntSlots is how many slots a loop looks at in one turn.
	huntSlots = 16 * walkSlots
)

// A frozen session is one that is in no loop.
type frozen struct {
	session
	place        uint64        // in its pool's queue, if it waits
	now, stalled time.Duration // of the loop that it was in
}

// held is how many bytes travel with it.
func (f *frozen) held() (n int) {
	for i := range f.halves {
		n += len(f.halves[i].held)
	}
	return n
}

// A hunt is how far the search for sessions that travel has come.
type hunt struct {
	early   bool // those are looked for that do not relay
	loop    int
	slot    int32
	fruit   bool            // some were found since slot 0
	refused map[uint64]bool // by session: it relayed when it was
}

// Next takes the next sessions out of service: those that do not relay, or, when none of them
// is left, those that do. nil: none is left but for those that the other process has refused.
// The batch must be committed or returned before the next one. It must not be called on a loop.
func (d *Departure) Next(early bool) (*Batch, error) {
	h := &d.hunt
	if early != h.early {
		h.early, h.loop, h.slot, h.fruit = early, 0, 0, false
	}
	for h.loop < len(d.srv.loops) {
		b := &Batch{d: d, loop: d.srv.loops[h.loop]}
		if !d.srv.onLoop(b.loop, func() { b.sessions = b.loop.hunt(h) }) {
			return nil, ErrEnded
		}
		if len(b.sessions) > 0 {
			d.batch = b
			return b, nil
		}
	}
	h.loop, h.slot, h.fruit = 0, 0, false // the next call looks again
	return nil, nil
}

// onLoop lets a loop carry something out, and waits until it has. It reports false for one that
// does nothing any more; then that was carried out if at all before it stopped.
func (srv *Server) onLoop(l *loop, do func()) bool {
	done := make(chan struct{})
	l.inbox.post(message{kind: carryOut, do: func() { do(); close(done) }})
	select {
	case <-done:
		return true
	case <-srv.life.Done():
	}
	srv.running.Wait()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// hunt takes sessions out of service, from where the last hunt stopped. A loop is done with when
// all its slots have none.
func (l *loop) hunt(h *hunt) (list []*frozen) {
	bytes := 0
	for end := min(h.slot+huntSlots, l.sessions.size()); h.slot < end && len(list) < batchMax && bytes < batchBytes; h.slot++ {
		s := l.sessions.at(h.slot)
		if !l.travels(s, h) {
			continue
		}
		if f := l.freeze(s, h.early); f != nil {
			list = append(list, f)
			bytes += f.held()
		}
	}
	h.fruit = h.fruit || len(list) > 0
	if h.slot >= l.sessions.size() {
		if !h.fruit {
			h.loop++
		}
		h.slot, h.fruit = 0, false
	}
	return list
}

// travels reports whether s is one of those that are looked for.
func (l *loop) travels(s *session, h *hunt) bool {
	if !slices.Contains(travelling[:], s.state) {
		return false
	}
	relays := s.state == stateRelaying
	if relays == h.early {
		return false
	}
	if relaying, refused := h.refused[s.id]; refused && relaying == relays {
		return false
	}
	if s.opening == nil || s.opening.header == nil {
		return true
	}
	_, err := proxyheader.Pack(s.opening.header)
	return err == nil
}

// freeze takes s out of the loop. nil: it has gone on meanwhile, or the kernel does not give its
// bytes away.
func (l *loop) freeze(s *session, early bool) *frozen {
	f := &frozen{now: l.now, stalled: l.stalled}
	if s.state == stateWaiting {
		f.place = s.opening.waiter.Place()
		if l.leaveQueue(s); s.state == stateClosed || s.state == stateRelaying {
			return nil
		}
	}
	for i := range s.halves {
		if h := &s.halves[i]; h.pipe != nil && l.unpipe(h) != 0 {
			return nil
		}
	}
	for i := range s.ends {
		end := &s.ends[i]
		if end.fd >= 0 {
			l.poller.Remove(int(end.fd))
		}
		end.thaw()
	}
	if s.opening != nil {
		s.opening.waiter.Granted = nil // it tells of a session that is gone
	}
	l.timers.cancel(s.slot)
	f.session = *s
	l.sessions.put(s)
	return f
}

// thaw leaves of what is known of a socket what its own epoll will not tell the loop that gets it.
func (e *end) thaw() {
	if e.ready&(ignored|peerClosed) == ignored|peerClosed {
		e.ready |= shortReadsLie // as in heed
	}
	e.ready &^= readable | writable | ignored | writableUnwatched
}

// leaveQueue takes s out of its pool's queue. One that was granted a backend meanwhile connects.
func (l *loop) leaveQueue(s *session) {
	backend := s.target.config.Pool.Leave(&s.opening.waiter)
	if backend == nil {
		return
	}
	s.waited += l.waitOver(s)
	l.advance(s, l.connect(s, backend))
}
