package l4

import (
	"cmp"
	"math"
	"syscall"
	"time"

	"sluice/l4/pgwire"
	"sluice/pool"
	"sluice/sysutil"
)

// dial reserves a backend and starts to connect to it. It goes on to the next
// one when a connect fails at once. A session for which there is none waits in
// the pool's queue or ends.
func (l *loop) dial(s *session) {
	for {
		backend, err := s.target.config.Pool.Reserve(s.client.Addr(), s.failedOn())
		if err != nil {
			backend = l.wait(s)
		}
		if backend == nil || !l.connect(s, backend) {
			return
		}
	}
}

// connect starts to connect to a backend whose slot s has taken. It reports
// whether that failed at once and another one may be tried.
func (l *loop) connect(s *session, backend *pool.Backend) (again bool) {
	s.backend, s.active, s.connect = backend, l.now, 0
	l.pass(s, stateConnecting) // from here on the slot is the session's, not its waiter's
	s.attempt++
	if o := s.opening; o != nil {
		if o.obstacle != nil {
			o.obstacle.again = 0
		}
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
	}
	local := s.packet() != nil && backend.Address().IsLocal()
	var began time.Duration
	if local {
		began = l.server.clock()
	}
	target := s.dialTarget()
	fd, errno := target.connect()
	if errno != 0 {
		return l.mayRetryDial(s, dialResult(errno), errno)
	}
	s.ends[server] = newEnd(fd, target.isUnix)
	// On one machine a connection is made while connect(2) is at it. That is worth
	// asking when there is something to send.
	made := local && sysutil.IsConnected(fd)
	if made {
		s.ends[server].connected()
		s.connect = l.server.clock() - began // the loop's own clock stands still meanwhile
	}
	switch {
	case !l.watch(s, server):
	case made:
		l.finishConnect(s)
	default:
		l.rearm(s)
	}
	return false
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
func (l *loop) endUndialled(s *session, err error) {
	switch {
	case s.opening != nil && s.opening.reason != noReason:
		l.fail(s, s.opening.reason, s.opening.errno)
	case err == pool.ErrNoBackend:
		l.fail(s, NoBackend, 0)
	default:
		l.fail(s, QueueFull, 0)
	}
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
	if s.putOff() {
		return s.opening.obstacle.again
	}
	whole, left := s.connectBy(), s.target.config.Retries+1
	if s.opening != nil {
		left -= s.opening.failures
	}
	if whole == 0 {
		return 0
	}
	left = max(min(left, len(s.target.config.Pool.Backends())-len(s.failedOn())), 1)
	return min(s.active+max((whole-s.active)/time.Duration(left), leastConnect), whole)
}

// leastConnect is time enough for a SYN that is lost: the kernel sends the next one
// after a second.
const leastConnect = 1300 * time.Millisecond

// connectLate is called when a connect has had its share of the time. While there
// is no other backend to try it may have the rest.
func (l *loop) connectLate(s *session) {
	if s.putOff() {
		l.tryAgain(s)
		return
	}
	whole := s.connectBy()
	if l.now < whole && !s.target.config.Pool.HasOther(s.backend, s.failedOn()) {
		l.timers.set(s.slot, whole)
		return
	}
	l.connectFailed(s, pool.DialTimeout, syscall.ETIMEDOUT)
}

// finishConnect is the step of a connecting session.
func (l *loop) finishConnect(s *session) {
	if !l.heedClient(s) || s.putOff() {
		return
	}
	ready := s.ends[server].ready
	if ready&failed != 0 {
		if errno := sysutil.SocketError(int(s.ends[server].fd)); errno != 0 {
			l.connectFailed(s, dialResult(errno), errno)
			return
		}
	}
	if ready&writable != 0 {
		l.connected(s)
	}
}

func (l *loop) connected(s *session) {
	if l.metItself(s) {
		l.connectFailed(s, pool.DialRefused, syscall.ECONNREFUSED) // nobody listens there
		return
	}
	s.connect = max(l.now-s.active, s.connect, 1)
	l.dialled(s, pool.DialOK, s.connect)
	l.guardLater(s)
	if s.packet() != nil {
		l.sendPacket(s)
		return
	}
	if l.sendFirst(s) {
		s.active = l.now
		l.begun(s)
	}
}

// connectFailed tries another backend after a connect that was under way.
func (l *loop) connectFailed(s *session, result pool.DialResult, errno syscall.Errno) {
	l.closeServer(s)
	if l.mayRetryDial(s, result, errno) {
		l.dial(s)
	}
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

// mayRetryDial notes that a connect has failed and reports whether another
// backend may be tried. If not, the session has ended, or waits.
func (l *loop) mayRetryDial(s *session, result pool.DialResult, errno syscall.Errno) bool {
	if kind := pool.ObstacleOf(errno); kind != pool.NoObstacle {
		return l.obstructed(s, kind, errno)
	}
	l.dialled(s, result, l.now-s.active)
	return l.mayRetry(s, connectReason(result), errno)
}

// mayRetry gives back the slot of a backend that s has failed on and reports
// whether another one may be tried now. If not, the session has ended, or waits for
// the next round of tries.
func (l *loop) mayRetry(s *session, reason Reason, errno syscall.Errno) bool {
	opening, config := l.open(s), &s.target.config
	if opening.connectBy == 0 {
		opening.connectBy = after(s.active, config.ConnectTimeout)
	}
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
		l.fail(s, reason, errno)
	case opening.failures <= config.Retries:
		return true
	case config.Pool.QueueMax() == 0, final:
		l.fail(s, reason, errno)
	default:
		l.sitOut(s)
	}
	return false
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
