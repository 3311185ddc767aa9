package l4

import (
	"io"
	"slices"
	"syscall"

	"sluice/l4/tlshello"
)

// readHello reads the client's first bytes, which say where it goes.
func (l *loop) readHello(s *session) state {
	for {
		if s.backend != nil && s.ends[server].ready&(peerClosed|failed) != 0 {
			l.dropBackend(s) // it had nothing more to say than that it does not encrypt
		}
		inTLS := s.comesInTLS()
		try := l.tryPacket
		if inTLS {
			try = l.tryHello
		}
		switch next, size, err := try(s); {
		case err == io.ErrUnexpectedEOF:
			if n, next := l.readMore(s, size, inTLS); n == 0 {
				return next
			}
		case err != nil:
			return l.noHello(s, err)
		case next != stateReadHello:
			return next
		}
	}
}

// readInput reads once, at most so many bytes.
func (l *loop) readInput(s *session, most int) (n int, errno syscall.Errno) {
	n, errno = receive(&s.halves[client], &s.ends[client], l.scratch[:min(most, len(l.scratch))])
	if n > 0 {
		opening := l.open(s)
		opening.input = append(opening.input, l.scratch[:n]...)
	}
	return n, errno
}

// comesInTLS reports whether a ClientHello is what is expected.
func (s *session) comesInTLS() bool {
	if s.traits().hello || s.opening != nil && s.opening.secured {
		return true
	}
	input := s.input()
	return s.rules.targets.byTLS && len(input) > 0 && input[0] == tlshello.RecordHandshake // without asking, as from Postgres 17 on
}

// helloRead is one read while a ClientHello is awaited: most fit.
const helloRead = 16 << 10

// readMore reads what the client has sent, when size bytes of input are wanted at
// least. Of Postgres in clear it never reads beyond them: what follows a packet is not
// sluice's to know, and stays in the kernel. When nothing has come it returns the state
// in which the session is then.
func (l *loop) readMore(s *session, size int, inTLS bool) (n int, next state) {
	h, src := &s.halves[client], &s.ends[client]
	have := len(s.input())
	if inTLS {
		size = max(size, have+helloRead)
	}
	for src.ready&readable != 0 && !h.eof {
		n, errno := l.readInput(s, size-have)
		if errno != 0 {
			return 0, l.end(s, ClientReset, errno)
		}
		if n > 0 {
			return n, stateReadHello
		}
	}
	switch {
	case h.eof && have == 0:
		return 0, l.end(s, ClientClosed, 0) // a port check, or a client that wants no clear text
	case h.eof:
		return 0, l.noHello(s, io.ErrUnexpectedEOF)
	}
	return 0, stateReadHello
}

// input is what was read of the client and not yet made sense of.
func (s *session) input() []byte {
	if s.opening == nil {
		return nil
	}
	return s.opening.input
}

// noHello ends a session whose first bytes are not what they should be, unless the
// listener has a pool for those.
func (l *loop) noHello(s *session, err error) state {
	if alert, ok := tlshello.AlertFor(err); ok {
		l.open(s).alert = alert
	}
	return l.fallBack(s, HelloInvalid)
}

// helloLate is called when the first bytes did not come in time.
func (l *loop) helloLate(s *session) state {
	if s.opening != nil && s.comesInTLS() {
		s.opening.alert = tlshello.AlertInternalError
	}
	return l.fallBack(s, HelloTimeout)
}

// fallBack lets a session of a TLS listener that cannot be routed go to the
// listener's own pool, if there is one, with what has come of it. What it speaks is
// not known, so neither is whether a backend will answer to this much of it. Any other
// ends for the reason.
func (l *loop) fallBack(s *session, reason Reason) state {
	t := s.rules.targets.fallback
	if t == nil || !s.traits().hello {
		return l.end(s, reason, 0)
	}
	if input := s.input(); len(input) > 0 {
		s.halves[client].held = slices.Clip(input)
	}
	if s.opening != nil {
		s.opening.input = nil
	}
	s.target = t
	return stateDialling
}
