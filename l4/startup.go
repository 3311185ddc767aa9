package l4

import (
	"io"
	"slices"

	"sluice/l4/tlshello"
)

// readHello is the step of a session whose client's first bytes say where it goes.
func (l *loop) readHello(s *session) {
	if s.backend != nil && s.ends[server].ready&(peerClosed|failed) != 0 {
		l.letGo(s) // it had nothing more to say than that it does not encrypt
	}
	for {
		inTLS := s.comesInTLS()
		try := l.tryPacket
		if inTLS {
			try = l.tryHello
		}
		switch size, err := try(s); {
		case err == nil:
			return
		case err != io.ErrUnexpectedEOF:
			l.noHello(s, err)
			return
		case !l.readMore(s, size, inTLS):
			return
		}
	}
}

// readEarly reads what a client has sent by the time it is accepted: mostly all that it
// says before it is answered. It returns false when the session has ended.
func (l *loop) readEarly(s *session) bool {
	s.ends[client].ready |= readable
	_, open := l.readInput(s, helloRead)
	return open
}

// readInput reads once, at most so many bytes. open is false when the session has ended.
func (l *loop) readInput(s *session, most int) (n int, open bool) {
	n, errno := receive(&s.halves[client], &s.ends[client], l.scratch[:min(most, len(l.scratch))])
	if errno != 0 {
		l.end(s, ClientReset, errno)
		return 0, false
	}
	if n > 0 {
		opening := l.open(s)
		opening.input = append(opening.input, l.scratch[:n]...)
	}
	return n, true
}

// comesInTLS reports whether a ClientHello is what is expected.
func (s *session) comesInTLS() bool {
	if s.listener.config.Protocol == ProtocolTLS || s.opening != nil && s.opening.secured {
		return true
	}
	input := s.input()
	// Without asking, as from Postgres 17 on.
	return s.listener.targets.byTLS && len(input) > 0 && input[0] == tlshello.RecordHandshake
}

// helloRead is one read while a ClientHello is awaited: most fit.
const helloRead = 16 << 10

// readMore reads what the client has sent, when size bytes of input are wanted at
// least. Of Postgres in clear it never reads beyond them: what follows a packet is not
// sluice's to know, and stays in the kernel. It returns false when nothing has come,
// and the session waits or has ended.
func (l *loop) readMore(s *session, size int, inTLS bool) bool {
	h, src := &s.halves[client], &s.ends[client]
	have := len(s.input())
	if inTLS {
		size = max(size, have+helloRead)
	}
	for src.ready&readable != 0 && !h.eof {
		if n, open := l.readInput(s, size-have); n > 0 || !open {
			return open
		}
	}
	switch {
	case h.eof && have == 0:
		l.end(s, ClientClosed, 0) // a port check, or a client that wants no clear text
	case h.eof:
		l.noHello(s, io.ErrUnexpectedEOF)
	}
	return false
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
func (l *loop) noHello(s *session, err error) {
	if alert, ok := tlshello.AlertFor(err); ok {
		l.open(s).alert = alert
	}
	if !l.fallBack(s) {
		l.end(s, HelloInvalid, 0)
	}
}

// helloLate is called when the first bytes did not come in time.
func (l *loop) helloLate(s *session) {
	if s.opening != nil && s.comesInTLS() {
		s.opening.alert = tlshello.AlertInternalError
	}
	if !l.fallBack(s) {
		l.end(s, HelloTimeout, 0)
	}
}

// fallBack lets a session of a TLS listener that cannot be routed go to the
// listener's own pool, if there is one, with what has come of it. What it speaks is
// not known, so neither is whether a backend will answer to this much of it.
func (l *loop) fallBack(s *session) bool {
	t := s.listener.targets.fallback
	if t == nil || s.listener.config.Protocol != ProtocolTLS {
		return false
	}
	if input := s.input(); len(input) > 0 {
		s.halves[client].held = slices.Clip(input)
	}
	if s.opening != nil {
		s.opening.input = nil
	}
	s.target = t
	l.dial(s)
	return true
}
