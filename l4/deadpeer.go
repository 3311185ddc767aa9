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
	if quiet := s.quietFor(); quiet != 0 {
		s.lookAt = l.now + min(quiet, guardAfter)
	}
}

// deadPeer is how long the peer at one side may be silent; 0 = no bound.
func (s *session) deadPeer(side side) time.Duration {
	switch {
	case side == client:
		return s.listener.config.DeadPeer
	case s.target == nil:
		return 0
	}
	return s.target.config.DeadPeer
}

// quietFor is how long no byte may have moved before the peers are looked at: in
// time for the kernel's bound on either of them; 0 = they are not.
func (s *session) quietFor() time.Duration {
	a, b := s.deadPeer(client), s.deadPeer(server)
	if a == 0 || b != 0 && b < a {
		a = b
	}
	return a / 2
}

// noteMoved is called when bytes have moved. The look at the peers is one per
// stretch of activity, not one per message.
func (l *loop) noteMoved(s *session) {
	s.active = l.now
	if s.lookAt == 0 && s.state == stateRelaying {
		if quiet := s.quietFor(); quiet != 0 {
			s.lookAt = l.now + quiet
			l.rearm(s)
		}
	}
}

// lookAtPeers is called when lookAt has passed, the first time soon after the backend
// was connected. While bytes move there is another look: they may move in one direction
// only, and the peer that sends not read.
func (l *loop) lookAtPeers(s *session) {
	s.lookAt = 0
	l.guard(s)
	if s.state != stateRelaying || s.halves[client].bytes+s.halves[server].bytes == 0 {
		l.rearm(s) // nothing is owed, or it is awaitAnswer that is told
		return
	}
	if quiet := s.quietFor(); s.active+quiet > l.now {
		s.lookAt = l.now + quiet
	}
	for _, side := range [...]side{client, server} {
		if left := l.lookAtPeer(s, side); left < 0 {
			l.broken(s, side, syscall.ETIMEDOUT)
			return
		} else if left > 0 && (s.lookAt == 0 || l.now+left < s.lookAt) {
			s.lookAt = l.now + left
		}
	}
	l.rearm(s)
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
		if end.ready&spared != 0 {
			end.ready &^= spared
			sysutil.SetUserTimeout(int(end.fd), limit)
		}
		return 0
	case end.ready&spared != 0:
		// Probes of a closed window come up to two minutes apart: one alone
		// may only just have been sent.
		if d.Unanswered >= 2 && d.Silent >= limit {
			return -1
		}
		return max(min(limit/2, limit-d.Silent), limit/8)
	case d.Unanswered == 0:
		end.ready |= spared
		sysutil.SetUserTimeout(int(end.fd), 0)
		return limit / 2
	}
	return limit / 8 // the answer may be on its way, and otherwise the kernel's bound ends it
}
