package load

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"sluice/sysutil"
)

// download receives one turn of the backend's stream.
func (l *loop) download(s *session) {
	for moved := 0; moved < turn; {
		n := l.recv(s)
		if n == 0 {
			return
		}
		if err := checkStream(l.pat, l.in[:n], s.pos); err != nil {
			l.fail(s, err)
			return
		}
		s.pos += uint64(n)
		moved += n
		l.countBytes(n)
		l.answered(s)
		if n < len(l.in) && !s.hungUp {
			return
		}
	}
	l.queueAgain(s)
}

// upload sends one turn of the stream.
func (l *loop) upload(s *session) {
	for moved := 0; moved < turn; {
		if l.draining {
			l.finishUpload(s)
			return
		}
		n, errno := sysutil.Send(s.fd, l.pat[s.pos%period:][:chunk])
		switch {
		case errno == syscall.EAGAIN:
			return
		case errno != 0:
			l.fail(s, errno)
			return
		}
		s.pos += uint64(n)
		moved += n
		l.countBytes(n)
		// The kernel's buffers take this much without any backend: only
		// what lies beyond them shows that the stream flows.
		if s.pos > uploadFlows {
			l.answered(s)
		}
	}
	l.queueAgain(s)
}

// uploadFlows is more than the socket buffers between client and backend hold at first.
const uploadFlows = 8 << 20

// finishUpload sends FIN and awaits the backend's count.
func (l *loop) finishUpload(s *session) {
	if s.state != receiving {
		l.fail(s, fmt.Errorf("end upload: connection not established"))
		return
	}
	s.state, s.got = finishing, 0
	if errno := sysutil.CloseWrite(s.fd); errno != 0 {
		l.fail(s, fmt.Errorf("end upload: %w", errno))
	}
}

// takeCount compares the backend's count with what was sent: the backend has
// compared the bytes, so equal counts prove that none is missing.
func (l *loop) takeCount(s *session, data []byte) {
	if s.got+len(data) > countSize {
		l.fail(s, fmt.Errorf("%w: count of more than %d bytes", errWrongBytes, countSize))
		return
	}
	copy(s.head[s.got:], data)
	if s.got += len(data); s.got < countSize {
		return
	}
	if count := binary.LittleEndian.Uint64(s.head[:]); count != s.pos {
		l.fail(s, fmt.Errorf("%w: backend received %d of %d bytes", errWrongBytes, count, s.pos))
		return
	}
	l.end(s)
}

func (l *loop) countBytes(n int) {
	if l.measuring() {
		l.bytes += uint64(n)
	}
}
