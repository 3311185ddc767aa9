package l4

import (
	"cmp"
	"math"
	"slices"
	"syscall"
	"time"

	"sluice/l4/pgwire"
	"sluice/pool"
	"sluice/sysutil"
)

// dial reserves a backend and starts to connect to it. It goes on to the next
// one when a connect fails at once. A session for which there is none waits in
// the pool's queue or ends.
func (l *loop) dial(s *session) state {
	for {
		backend, err := s.target.config.Pool.Reserve(s.client.Addr(), s.failedOn())
		if err != nil {
			var next state
			if backend, next = l.wait(s); backend == nil {
				return next
			}
		}
		if next := l.connect(s, backend); next != stateDialling {
			return next
		}
	}
}

// connect starts to connect to a backend whose slot s has taken.
func (l *loop) connect(s *session, backend *pool.Backend) state {
	s.backend, s.active, s.connect, s.untimed = backend, l.now, 0, true
	s.attempt++
	if s.opening != nil {
		l.beginTry(s)
	}
	local := s.packet() != nil && backend.Address().IsLocal()
	var began time.Duration
	if local {
		began = l.server.clock()
	}
	target := s.dialTarget()
	fd, errno := target.connect()
	if errno != 0 {
		return l.dialFailed(s, dialResult(errno), errno)
	}
	s.ends[server] = newEnd(fd, target.isUnix)
	// On one machine a connection is made while connect(2) is at it. That is worth
	// asking when there is something to send.
	if local && sysutil.IsConnected(fd) {
		s.ends[server].connected()
		s.connect = l.server.clock() - began // the loop's own clock stands still meanwhile
	}
	if errno := l.watch(s, server); errno != 0 {
		return l.end(s, ConnectFailed, errno)
	}
	return stateConnecting
}

// beginTry readies the first bytes of a session, and its account of tries, for a connect.
func (l *loop) beginTry(s *session) {
	o := s.opening
	if o.secured {
		o.packet, o.kind = pgwire.AskTLS, pgwire.SSLRequest // its ClientHello comes after the answer
	}
	if o.last != nil && o.obstacle == nil {
		s.retries = min(s.retries, math.MaxUint8-1) + 1
		s.target.retries.Add(1)
	}
	if o.connectBy <= l.now {
		o.connectBy = 0 // a connect had all the time, for want of another backend; now there is one
	}
	o.lone = false
}

// failedOn returns the backends that s has failed on.
func (s *session) failedOn() []*pool.Backend {
	if s.opening == nil {
		return nil
	}
	return s.opening.waiter.Tried
}

// endUndialled ends a session for which there is no backend and no place to
// wait. When it has failed on a backend before, that is the reason, not the lack
// of another one.
func (l *loop) endUndialled(s *session, err error) state {
	switch {
	case s.opening != nil && s.opening.reason != noReason:
		return l.fail(s, s.opening.reason, s.opening.errno)
	case err == pool.ErrNoBackend:
		return l.fail(s, NoBackend, 0)
	}
	return l.fail(s, QueueFull, 0)
}

// connectBy is when the connects of s must be over, all together; zero = never. After
// a wait, what is left of the queue's time bounds them too.
func (s *session) connectBy() time.Duration {
	at := after(s.active, s.target.config.ConnectTimeout)
	if s.opening == nil {
		return at
	}
	if s.opening.connectBy != 0 {
		at = s.opening.connectBy
	}
	if end := s.opening.queueBy; end != 0 && (at == 0 || end < at) {
		return min(max(end, s.active+leastConnect), cmp.Or(at, math.MaxInt64))
	}
	return at
}

// connectDeadline is when the present connect has had its even share of the time
// for all of them; zero = never.
func (s *session) connectDeadline() time.Duration {
	whole, left := s.connectBy(), s.target.config.Retries+1
	if s.opening != nil {
		left -= s.opening.failures
	}
	if whole == 0 || s.isLone() {
		return whole
	}
	left = s.untried(max(left, 1))
	return min(s.active+max((whole-s.active)/time.Duration(left), leastConnect), whole)
}

// untried returns how many backends, from 1 to limit, are left to try, the present one
// included. Those that s has failed on may have been removed since.
func (s *session) untried(limit int) (n int) {
	failed, all := s.failedOn(), s.target.config.Pool.Backends()
	if len(failed) == 0 {
		return max(min(limit, len(all)), 1)
	}
	for _, b := range all {
		if !slices.Contains(failed, b) {
			if n++; n == limit {
				break
			}
		}
	}
	return max(n, 1)
}

// leastConnect is time enough for a SYN that is lost: the kernel sends the next one
// after a second.
const leastConnect = 1300 * time.Millisecond

// isLone reports whether the backend of s may take all the time that is left, because
// there was no other one to try when it had had its share.
func (s *session) isLone() bool { return s.opening != nil && s.opening.lone }

