package l4

import "sluice/pool"

// Redispatch lets the sessions that a backend has not answered try another one,
// because it went down: nothing is lost with them. It does not wait for them.
func (srv *Server) Redispatch(b *pool.Backend) {
	for _, l := range srv.loops {
		l.inbox.post(message{kind: redispatch, backend: b})
	}
}

// EndSessions ends at most limit sessions of a backend, with reason
// backend_down, and returns how many: fewer than limit means that none is left.
// A limit of 0 means all. It waits for the loops, so it must not be called on
// one.
func (srv *Server) EndSessions(b *pool.Backend, limit int) int {
	total := 0
	for _, l := range srv.loops {
		if limit > 0 && total == limit {
			break
		}
		ended := make(chan int, 1)
		l.inbox.post(message{kind: endBackend, backend: b, limit: max(limit-total, 0), ended: func(n int) { ended <- n }})
		select {
		case n := <-ended:
			total += n
		case <-srv.life.Done():
			return total
		}
	}
	return total
}

// endBackend ends at most limit sessions of a backend; 0 = all. Those that it has
// not answered move on instead. It goes on where the last call stopped: who is
// ended a few at a time is not looked for from the start each time.
func (l *loop) endBackend(b *pool.Backend, limit int) (ended int) {
	slots := l.sessions.size()
	for range slots {
		if limit > 0 && ended == limit {
			break
		}
		if l.cursor >= slots {
			l.cursor = 0
		}
		if s := l.sessions.at(l.cursor); s.state != stateClosed && s.backend == b && !l.moveOn(s) {
			l.end(s, BackendDown, 0)
			ended++
		}
		l.cursor++
	}
	return ended
}

// redispatch takes sessions that a backend has not answered away from it.
func (l *loop) redispatch(b *pool.Backend) {
	l.sessions.each(func(s *session) {
		if s.backend == b {
			l.moveOn(s)
		}
	})
}

// moveOn lets s, which its backend has not answered, try another one. It reports
// whether s has left its backend.
func (l *loop) moveOn(s *session) bool {
	from := s.backend
	switch s.state {
	case stateReadHello: // the backend has said that it does not encrypt, and the client goes on
		l.letGo(s)
	case stateConnecting, stateAnswering:
		if l.canMove(s) {
			l.noteTry(s, BackendDown, 0)
			l.letGo(s)
			l.dial(s)
		}
	}
	return s.backend != from
}

// canMove reports whether there is somewhere to go for a session that leaves its
// backend without having failed on it.
func (l *loop) canMove(s *session) bool {
	p := s.target.config.Pool
	return p.QueueMax() > 0 || p.HasOther(s.backend, s.failedOn())
}

// letGo gives up the connection to the backend, made or under way, and its slot.
// What the backend has been sent counts as not sent: it is sent again.
func (l *loop) letGo(s *session) {
	l.closeServer(s)
	s.backend.Release()
	s.backend = nil
}
