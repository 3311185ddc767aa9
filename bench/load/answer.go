package load

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"sluice/sysutil"
)

// opEnded marks a session that is closed; zero stands for one whose first message has not come yet.
const opEnded = 0xff

// answer is the backend's side of a session.
type answer struct {
	fd       int
	op       byte
	headed   bool // the PROXY header, if any, has been skipped
	replying bool // a reply is partly unsent, and nothing is read meanwhile
	queued   bool
	hungUp   bool // FIN or an error has been announced: read to the end
	size     int
	got      int // of the current request
	sent     int // of the current reply
	pos      uint64
	head     head
	partial  []byte // of a PROXY header that came in pieces
	hello    []byte // a ClientHello is sent back as it came
}

// step does what the session can do now; ready is what epoll said, 0 for one whose turn was over before.
func (l *backendLoop) step(s *answer, ready sysutil.Ready) {
	s.hungUp = s.hungUp || hangUp(ready)
	if s.op == opDownload {
		l.pour(s)
		return
	}
	if s.replying && !l.reply(s) {
		return
	}
	for moved := 0; moved < turn; {
		n, errno := sysutil.Recv(s.fd, l.in)
		if errno == syscall.EAGAIN {
			return
		}
		if errno != 0 || n == 0 {
			l.finish(s, errno)
			return
		}
		moved += n
		if !l.take(s, l.in[:n]) {
			return
		}
		if n < len(l.in) && !s.hungUp {
			return
		}
	}
	l.queueAgain(s)
}

// finish answers the client's FIN. Resets are the client's right.
func (l *backendLoop) finish(s *answer, errno syscall.Errno) {
	if errno == 0 && s.op == opUpload {
		var count [countSize]byte
		binary.LittleEndian.PutUint64(count[:], s.pos)
		// Nothing was sent before, so the socket takes it whole.
		sysutil.Send(s.fd, count[:])
	}
	l.end(s)
}

// take uses received bytes; false means that reading must stop: the session
// has ended, waits for room to reply, or belongs to another loop now.
func (l *backendLoop) take(s *answer, data []byte) bool {
	if !s.headed {
		var err error
		if data, err = s.skipProxyHeader(data); err != nil {
			l.refuse(s, err)
			return false
		}
	}
	if s.op == opUpload {
		return l.takeStream(s, data)
	}
	if len(data) == 0 {
		return true
	}
	return l.takeMessage(s, data)
}

func (s *answer) skipProxyHeader(data []byte) ([]byte, error) {
	if s.partial != nil {
		data = append(s.partial, data...)
	}
	n, err := proxyHeader(data)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		s.partial = append([]byte(nil), data...)
		return nil, nil
	}
	s.headed, s.partial = true, nil
	return data[n:], nil
}

func (l *backendLoop) takeMessage(s *answer, data []byte) bool {
	if s.got < headSize {
		n := copy(s.head[s.got:], data)
		s.got += n
		if s.got < headSize {
			return true
		}
		data = data[n:]
		if err := s.parseHead(); err != nil {
			l.refuse(s, err)
			return false
		}
		if s.op == opDownload || s.op == opUpload {
			return l.startStream(s, data)
		}
	}
	if s.got+len(data) > s.size {
		l.refuse(s, fmt.Errorf("%w: %d bytes after a request", errWrongBytes, s.got+len(data)-s.size))
		return false
	}
	if s.op == opHello {
		s.hello = append(s.hello, data...)
	} else if err := checkBody(l.pat, data, s.got); err != nil {
		l.refuse(s, err)
		return false
	}
	s.got += len(data)
	if s.got < s.size {
		return true
	}
	s.got, s.sent = 0, 0
	return l.reply(s)
}

// parseHead reads a complete head: the first decides what the session does, the later ones must say the same.
func (s *answer) parseHead() error {
	op, size, err := s.head.parse()
	if err != nil {
		return err
	}
	if s.op != 0 && (op != s.op || size != s.size) {
		return fmt.Errorf("%w: session of %d byte messages got % x", errHead, s.size, s.head[:])
	}
	s.op, s.size = op, size
	if op == opHello {
		s.hello = append(s.hello[:0], s.head[:]...)
	}
	return nil
}

// reply sends what is left of the reply; false: it waits for room, or the session has ended.
func (l *backendLoop) reply(s *answer) bool {
	out := l.out
	if s.op == opHello {
		out = s.hello
	} else {
		copy(out, s.head[:])
	}
	n, errno := sysutil.Send(s.fd, out[s.sent:s.size])
	if errno != 0 && errno != syscall.EAGAIN {
		l.end(s)
		return false
	}
	s.sent += n
	s.replying = s.sent < s.size
	return !s.replying
}

// startStream moves the session to a loop for streams, where bulk work does not delay exchanges.
func (l *backendLoop) startStream(s *answer, rest []byte) bool {
	if s.op == opUpload && !l.takeStream(s, rest) {
		return false
	}
	if s.op == opDownload && len(rest) > 0 {
		l.refuse(s, fmt.Errorf("%w: %d bytes after a download's head", errWrongBytes, len(rest)))
		return false
	}
	l.handOver(s, l.backend.streamLoop())
	return false
}

func (l *backendLoop) takeStream(s *answer, data []byte) bool {
	if err := checkStream(l.pat, data, s.pos); err != nil {
		l.refuse(s, err)
		return false
	}
	s.pos += uint64(len(data))
	return true
}

// pour sends one turn of a download.
func (l *backendLoop) pour(s *answer) {
	for moved := 0; moved < turn; {
		n, errno := sysutil.Send(s.fd, l.pat[s.pos%period:][:chunk])
		if errno == syscall.EAGAIN {
			return
		}
		if errno != 0 {
			l.end(s)
			return
		}
		s.pos += uint64(n)
		moved += n
	}
	l.queueAgain(s)
}
