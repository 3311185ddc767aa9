package l4

import (
	"cmp"
	"slices"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// turnaround is how long a session that waits stays away from the backends it
// has failed on. After that they deserve another try: one that was restarted
// between two health checks never looked down.
const turnaround = time.Second

// wait puts s into its pool's queue after Reserve had no backend for it. It
// returns a backend when one came free meanwhile, and else the state of the session.
func (l *loop) wait(s *session) (*pool.Backend, state) {
	opening := l.open(s)
	w := &opening.waiter
	w.Client = s.client.Addr()
	if w.Granted == nil {
		w.Granted = l.granted(s)
	}
	backend, waiting, err := s.target.config.Pool.ReserveOrWait(w)
	switch {
	case backend != nil:
		return backend, s.state
	case !waiting:
		return nil, l.endUndialled(s, err)
	}
	opening.waiting, opening.connectBy = l.now, 0
	opening.queueBy = cmp.Or(opening.queueBy, after(l.now, s.target.config.QueueTimeout))
	s.untimed = true // the wait may be one after another
	return nil, stateWaiting
}

// granted returns what tells the loop that s has got a backend.
func (l *loop) granted(s *session) func() {
	inbox, token := &l.inbox, s.token(client)
	return func() { inbox.post(message{kind: slotGranted, token: token}) }
}

// waits reports whether s is in its pool's queue, or has a backend from there that it does
// not know of yet.
func (s *session) waits() bool { return s.opening != nil && s.opening.waiting != 0 }

// waitForRetry lets a session wait that has failed as often as it may in one round of
// tries: barred from every backend, for a turnaround or until one comes up.
func (l *loop) waitForRetry(s *session) state {
	s.opening.waiter.Tried = slices.Clone(s.target.config.Pool.Backends())
	backend, next := l.wait(s)
	if backend != nil {
		// One that has come this moment. It is given back and asked for again: a connect that
		// began here would not be looked at if s has come from another one, see advance.
		backend.Release()
		return stateDialling
	}
	return next
}

// slotGranted goes on with a session that has got a backend, unless it has left.
func (l *loop) slotGranted(t token) {
	if s := l.sessions.find(t); s != nil && s.state == stateWaiting {
		l.advance(s, l.connectGranted(s))
	}
}

// connectGranted connects s to the backend that it was granted, if there is one.
func (l *loop) connectGranted(s *session) state {
	if backend := l.collect(s); backend != nil {
		return l.connect(s, backend)
	}
	return stateWaiting
}

// collect takes s out of the queue if it was granted a backend, and returns that.
func (l *loop) collect(s *session) *pool.Backend {
	backend := s.target.config.Pool.Collect(&s.opening.waiter)
	if backend != nil {
		s.waited += l.waitOver(s)
	}
	return backend
}

// waitOver notes that a session's wait is over, and returns how long it took.
func (l *loop) waitOver(s *session) time.Duration {
	took := l.now - s.opening.waiting
	s.opening.waiting = 0
	if l.server.config.OnWait != nil {
		l.server.config.OnWait(s.target.config.Pool, took)
	}
	return took
}

// waitDeadline is when a session's wait ends, or when the backends it has failed
// on get another chance.
func (s *session) waitDeadline() time.Duration {
	if s.opening.barred {
		return shorter(s.opening.queueBy, s.opening.waiting+turnaround)
	}
	return s.opening.queueBy
}

// waitedLong is called when waitDeadline has passed.
func (l *loop) waitedLong(s *session) state {
	target, opening := &s.target.config, s.opening
	if backend := l.collect(s); backend != nil {
		return l.connect(s, backend)
	}
	if opening.queueBy != 0 && l.now >= opening.queueBy {
		return l.fail(s, QueueTimeout, opening.errno)
	}
	// retries bounds one round of tries, the queue's timeout all of them together.
	opening.barred, opening.failures = false, 0
	if !opening.final {
		target.Pool.Forgive(&opening.waiter)
	}
	return l.connectGranted(s)
}

// checkClient ends a session whose client has left before there was a backend to
// tell.
func (l *loop) checkClient(s *session) state {
	if s.ends[client].ready&failed != 0 {
		if errno := sysutil.SocketError(int(s.ends[client].fd)); errno != 0 {
			return l.end(s, ClientReset, errno)
		}
	}
	if s.ends[client].ready&peerClosed != 0 && l.clientLeft(s) {
		return l.end(s, ClientClosed, 0)
	}
	return s.state
}

// clientLeft tells a client that has gone from one that has finished sending and
// waits for its answer. In Postgres a client never does the latter. Elsewhere it
// has sent something first; while a connect is under way it gets the benefit of
// the doubt.
func (l *loop) clientLeft(s *session) bool {
	if s.traits().finEnds {
		return true
	}
	if s.state != stateWaiting && s.state != statePaused || s.halves[client].held != nil {
		return false
	}
	n, errno := sysutil.Peek(int(s.ends[client].fd), l.scratch[:1])
	return n == 0 && errno == 0
}
