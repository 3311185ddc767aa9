package l4

import (
	"bytes"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader"
)

// headerRead is one read while a header is awaited; the rest stays in the kernel.
const headerRead = 16 << 10

// readHeader reads the PROXY header that a session must start with.
func (l *loop) readHeader(s *session) state {
	h, src := &s.halves[client], &s.ends[client]
	for src.ready&readable != 0 && !h.eof {
		n, errno := receive(h, src, l.scratch[:headerRead])
		if errno != 0 {
			return l.end(s, ClientReset, errno)
		}
		data := l.scratch[:n]
		if s.opening != nil {
			s.opening.input = append(s.opening.input, data...)
			data = s.opening.input
		}
		header, size, err := proxyheader.Parse(data)
		switch {
		case err == nil:
			return l.headerDone(s, header, data[size:])
		case err != proxyheader.ErrShort:
			return l.endBroken(s, data, err)
		case s.opening == nil && n > 0:
			l.open(s).input = bytes.Clone(data)
		}
	}
	if h.eof {
		return l.endHeaderless(s)
	}
	return stateReadHeader
}

// endHeaderless ends a session whose client sent FIN before its header was
// complete. One that sent nothing is a port check, not an error.
func (l *loop) endHeaderless(s *session) state {
	if s.opening == nil {
		return l.end(s, ClientClosed, 0)
	}
	return l.endBroken(s, s.opening.input, proxyheader.ErrShort)
}

// endBroken ends a session whose header is none, and says why.
func (l *loop) endBroken(s *session, data []byte, err error) state {
	s.name().detail = proxyheader.Fault(data, err)
	return l.end(s, HeaderInvalid, 0)
}

// headerDone takes the addresses from the header and goes on with what the
// client sent after it.
func (l *loop) headerDone(s *session, header *proxyproto.Header, rest []byte) state {
	if source, ok := proxyheader.Client(header); ok {
		s.client = source
	}
	var reason Reason
	s.takeRules(s.rules.listener.rules.Load()) // those of the moment at which its client is known
	if s.counted, reason = l.admit(s.rules, s.client.Addr()); reason != noReason {
		return l.end(s, reason, 0)
	}
	if unique := proxyheader.UniqueIDIn(header); unique != "" {
		s.name().unique = unique
	}
	opening := l.open(s)
	opening.header, opening.input = header, nil
	switch {
	case len(rest) == 0:
	case !s.traits().peeks:
		s.halves[client].held = bytes.Clone(rest) // no more than it is: there may be many that wait
	default:
		opening.input = bytes.Clone(rest)
	}
	return l.readFirstBytes(s)
}

// takeRules puts s under other rules.
func (s *session) takeRules(r *rules) {
	if r != s.rules {
		r.sessions.Add(1)
		s.rules.sessions.Add(-1)
		s.rules = r
	}
}