// connectLate is called when a connect has had its share of the time. While there
// is no other backend to try it may have the rest.
func (l *loop) connectLate(s *session) state {
	if l.now < s.connectBy() && !s.target.config.Pool.HasOther(s.backend, s.failedOn()) {
		l.open(s).lone = true
		return stateConnecting
	}
	return l.connectFailed(s, pool.DialTimeout, syscall.ETIMEDOUT)
}

// finishConnect sees whether the connection is made.
func (l *loop) finishConnect(s *session) state {
	if l.checkClient(s) == stateClosed {
		return stateClosed
	}
	ready := s.ends[server].ready
	if ready&failed != 0 {
		if errno := sysutil.SocketError(int(s.ends[server].fd)); errno != 0 {
			return l.connectFailed(s, dialResult(errno), errno)
		}
	}
	if ready&writable == 0 {
		return stateConnecting
	}
	if l.metItself(s) {
		return l.connectFailed(s, pool.DialRefused, syscall.ECONNREFUSED) // nobody listens there
	}
	s.connect = max(l.now-s.active, s.connect, 1)
	l.dialled(s, pool.DialOK, s.connect)
	l.guardLater(s)
	return stateSending
}

// connectFailed goes on after a connect that was under way.
func (l *loop) connectFailed(s *session, result pool.DialResult, errno syscall.Errno) state {
	l.closeServer(s)
	return l.dialFailed(s, result, errno)
}

// closeServer closes the connection to a backend that has passed nothing on yet,
// and forgets what was on its way there: the first packet is sent again.
func (l *loop) closeServer(s *session) {
	if fd := int(s.ends[server].fd); fd >= 0 {
		sysutil.Close(fd)
	}
	s.ends[server] = end{fd: -1}
	s.halves[server] = half{bytes: s.halves[server].bytes}
	if s.packet() != nil {
		s.opening.answer = nil
		l.releaseBytes(&s.halves[client])
	}
}

// dialFailed notes that a connect has failed and goes on, to another backend if it may.
func (l *loop) dialFailed(s *session, result pool.DialResult, errno syscall.Errno) state {
	if kind := pool.ObstacleOf(errno); kind != pool.NoObstacle {
		return l.obstructed(s, kind, errno)
	}
	l.dialled(s, result, l.now-s.active)
	return l.backendFailed(s, connectReason(result), errno)
}

// backendFailed gives back the slot of a backend that s has failed on. The session tries
// another one, waits for the next round of tries, or ends.
func (l *loop) backendFailed(s *session, reason Reason, errno syscall.Errno) state {
	opening, config := l.open(s), &s.target.config
	opening.connectBy = cmp.Or(opening.connectBy, after(s.active, config.ConnectTimeout))
	// A server that has been shown a ClientHello and hangs up will do so in a second,
	// too. Not one that has said before that it will speak TLS: it may be shutting down.
	final := errno == errnoProtocol || s.state == stateAnswering && opening.kind == packetHello && !opening.secured
	l.noteTry(s, reason, errno)
	stuck := final && !config.Pool.MayHaveOther(s.backend, s.failedOn())
	opening.final = opening.final || final
	s.backend.Release()
	opening.waiter.Tried = append(opening.waiter.Tried, s.backend)
	opening.forgivePassed()
	opening.obstacle = nil
	opening.last, opening.barred = s.backend, true
	opening.failures++
	opening.reason, opening.errno = reason, errno
	s.backend = nil
	switch {
	case stuck:
		return l.fail(s, reason, errno)
	case opening.failures <= config.Retries:
		return stateDialling
	case config.Pool.QueueMax() == 0, final:
		return l.fail(s, reason, errno)
	}
	return l.waitForRetry(s)
}

// mayFail reports whether s has somewhere to go if its backend fails it now.
func (l *loop) mayFail(s *session) bool {
	return s.opening.failures < s.target.config.Retries || s.target.config.Pool.QueueMax() > 0
}

// dialled reports how a connect to s.backend went, and how long it took.
func (l *loop) dialled(s *session, result pool.DialResult, took time.Duration) {
	s.backend.Dialed(result)
	if l.server.config.OnDial != nil {
		l.server.config.OnDial(s.backend, took, result)
	}
}

// errnoProtocol stands for a backend that answers what it must not.
const errnoProtocol = syscall.EPROTO

func dialResult(errno syscall.Errno) pool.DialResult {
	switch errno {
	case 0:
		return pool.DialOK
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ENOENT:
		return pool.DialRefused
	case syscall.ETIMEDOUT:
		return pool.DialTimeout
	}
	return pool.DialError
}

func connectReason(result pool.DialResult) Reason {
	switch result {
	case pool.DialRefused:
		return ConnectRefused
	case pool.DialTimeout:
		return ConnectTimeout
	}
	return ConnectFailed
}
