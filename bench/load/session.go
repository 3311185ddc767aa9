package load

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"sluice/sysutil"
)

type state uint8

// The states of a session. It is sending from the moment connect(2) returned:
// a send on a socket that is still connecting answers EAGAIN.
const (
	sending state = iota
	receiving
	refusing  // awaits its end, has nothing to send
	held      // nothing may arrive
	resting   // likewise, until its pause is over
	finishing // an upload awaits the backend's count
	ended
)

// session is one client connection, or with Connect and Refused one after the other.
type session struct {
	fd          int
	index       uint32
	generation  uint32 // counts the connections of this slot
	state       state
	established bool
	queued      bool
	hungUp      bool // FIN or an error has been announced: read to the end
	sent, got   int  // of the current message
	exchanges   uint32
	pos         uint64 // of the stream
	began       time.Duration
	head        head
}

var errEarlyEnd = errors.New("connection ended early")

func (l *loop) open(s *session) {
	if l.flow.brief() {
		s.began = l.now()
	}
	fd, err := l.run.dialer.dial()
	if err != nil {
		s.state = ended
		l.fail(s, err)
		return
	}
	s.generation++
	s.fd, s.pos, s.hungUp = fd, 0, false
	if errno := l.poller.AddConnecting(fd, uint64(s.index)|uint64(s.generation)<<32); errno != 0 {
		l.fail(s, fmt.Errorf("watch socket: %w", errno))
		return
	}
	if l.flow.Work == Refused {
		s.state = refusing
		s.exchanges++
		return
	}
	l.ask(s)
}

// ask sends the next message.
func (l *loop) ask(s *session) {
	s.state, s.sent, s.got = sending, 0, 0
	s.exchanges++
	tag := uint64(l.flowIndex)<<56 | uint64(s.index)<<32 | uint64(s.exchanges)
	if l.flow.ServerName != "" {
		s.head = helloHead(l.out, tag)
	} else {
		s.head = makeHead(l.flow.op(), len(l.out), tag)
	}
	if !l.flow.brief() {
		s.began = l.now()
	}
	l.send(s)
}

func (l *loop) send(s *session) {
	copy(l.out, s.head[:])
	n, errno := sysutil.Send(s.fd, l.out[s.sent:])
	if errno == syscall.EAGAIN {
		return
	}
	if errno != 0 {
		l.fail(s, errno)
		return
	}
	s.sent += n
	if s.sent == len(l.out) {
		s.state = receiving
		if l.flow.Work == Upload {
			l.upload(s)
		}
	}
}

// step does what a session can do now; ready is what epoll said, 0 for a session whose turn was over before.
func (l *loop) step(s *session, ready sysutil.Ready) {
	s.hungUp = s.hungUp || hangUp(ready)
	if s.state == sending {
		l.send(s)
		if s.state != receiving || ready&sysutil.Readable == 0 {
			return
		}
	}
	switch {
	case s.state == refusing && ready != sysutil.Writable:
		l.awaitRefusal(s)
	case l.flow.Work == Download:
		l.download(s)
	case l.flow.Work == Upload && s.state != finishing:
		l.upload(s)
	case ready != sysutil.Writable:
		l.receive(s)
	}
}

// hangUp reports whether ready announces more than bytes or room for them. A short read means an empty socket only
// until then: a FIN that came with the bytes brings no event of its own, and its bit may come with an event that the
// session's turn did not exhaust, so sessions remember it.
func hangUp(ready sysutil.Ready) bool {
	return ready&^(sysutil.Readable|sysutil.Writable) != 0
}

// recv reads once into l.in. 0 means that nothing is there, or that the session has failed.
func (l *loop) recv(s *session) int {
	n, errno := sysutil.Recv(s.fd, l.in)
	switch {
	case errno == syscall.EAGAIN:
	case errno != 0:
		l.fail(s, errno)
	case n == 0:
		l.fail(s, errEarlyEnd)
	}
	return n
}

// receive reads until the socket is empty.
func (l *loop) receive(s *session) {
	generation := s.generation
	for s.generation == generation && s.state != ended {
		n := l.recv(s)
		if n == 0 {
			return
		}
		l.take(s, l.in[:n])
		if n < len(l.in) && !s.hungUp {
			return
		}
	}
}

// take checks received bytes of a reply.
func (l *loop) take(s *session, data []byte) {
	if s.state == finishing {
		l.takeCount(s, data)
		return
	}
	if s.state != receiving || s.got+len(data) > len(l.out) {
		l.fail(s, fmt.Errorf("%w: %d bytes that were not asked for", errWrongBytes, len(data)))
		return
	}
	if s.got < headSize {
		n := min(len(data), headSize-s.got)
		if string(data[:n]) != string(s.head[s.got:s.got+n]) {
			l.fail(s, fmt.Errorf("%w: reply begins % x, want % x", errHead, data[:n], s.head[s.got:s.got+n]))
			return
		}
		s.got += n
		data = data[n:]
	}
	if err := checkBody(l.out, data, s.got); err != nil {
		l.fail(s, err)
		return
	}
	s.got += len(data)
	if s.got == len(l.out) {
		l.replied(s)
	}
}

// replied counts a complete exchange, or a refusal, and goes on with the next.
func (l *loop) replied(s *session) {
	if l.measuring() {
		l.latency.Record(l.now() - s.began)
	}
	l.replies.Add(1)
	l.answered(s)
	switch {
	case l.draining:
		l.end(s)
	case l.flow.Work == Hold:
		s.state = held
	case l.flow.brief():
		l.disconnect(s)
		l.open(s)
	case l.flow.Pause > 0:
		s.state = resting
		l.rests = append(l.rests, rest{s, l.now() + l.flow.Pause})
	default:
		l.ask(s)
	}
}

// answered counts a session once as established.
func (l *loop) answered(s *session) {
	if !s.established {
		s.established = true
		l.run.established.Add(1)
	}
}

func (l *loop) end(s *session) {
	l.disconnect(s)
	s.state = ended
	l.live.Add(-1)
}

func (l *loop) fail(s *session, err error) {
	l.run.fail(fmt.Errorf("session %d, message %d: %w", s.index, s.exchanges, err))
	if s.state != ended {
		l.end(s)
	}
}
