package l4

import (
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
// returns a backend when one came free meanwhile; on nil the session waits or
// has ended.
func (l *loop) wait(s *session) *pool.Backend {
	opening := l.open(s)
	w := &opening.waiter
	w.Client = s.client.Addr()
	if w.Granted == nil {
		inbox, token := &l.inbox, s.token(client)
		w.Granted = func() { inbox.post(message{kind: slotGranted, token: token}) }
	}
	backend, waiting, err := s.target.config.Pool.ReserveOrWait(w)
	switch {
	case waiting:
		opening.waiting, opening.connectBy = l.now, 0
		if opening.queueBy == 0 {
			opening.queueBy = after(l.now, s.target.config.QueueTimeout)
		}
		l.enter(s, stateWaiting)
		l.heedClient(s)
	case err != nil:
		l.endUndialled(s, err)
	}
	return backend
}

// sitOut lets a session wait that has failed as often as it may in one round of
// tries: barred from every backend, for a turnaround or until one comes up.
func (l *loop) sitOut(s *session) {
	s.opening.waiter.Tried = slices.Clone(s.target.config.Pool.Backends())
	l.wait(s)
}

// slotGranted goes on with a session that has got a backend, unless it has left.
func (l *loop) slotGranted(t token) {
	if s := l.sessions.find(t); s != nil && s.state == stateWaiting {
		l.collect(s)
	}
}

// collect connects s to the backend it was granted. It reports whether there is
// one.
func (l *loop) collect(s *session) bool {
	backend := s.target.config.Pool.Collect(&s.opening.waiter)
	if backend == nil {
		return false
	}
	s.waited += l.waitOver(s)
	if l.connect(s, backend) {
		l.dial(s)
	}
	return true
}

// waitOver reports how long a session's wait took that is over, to whoever wants to know.
func (l *loop) waitOver(s *session) time.Duration {
	took := l.now - s.opening.waiting
	if l.server.config.OnWait != nil {
		l.server.config.OnWait(s.target.config.Pool, took)
	}
	return took
}

// waitDeadline is when a session's wait ends, or when the backends it has failed
// on get another chance.
func (s *session) waitDeadline() time.Duration {
	at := s.opening.queueBy
	if retry := s.opening.waiting + turnaround; s.opening.barred && (at == 0 || retry < at) {
		return retry
	}
	return at
}

// waitedLong is called when waitDeadline has passed.
func (l *loop) waitedLong(s *session) {
	target, opening := &s.target.config, s.opening
	if l.collect(s) {
		return
	}
	if opening.queueBy != 0 && l.now >= opening.queueBy {
		l.fail(s, QueueTimeout, opening.errno)
		return
	}
	// retries bounds one round of tries, the queue's timeout all of them together.
	opening.barred, opening.failures = false, 0
	if !opening.final {
		target.Pool.Forgive(&opening.waiter)
	}
	l.rearm(s)
	l.collect(s)
}

// heedClient ends a session whose client has left before there was a backend to
// tell.
func (l *loop) heedClient(s *session) (here bool) {
	if s.ends[client].ready&failed != 0 {
		if errno := sysutil.SocketError(int(s.ends[client].fd)); errno != 0 {
			l.end(s, ClientReset, errno)
			return false
		}
	}
	if s.ends[client].ready&peerClosed != 0 && l.clientLeft(s) {
		l.end(s, ClientClosed, 0)
		return false
	}
	return true
}

// clientLeft tells a client that has gone from one that has finished sending and
// waits for its answer. In Postgres a client never does the latter. Elsewhere it
// has sent something first; while a connect is under way it gets the benefit of
// the doubt.
func (l *loop) clientLeft(s *session) bool {
	if s.listener.config.Protocol == ProtocolPostgres {
		return true
	}
	if s.state != stateWaiting && !s.putOff() || s.halves[client].held != nil {
		return false
	}
	n, errno := sysutil.Peek(int(s.ends[client].fd), l.scratch[:1])
	return n == 0 && errno == 0
}
