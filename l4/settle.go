package l4

import (
	"syscall"

	"sluice/sysutil"
)

// settle gives a session that is in no loop a place in this one. It is registered, and nothing is
// done with it until resume: whoever has handed it over may take it back.
func (l *loop) settle(from *session) (*session, syscall.Errno) {
	s := l.seat(from)
	for _, side := range [...]side{client, server} {
		if s.ends[side].fd < 0 {
			continue
		}
		if errno := l.watch(s, side); errno != 0 {
			l.unwatch(s)
			l.sessions.put(s)
			return nil, errno
		}
	}
	return s, 0
}

// seat gives a session a slot of this loop.
func (l *loop) seat(from *session) *session {
	s := l.sessions.take()
	slot, generation := s.slot, s.generation
	*s = *from
	s.slot, s.generation, s.state, s.timer, s.queued, s.untimed = slot, generation, stateArriving, timer{}, false, false
	return s
}

// unwatch takes both ends of s out of epoll; one may not be in it.
func (l *loop) unwatch(s *session) {
	for i := range s.ends {
		if fd := int(s.ends[i].fd); fd >= 0 {
			l.poller.Remove(fd)
		}
	}
}

// resume lets a session that has settled go on in the state in which it was. place is that in the
// queue, of one that waits. What was told of its sockets since it has settled has told nobody:
// what they are ready for is asked again.
func (l *loop) resume(s *session, from *frozen) {
	for i := range s.ends {
		s.ends[i].ready = from.ends[i].ready
	}
	for _, side := range [...]side{client, server} {
		if fd := int(s.ends[side].fd); fd >= 0 {
			l.poller.Heed(fd, uint64(s.token(side)))
		}
	}
	switch from.state {
	case stateRelaying:
		l.enqueue(s) // it acts in its turn, when it is known what it can do
	case stateWaiting:
		w := &s.opening.waiter
		w.Client, w.Granted = s.client.Addr(), l.granted(s)
		s.target.config.Pool.Rejoin(w, from.place)
	}
	l.advance(s, from.state)
	if s.backend != nil && s.state != stateRelaying && s.backend.Down() {
		l.moveOn(s, BackendDown) // a Redispatch may not have met it
	}
	if s.state == stateRelaying {
		ready := sysutil.ReadyNow(s.ends[client].fd, s.ends[server].fd)
		l.note(s, client, ready[client])
		l.note(s, server, ready[server])
	}
}
