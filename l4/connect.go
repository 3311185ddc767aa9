package l4

import (
	"math"
	"syscall"

	"sluice/pool"
	"sluice/sysutil"
)

// dial reserves a backend and starts to connect to it. It goes on to the next
// one when a connect fails at once, and ends the session when there is none.
func (l *loop) dial(s *session) {
	for {
		var tried []*pool.Backend
		if s.opening != nil {
			tried = s.opening.tried
		}
		backend, err := s.target.config.Pool.Reserve(s.client.Addr(), tried)
		if err != nil {
			l.endUndialled(s, err)
			return
		}
		s.backend, s.active, s.retries = backend, l.now, uint8(min(len(tried), math.MaxUint8))
		fd, errno := connectTo(backend.Address())
		if errno == 0 {
			s.ends[server] = newEnd(fd, backend.Address().IsUnix())
			if l.watch(s, server) {
				l.enter(s, stateConnecting)
			}
			return
		}
		if !l.mayRetry(s, dialResult(errno), errno) {
			return
		}
	}
}

func connectTo(address pool.Address) (int, syscall.Errno) {
	if address.IsUnix() {
		sa, err := sysutil.UnixSockaddr(address.Unix)
		if err != nil {
			return -1, syscall.ENAMETOOLONG
		}
		return sysutil.Connect(&sa)
	}
	sa := sysutil.TCPSockaddr(address.TCP)
	return sysutil.Connect(&sa)
}

// endUndialled ends a session for which no backend could be reserved. When a
// connect has failed before, that is the reason, not the lack of another one.
func (l *loop) endUndialled(s *session, err error) {
	switch {
	case s.opening != nil && s.opening.reason != noReason:
		l.end(s, s.opening.reason, s.opening.errno)
	case err == pool.ErrFull:
		l.end(s, QueueFull, 0)
	default:
		l.end(s, NoBackend, 0)
	}
}

// finishConnect is the step of a connecting session.
func (l *loop) finishConnect(s *session) {
	if s.ends[client].ready&failed != 0 {
		if errno := sysutil.SocketError(int(s.ends[client].fd)); errno != 0 {
			l.end(s, ClientReset, errno)
			return
		}
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
	s.connect = l.now - s.active
	l.dialled(s, pool.DialOK)
	if l.sendFirst(s) {
		s.opening = nil
		s.active = l.now
		l.enter(s, stateRelaying)
		l.relay(s)
	}
}

// connectFailed tries another backend after a connect that was under way.
func (l *loop) connectFailed(s *session, result pool.DialResult, errno syscall.Errno) {
	sysutil.Close(int(s.ends[server].fd))
	s.ends[server] = end{fd: -1}
	if l.mayRetry(s, result, errno) {
		l.dial(s)
	}
}

// mayRetry gives back the slot of a failed connect, notes the failure and
// reports whether another backend may be tried. If not, the session has ended.
func (l *loop) mayRetry(s *session, result pool.DialResult, errno syscall.Errno) bool {
	switch {
	case isScarcity(errno):
		l.restAll(errno)
	case isPortless(errno):
		s.backend.Dialed(result) // no evidence against the backend, so OnDial is not told
	default:
		l.dialled(s, result)
	}
	s.backend.Release()
	opening := s.open()
	opening.tried = append(opening.tried, s.backend)
	opening.reason, opening.errno = connectReason(result), errno
	s.backend = nil
	if isScarcity(errno) || len(opening.tried) > s.target.config.Retries {
		l.end(s, opening.reason, errno)
		return false
	}
	return true
}

// dialled reports how a connect to s.backend went.
func (l *loop) dialled(s *session, result pool.DialResult) {
	s.backend.Dialed(result)
	if l.server.config.OnDial != nil {
		l.server.config.OnDial(s.backend, l.now-s.active, result)
	}
}

// isPortless reports whether a connect failed because this machine has no
// address or no free port to connect from. Ports are chosen per destination, so
// another backend may well be reached.
func isPortless(errno syscall.Errno) bool {
	return errno == syscall.EADDRNOTAVAIL || errno == syscall.EADDRINUSE
}

// isScarcity reports whether the process or the machine is out of descriptors
// or memory: another backend would fail the same way.
func isScarcity(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
		return true
	}
	return false
}

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
