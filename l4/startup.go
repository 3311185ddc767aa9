package l4

import "slices"

// readHello is the step of a session that must start with a packet of its
// listener's protocol. It never reads beyond that packet: what follows is not
// sluice's to know, and stays in the kernel.
func (l *loop) readHello(s *session) {
	if s.backend != nil && s.ends[server].ready&(peerClosed|failed) != 0 {
		l.letGo(s) // it had nothing more to say than that it does not encrypt
	}
	h, src := &s.halves[client], &s.ends[client]
	for {
		kind, size, err := parsePacket(s.input())
		if err == nil {
			l.helloDone(s, kind, size)
			return
		}
		if err != errShort {
			l.end(s, HelloInvalid, 0)
			return
		}
		if src.ready&readable == 0 || h.eof {
			break
		}
		n, errno := receive(h, src, l.scratch[:size-len(s.input())])
		if errno != 0 {
			l.end(s, ClientReset, errno)
			return
		}
		if n > 0 {
			opening := s.open()
			opening.input = append(opening.input, l.scratch[:n]...)
		}
	}
	if h.eof && len(s.input()) == 0 {
		l.end(s, ClientClosed, 0) // a port check, or a client that wants no clear text
	} else if h.eof {
		l.end(s, HelloInvalid, 0)
	}
}

// input is what was read of the client and not yet made sense of.
func (s *session) input() []byte {
	if s.opening == nil {
		return nil
	}
	return s.opening.input
}

// helloDone goes on with a first packet that is complete.
func (l *loop) helloDone(s *session, kind packetKind, size int) {
	opening := s.open()
	packet, rest := opening.input[:size], opening.input[size:]
	opening.packet, opening.kind, opening.input = packet, kind, rest
	switch {
	case kind == packetCancel:
		l.cancel(s)
	case kind == packetDirectTLS && s.backend != nil:
		l.end(s, HelloInvalid, 0) // it has been told that there is no TLS
	case kind == packetDirectTLS:
		// How long it is has not been looked at, so it cannot be sent twice.
		s.halves[client].held = slices.Clip(packet)
		opening.packet = nil
		l.choose(s)
	case s.backend != nil:
		l.sendPacket(s)
	default:
		l.choose(s)
	}
}
