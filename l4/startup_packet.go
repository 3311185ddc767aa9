package l4

import (
	"slices"

	"sluice/l4/pgwire"
	"sluice/sysutil"
)

// tryPacket looks for a first packet of Postgres in the input, and goes on with it
// when it is complete.
func (l *loop) tryPacket(s *session) (next state, size int, err error) {
	kind, size, err := pgwire.ParsePacket(s.input())
	if err != nil {
		return s.state, size, err
	}
	opening := s.opening
	packet, rest := opening.input[:size], opening.input[size:]
	opening.packet, opening.kind, opening.input = packet, kind, rest
	return l.packetDone(s), 0, nil
}

// packetDone goes on with a first packet that is complete.
func (l *loop) packetDone(s *session) state {
	opening, targets := s.opening, s.rules.targets
	if opening.asksToEncrypt() {
		if opening.asked[opening.kind] { // nor does Postgres answer that twice (ProcessStartupPacket)
			return l.end(s, HelloInvalid, 0)
		}
		opening.asked[opening.kind] = true
	}
	switch kind := opening.kind; {
	case kind == pgwire.CancelRequest:
		return l.passCancel(s)
	case kind == pgwire.DirectTLS && (opening.asked[pgwire.SSLRequest] || opening.asked[pgwire.GSSENCRequest]):
		return l.end(s, HelloInvalid, 0) // who asks first waits for a yes; nor does Postgres know anything else
	case kind == pgwire.DirectTLS:
		// How long it is has not been looked at, so it cannot be sent twice.
		s.halves[client].held = slices.Clip(opening.packet)
		opening.packet = nil
	case s.failedBefore():
		return l.failAgain(s)
	case s.backend != nil && (kind != pgwire.Startup || !targets.byStartup):
		return stateSending
	case kind == pgwire.SSLRequest && targets.byTLS:
		return l.answerPacket(s, pgwire.AnswerYes)
	case kind == pgwire.GSSENCRequest && targets.routes != nil, kind == pgwire.SSLRequest && targets.byStartup && targets.fallback == nil:
		return l.answerPacket(s, pgwire.AnswerNo)
	case kind == pgwire.Startup:
		opening.key.User, opening.key.Database, _ = pgwire.ParseStartup(opening.packet)
	}
	return l.route(s)
}

// answerPacket answers a client's question for encryption in the place of a backend:
// which one depends on what the client says then.
func (l *loop) answerPacket(s *session, answer byte) state {
	opening := s.opening
	if answer == pgwire.AnswerYes && l.spokeEarly(s) {
		return l.end(s, HelloInvalid, 0)
	}
	opening.packet, opening.secured = nil, answer == pgwire.AnswerYes
	if _, errno := sysutil.Send(int(s.ends[client].fd), []byte{answer}); errno != 0 {
		return l.end(s, ClientReset, errno)
	}
	s.active, s.untimed = l.now, true
	return stateReadHello
}

// spokeEarly reports whether a client that has asked for encryption has sent more
// before the answer. That is in clear, and whoever put it there, it must not pass for
// the beginning of what is encrypted (CVE-2021-23214). Postgres refuses it, too; but
// it cannot see it when the bytes reach it after its answer.
func (l *loop) spokeEarly(s *session) bool {
	src := &s.ends[client]
	if len(s.input()) > 0 {
		return true
	}
	if src.ready&readable == 0 || s.halves[client].eof {
		return false
	}
	n, _ := sysutil.Peek(int(src.fd), l.scratch[:1])
	return n > 0
}
