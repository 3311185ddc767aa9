package load

import (
	"fmt"
	"syscall"

	"sluice/sysutil"
)

// awaitRefusal takes the end of a connection that has said nothing. Only what
// comes after the handshake counts: ECONNREFUSED means that nobody listens.
func (l *loop) awaitRefusal(s *session) {
	n, errno := sysutil.Recv(s.fd, l.in)
	switch {
	case errno == syscall.EAGAIN:
	case errno == syscall.ECONNRESET, errno == 0 && n == 0:
		l.replied(s)
	case errno != 0:
		l.fail(s, errno)
	default:
		l.fail(s, fmt.Errorf("%w: %d bytes in place of a refusal", errWrongBytes, n))
	}
}

// disconnect closes the connection of a session. A refused one is reset, for who
// refuses with a FIN would otherwise be left with a socket in TIME_WAIT.
func (l *loop) disconnect(s *session) {
	if l.flow.Work == Refused {
		sysutil.Reset(s.fd)
		return
	}
	sysutil.Close(s.fd)
}
