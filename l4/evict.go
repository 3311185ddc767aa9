package l4

import (
	"cmp"
	"context"
	"time"

	"sluice/pool"
)

// Redispatch lets the sessions that a backend has not answered try another one,
// because it went down: nothing is lost with them. It does not wait for them.
func (srv *Server) Redispatch(b *pool.Backend) {
	for _, l := range srv.loops {
		l.redispatch(b, 0)
	}
}

// redispatch is Redispatch for the sessions of one loop from a slot on. It is a walk that
// nobody waits for: the loop itself asks for the next step.
func (l *loop) redispatch(b *pool.Backend, slot int32) {
	moved := 0
	l.inbox.post(message{
		kind: visitSlots, slot: slot,
		visit: func(s *session) bool {
			if s.backend == b && l.moveOn(s, BackendDown) {
				moved++
			}
			return moved < walkEnds
		},
		stopped: func(at walkStop) {
			if at.next < at.size {
				l.redispatch(b, at.next)
			}
		},
	})
}

// EndSessions ends at most limit sessions of a backend for a reason, which is BackendDown
// or Drained, and returns how many: fewer than limit means that none is left but those that
// only deliver what was finished, and those on their way from or to another process, which are
// to be asked for again while the backend has slots that are taken. A limit of 0 means all. Those
// that the backend has not answered move on instead. It waits for the loops, so it must not be
// called on one.
func (srv *Server) EndSessions(b *pool.Backend, reason Reason, limit int) int {
	total := 0
	for _, l := range srv.loops {
		if limit > 0 && total == limit {
			break
		}
		total += srv.endSessionsOf(l, b, reason, max(limit-total, 0))
	}
	return total
}

// endSessionsOf is EndSessions for one loop. It goes on where the last call stopped: who is
// ended a few at a time is not looked for from the start each time.
func (srv *Server) endSessionsOf(l *loop, b *pool.Backend, reason Reason, limit int) (total int) {
	for round, over := srv.walk(l, l.cursor.Load()), false; !over; l.cursor.Store(round.next) {
		ended, acts := 0, 0
		var err error
		over, err = round.step(context.Background(), func(s *session) bool {
			if s.backend != b || s.cut != noReason {
				return true
			}
			acts++
			if !l.moveOn(s, reason) && l.cutOff(s, reason) {
				ended++
			}
			return acts < walkEnds && (limit == 0 || total+ended < limit)
		})
		if err != nil {
			return total
		}
		if total += ended; limit > 0 && total == limit {
			over = true
		}
	}
	return total
}

// A session that is cut may have a peer that has said all it had to say, FIN included,
// while some of it is still on its way to the other one. That half needs nothing more of
// the peer, which may be gone in good order since: the session ends when it is delivered,
// or when nothing of it has been taken for as long as no byte may move.

// cutLook is how often such a session is looked at.
const cutLook = 250 * time.Millisecond

// cutPatience bounds the wait for a peer that takes nothing where nothing else does, or
// where the process is to end.
const cutPatience = 10 * time.Second

// cutOff ends s for a reason that none of its peers has given. It reports whether
// s has ended; if not, it will as soon as what is finished has been delivered.
func (l *loop) cutOff(s *session, reason Reason) (ended bool) {
	if s.state == stateRelaying {
		l.noteTaken(s)
		if s.finishing() && !(reason == Shutdown && s.handedOver()) {
			l.leaveFinishing(s, reason)
			l.advance(s, stateRelaying)
			return false
		}
	}
	return l.end(s, reason, 0) == stateClosed
}

// leaveFinishing lets s go on for a reason until what is finished has been delivered.
func (l *loop) leaveFinishing(s *session, reason Reason) {
	if s.cut == noReason {
		s.active = l.now
	}
	if s.cut == noReason || reason == Shutdown {
		s.cut = reason
	}
	l.lookSoon(s)
	s.untimed = true
}

// finishing reports whether something that a peer sent before its FIN is not yet
// delivered.
func (s *session) finishing() bool {
	for _, from := range [...]side{client, server} {
		h := &s.halves[from]
		if s.sentFIN(from) && (!h.done || h.eof && h.owed != 0) { // done without eof: given up, see broken
			return true
		}
	}
	return false
}

// counts reports whether bytes of one side that move are activity. Of a session that is
// cut, those are that are to be delivered, and not what flows the other way as well.
func (s *session) counts(from side) bool { return s.cut == noReason || s.sentFIN(from) }

// handedOver reports whether all that is finished lies in the kernel, which
// delivers it without this process.
func (s *session) handedOver() bool {
	for _, from := range [...]side{client, server} {
		if s.sentFIN(from) && !s.halves[from].done {
			return false
		}
	}
	return true
}

// cutLimit is how long no byte of a session that is cut may move.
func (s *session) cutLimit() time.Duration {
	config := &s.rules.config
	limit := cmp.Or(config.FinTimeout, config.IdleTimeout, cutPatience)
	if s.cut == Shutdown {
		return min(limit, cutPatience)
	}
	return limit
}

// moveOn lets s, which its backend has not answered, try another one, for a reason. It
// reports whether s has left its backend.
func (l *loop) moveOn(s *session, reason Reason) bool {
	from := s.backend
	l.advance(s, l.forsaken(s, reason))
	return s.backend != from
}

// canMove reports whether there is somewhere to go for a session that leaves its
// backend without having failed on it.
func (l *loop) canMove(s *session) bool {
	p := s.target.config.Pool
	return p.QueueMax() > 0 || p.HasOther(s.backend, s.failedOn())
}

// dropBackend gives up the connection to the backend, made or under way, and its slot.
// What the backend has been sent counts as not sent: it is sent again.
func (l *loop) dropBackend(s *session) {
	l.closeServer(s)
	s.backend.Release()
	s.backend = nil
}
