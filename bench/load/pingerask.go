package load

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"sluice/sysutil"
)

// sweepWidth bounds the sessions of a sweep that wait at a time, so that no backlog runs over.
const sweepWidth = 64

// connect opens a session, of which the first message is sent at once.
func (p *Pinger) connect(s *ping) {
	fd, err := p.dialer.dial()
	if err != nil {
		s.lost = true
		p.count(err)
		return
	}
	s.fd = fd
	if errno := p.poller.AddConnecting(fd, uint64(s.index)); errno != 0 {
		p.lose(s, fmt.Errorf("watch socket: %w", errno))
		return
	}
	p.ask(s)
}

// ask sends the next message of a session that waits for nothing.
func (p *Pinger) ask(s *ping) {
	s.waits, s.counts, s.sent, s.got = true, p.open, 0, 0
	s.count++
	s.head = makeHead(opExchange, len(p.out), uint64(s.index)<<32|uint64(s.count))
	s.began = p.now()
	p.send(s)
}

func (p *Pinger) send(s *ping) {
	copy(p.out, s.head[:])
	n, errno := sysutil.Send(s.fd, p.out[s.sent:])
	switch {
	case errno == syscall.EAGAIN:
	case errno != 0:
		p.lose(s, errno)
	default:
		s.sent += n
	}
}

func (p *Pinger) step(s *ping, ready sysutil.Ready) {
	if s.waits && s.sent < len(p.out) {
		p.send(s)
	}
	for !s.lost && ready != sysutil.Writable {
		n, errno := sysutil.Recv(s.fd, p.in)
		switch {
		case errno == syscall.EAGAIN:
			return
		case errno != 0:
			p.lose(s, errno)
		case n == 0:
			p.lose(s, errEarlyEnd)
		default:
			p.take(s, p.in[:n])
		}
		if n < len(p.in) && !hangUp(ready) {
			return
		}
	}
}

// take checks bytes of a reply.
func (p *Pinger) take(s *ping, data []byte) {
	if !s.waits || s.got+len(data) > len(p.out) {
		p.lose(s, fmt.Errorf("%w: %d bytes that were not asked for", errWrongBytes, len(data)))
		return
	}
	copy(p.out, s.head[:])
	if err := checkBody(p.out, data, s.got); err != nil {
		p.lose(s, err)
		return
	}
	if s.got += len(data); s.got == len(p.out) {
		p.replied(s)
	}
}

func (p *Pinger) replied(s *ping) {
	s.waits = false
	if s.counts {
		waited := p.now() - s.began
		s.longest = max(s.longest, waited)
		if s.watched {
			p.replies.Record(waited)
		}
	}
	s.counts = false
	p.swept(s)
	if s.watched {
		p.rests = append(p.rests, nap{s, p.now() + p.plan.Rest})
	}
}

// wakeRested lets the watched sessions go on whose rest is over.
func (p *Pinger) wakeRested() {
	for len(p.rests) > 0 && p.rests[0].due <= p.now() {
		s := p.rests[0].session
		p.rests = p.rests[1:]
		if s.watched && s.idle() {
			p.ask(s)
		}
	}
}

// askNext asks those that are not watched, in turn, as many as the rate allows.
func (p *Pinger) askNext() {
	now := p.now()
	p.asked += float64(p.plan.Rate) * (now - p.since).Seconds()
	p.since = now
	const most = 16 // at a time: what a loop that was late has missed is not made up for
	p.asked = min(p.asked, most)
	for tried := 0; p.asked >= 1 && tried < len(p.sessions); tried++ {
		s := p.sessions[p.turn%len(p.sessions)]
		p.turn++
		if !s.watched && s.idle() {
			p.asked--
			p.ask(s)
		}
	}
}

// goOn asks those of a sweep whose turn it is. A session that waits already is asked no second time.
func (p *Pinger) goOn() {
	for len(p.sweep) > 0 && p.sweeping < sweepWidth {
		s := p.sweep[0]
		p.sweep = p.sweep[1:]
		if s.lost {
			continue
		}
		s.swept = true
		p.sweeping++
		switch {
		case s.fd < 0:
			p.connect(s)
		case !s.waits:
			p.ask(s)
		}
		if s.lost {
			p.swept(s)
		}
	}
}

// swept ends the part of a session in a sweep.
func (p *Pinger) swept(s *ping) {
	if s.swept {
		s.swept = false
		p.sweeping--
	}
}

// lose ends a session before its time.
func (p *Pinger) lose(s *ping, err error) {
	sysutil.Close(s.fd)
	if s.counts {
		s.longest = max(s.longest, p.now()-s.began)
	}
	s.lost, s.waits, s.counts = true, false, false
	p.swept(s)
	p.count(fmt.Errorf("session %d, message %d: %w", s.index, s.count, err))
}

func (p *Pinger) count(err error) {
	switch {
	case errors.Is(err, errEarlyEnd):
		p.losses.Ended++
	case errors.Is(err, errWrongBytes):
		p.losses.Wrong++
	default:
		p.losses.Reset++
	}
	if p.losses.First == nil {
		p.losses.First = err
	}
}

// longestWait is how long a session has waited in the window, one that still does included.
func (p *Pinger) longestWait(s *ping) time.Duration {
	if s.counts {
		return max(s.longest, p.now()-s.began)
	}
	return s.longest
}
