package l4

import (
	"syscall"
	"time"

	"sluice/sysutil"
)

// A peer that is gone without a word, because its machine or the way there is,
// must not hold its session for the quarter of an hour that TCP tries by itself.
// The kernel finds it (sysutil.SetDeadPeer). But it takes a peer for dead, too,
// that answers and just does not read, such as a pager somebody has left open. So
// sessions on which bytes have moved are looked at once they are quiet: the bound
// is lifted for a peer that owes an acknowledgement of bytes and answers all that
// asks for it. From then on it is looked at here.

// guardAfter is how long a connection is left alone before the kernel is told to look
// for a dead peer, which takes four calls and a timer: most sessions are over by then.
const guardAfter = time.Second

// guard lets the kernel look for peers that are dead. Unix sockets know nothing of it.
func (l *loop) guard(s *session) {
	for _, side := range [...]side{client, server} {
		end := &s.ends[side]
		if side == server && s.state == stateConnecting {
			continue // a connect has a timeout of its own
		}
		if dead := s.deadPeer(side); dead != 0 && end.fd >= 0 && end.ready&guarded == 0 {
			end.ready |= guarded
			sysutil.SetDeadPeer(int(end.fd), dead)
		}
	}
}

// guardLater has the peers of s guarded soon, if they are to be.
func (l *loop) guardLater(s *session) {
	if dead := s.deadPeers(); dead != 0 {
		s.lookAt = l.now + min(dead/2, guardAfter)
	}
}

// deadPeer is how long the peer at one side may be silent; 0 = no bound.
func (s *session) deadPeer(side side) time.Duration {
	switch {
	case side == client:
		return s.rules.config.DeadPeer
	case s.target == nil:
		return 0
	}
	return s.target.config.DeadPeer
}

// looksPerLimit is how often sessions are looked at in the time that no byte may move:
// it is not known to whom they move in the kernel, and when, without asking.
const looksPerLimit = 8

// quietFor is how long no byte may have moved before the peers are looked at: in
// time for the kernel's bound on either of them, and often enough to see whether they
// take in what the kernel holds for them; 0 = they are not.
func (s *session) quietFor() time.Duration {
	limit, _ := s.quietLimit()
	quiet := shorter(s.deadPeers()/2, limit/looksPerLimit)
	if s.cut != noReason {
		return shorter(quiet, cutLook)
	}
	return quiet
}

// deadPeers is the shorter of the bounds for both peers; 0 = there is none.
func (s *session) deadPeers() time.Duration { return shorter(s.deadPeer(client), s.deadPeer(server)) }

// shorter returns the shorter of two durations of which 0 means that there is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// noteMoved is called when bytes of one side have moved. The look at the peers is one
// per stretch of activity, not one per message.
func (l *loop) noteMoved(s *session, from side) {
	if !s.counts(from) {
		return
	}
	s.active = l.now
	if s.lookAt == 0 {
		if quiet := s.quietFor(); quiet != 0 {
			s.lookAt, s.untimed = l.now+quiet, true
		}
	}
}

// noteTaken asks the kernel what both peers have yet to take of what they were sent, and
// counts as activity that it is less than the last time. It reports whether they owe
// anything.
func (l *loop) noteTaken(s *session) (owing bool) {
	for _, from := range [...]side{client, server} {
		h := &s.halves[from]
		if h.bytes == 0 && !h.done {
			continue
		}
		n, _ := sysutil.Owed(int(s.ends[from.other()].fd)) // of a socket that failed it stays what it was
		if uint32(n) < h.owed && s.counts(from) {
			s.active = l.now
		}
		h.owed = uint32(n)
		owing = owing || n != 0
	}
	return owing
}

// lookSoon is called when the time that no byte may move has become another one. The timer
// is to be set then.
func (l *loop) lookSoon(s *session) {
	if quiet := s.quietFor(); quiet != 0 && (s.lookAt == 0 || s.lookAt > l.now+quiet) {
		s.lookAt = l.now + quiet
	}
}

// lookAtPeers is called when lookAt has passed, the first time soon after the backend
// was connected. While bytes move there is another look: they may move in one direction
// only, and the peer that sends not read. The timer is to be set then.
func (l *loop) lookAtPeers(s *session) state {
	s.lookAt = 0
	l.guard(s)
	if s.state != stateRelaying || s.cut == noReason && s.halves[client].bytes+s.halves[server].bytes == 0 {
		return s.state // no byte is owed and nobody waits for a FIN to be, or it is awaitAnswer that is told
	}
	owing := l.noteTaken(s)
	if s.cut != noReason && !s.finishing() {
		return l.end(s, s.cut, 0)
	}
	quiet := s.quietFor()
	if limit, _ := s.quietLimit(); s.active+quiet > l.now || owing && limit != 0 {
		s.lookAt = l.now + quiet
	}
	for _, side := range [...]side{client, server} {
		if left := l.lookAtPeer(s, side); left < 0 {
			return l.broken(s, side, syscall.ETIMEDOUT)
		} else if left > 0 && (s.lookAt == 0 || l.now+left < s.lookAt) {
			s.lookAt = l.now + left
		}
	}
	return stateRelaying
}

// lookAtPeer returns in how long the peer at one side is to be looked at again: 0
// when it owes nothing, less when its time is over.
func (l *loop) lookAtPeer(s *session, side side) time.Duration {
	end, limit := &s.ends[side], s.deadPeer(side)
	if limit == 0 {
		return 0
	}
	d, errno := sysutil.DeliveryOf(int(end.fd))
	switch {
	case errno != 0: // a Unix socket
		return 0
	case d.Owed == 0:
		if end.ready&userTimeoutLifted != 0 {
			end.ready &^= userTimeoutLifted
			sysutil.SetUserTimeout(int(end.fd), limit)
		}
		return 0
	case end.ready&userTimeoutLifted != 0:
		// Probes of a closed window come up to two minutes apart: one alone
		// may only just have been sent.
		if d.Unanswered >= 2 && d.Silent >= limit {
			return -1
		}
		return max(min(limit/2, limit-d.Silent), limit/8)
	case d.Unanswered == 0:
		end.ready |= userTimeoutLifted
		sysutil.SetUserTimeout(int(end.fd), 0)
		return limit / 2
	}
	return limit / 8 // the answer may be on its way, and otherwise the kernel's bound ends it
}
