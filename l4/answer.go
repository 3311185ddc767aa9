package l4

import (
	"slices"
	"syscall"

	"sluice/l4/pgwire"
)

// sendPacket sends the client's first packet to the backend and waits for the
// answer. Until that comes nothing has happened that another backend could not do
// as well, so a backend that dies now costs the client nothing but time.
func (l *loop) sendPacket(s *session) {
	if !l.sendFirst(s) {
		return
	}
	s.active, s.opening.sent = l.now, l.now
	l.enter(s, stateAnswering)
	l.awaitAnswer(s)
}

// awaitAnswer is the step of a session whose backend has yet to answer the first
// packet.
func (l *loop) awaitAnswer(s *session) {
	if !l.heedClient(s) {
		return
	}
	h, dst := &s.halves[client], &s.ends[server]
	if h.unsent() && dst.ready&writable != 0 {
		before := h.bytes
		errno := l.flush(h, dst)
		l.count(s, client, h.bytes-before)
		if errno != 0 {
			l.unanswered(s, ServerReset, errno)
			return
		}
	}
	l.awaitRoom(s, server)
	for dst.ready&readable != 0 {
		n, errno := receive(&s.halves[server], dst, l.scratch)
		switch {
		case errno != 0:
			l.unanswered(s, ServerReset, errno)
			return
		case n > 0 && l.answer(s, l.scratch[:n]):
			return
		case n > 0:
		case s.halves[server].eof:
			l.unanswered(s, ServerReset, 0) // no answer is no clean end
			return
		}
	}
}

// answer takes what has come of the backend's answer, and goes on with it. It returns
// false when that is the beginning of an error of which the rest is still to come.
func (l *loop) answer(s *session, data []byte) bool {
	opening := s.opening
	if opening.answer != nil {
		data = append(opening.answer, data...)
		opening.answer = nil
	}
	if opening.kind != packetHello && pgwire.IsErrorPart(data) {
		opening.answer = slices.Clone(data)
		return false
	}
	l.answered(s, data)
	return true
}

// answerLate is called when a backend has had as long to answer as to be connected
// to. A process that is stopped has a kernel that accepts for it. While there is no
// other backend it may have all the time it needs.
func (l *loop) answerLate(s *session) {
	if s.target.config.Pool.HasOther(s.backend, s.failedOn()) {
		l.unanswered(s, ConnectTimeout, syscall.ETIMEDOUT)
		return
	}
	l.guard(s) // from here on only the kernel tells
}

// unanswered goes on to another backend after one that hung up, or said that it
// takes nobody now.
func (l *loop) unanswered(s *session, reason Reason, errno syscall.Errno) {
	l.closeServer(s)
	if l.mayRetry(s, reason, errno) {
		l.dial(s)
	}
}

// answered passes the backend's first bytes on to the client. From here on the
// session is this backend's.
func (l *loop) answered(s *session, data []byte) {
	opening := s.opening
	if l.server.config.OnAnswer != nil {
		l.server.config.OnAnswer(s.backend, l.now-opening.sent)
	}
	if opening.secured && opening.kind == pgwire.SSLRequest {
		l.securedAnswer(s, data)
		return
	}
	if opening.kind != packetHello && pgwire.IsIntervention(opening.errorIn(data)) && l.mayFail(s) && l.canMove(s) {
		l.unanswered(s, ServerReset, 0)
		return
	}
	if opening.encrypts(data) {
		s.target.noteAnswer(opening.kind, true)
		if len(data) > 1 {
			l.unanswered(s, ServerReset, errnoProtocol) // in clear after its "yes": see spokeEarly
			return
		}
		if l.spokeEarly(s) {
			l.end(s, HelloInvalid, 0)
			return
		}
	}
	if opening.kind == pgwire.Startup {
		s.login = new(pgwire.KeyScanner)
		l.noteKey(s, data)
	}
	h := &s.halves[server]
	before := h.bytes
	errno := l.deliver(h, &s.ends[client], data)
	l.count(s, server, h.bytes-before)
	if errno != 0 {
		l.end(s, ClientReset, errno)
		return
	}
	s.active = l.now
	if opening.asksToEncrypt() && len(data) == 1 && data[0] == pgwire.AnswerNo {
		s.target.noteAnswer(opening.kind, false)
		if h.unsent() { // a socket that has no room for one byte
			l.end(s, ClientReset, syscall.ENOBUFS)
			return
		}
		opening.packet = nil // the next one is on its way: in clear, or asking for another kind of encryption
		l.enter(s, stateReadHello)
		l.readHello(s)
		return
	}
	l.begun(s)
}

// errorIn returns the SQLSTATE of the error that a backend's first answer has. To a question
// for encryption it is an error or one byte.
func (o *opening) errorIn(answer []byte) string {
	if o.asksToEncrypt() {
		return pgwire.ErrorState(answer)
	}
	return pgwire.FirstError(answer)
}

func (o *opening) asksToEncrypt() bool {
	return o.kind == pgwire.SSLRequest || o.kind == pgwire.GSSENCRequest
}

// encrypts reports whether a backend says yes to the client's question for
// encryption. Very old servers answer with an error.
func (o *opening) encrypts(answer []byte) bool {
	return o.asksToEncrypt() && answer[0] != pgwire.AnswerNo && answer[0] != pgwire.MessageError
}

// begun lets a session relay whose backend has answered.
func (l *loop) begun(s *session) {
	if rest := s.input(); len(rest) > 0 {
		h := &s.halves[client]
		if h.held == nil {
			h.held = l.buffers.get()
		}
		h.held = append(h.held, rest...)
	}
	l.openings.put(s.opening)
	s.opening = nil
	l.seal(s)
	l.enter(s, stateRelaying)
	if s.halves[client].bytes+s.halves[server].bytes > 0 {
		l.noteMoved(s, client)
	}
	l.relay(s)
}
