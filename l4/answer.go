package l4

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"sluice/l4/pgwire"
)

// Until the answer to a client's first packet comes nothing has happened that another
// backend could not do as well, so a backend that dies now costs the client nothing but
// time.

// awaitAnswer sees whether the backend has answered the first packet.
func (l *loop) awaitAnswer(s *session) state {
	if l.checkClient(s) == stateClosed {
		return stateClosed
	}
	h, dst := &s.halves[client], &s.ends[server]
	if h.unsent() && dst.ready&writable != 0 {
		before := h.bytes
		errno := l.flush(h, dst)
		l.count(s, client, h.bytes-before)
		if errno != 0 {
			return l.unanswered(s, ServerReset, errno)
		}
	}
	l.awaitRoom(s, server)
	for dst.ready&readable != 0 {
		n, errno := receive(&s.halves[server], dst, l.scratch)
		if errno != 0 {
			return l.unanswered(s, ServerReset, errno)
		}
		if n > 0 {
			if answer := s.opening.addAnswer(l.scratch[:n]); answer != nil {
				return l.answered(s, answer)
			}
		} else if s.halves[server].eof {
			return l.unanswered(s, ServerReset, 0) // no answer is no clean end
		}
	}
	return stateAnswering
}

// addAnswer takes what has come of a backend's answer, and returns all of it; nil while
// it is the beginning of an error of which the rest is still to come.
func (o *opening) addAnswer(data []byte) []byte {
	if o.answer != nil {
		data = append(o.answer, data...)
		o.answer = nil
	}
	if o.kind != packetHello && pgwire.IsErrorPart(data) {
		o.answer = slices.Clone(data)
		return nil
	}
	return data
}

// answerDeadline is when a backend has had long enough to answer, unless it is said otherwise
// as long as to be connected to; zero = never.
func (s *session) answerDeadline() time.Duration {
	if s.opening.lone {
		return 0 // from here on only the kernel tells
	}
	return after(s.active, cmp.Or(s.target.config.AnswerTimeout, s.target.config.ConnectTimeout))
}

// answerLate is called when answerDeadline has passed. A process that is stopped has a
// kernel that accepts for it. While there is no other backend it may have all the time it
// needs.
func (l *loop) answerLate(s *session) state {
	if s.target.config.Pool.HasOther(s.backend, s.failedOn()) {
		return l.unanswered(s, ConnectTimeout, syscall.ETIMEDOUT)
	}
	s.opening.lone = true
	l.guard(s)
	return stateAnswering
}

// unanswered goes on to another backend after one that hung up, or said that it
// takes nobody now.
func (l *loop) unanswered(s *session, reason Reason, errno syscall.Errno) state {
	l.closeServer(s)
	return l.backendFailed(s, reason, errno)
}

// answered goes on with the backend's first bytes. Unless they say that it takes nobody now,
// the session is this backend's.
func (l *loop) answered(s *session, data []byte) state {
	opening := s.opening
	if l.server.config.OnAnswer != nil {
		l.server.config.OnAnswer(s.backend, l.now-opening.sent)
	}
	switch {
	case opening.secured && opening.kind == pgwire.SSLRequest:
		return l.securedAnswer(s, data)
	case opening.kind != packetHello && pgwire.IsIntervention(opening.errorIn(data)) && l.mayFail(s) && l.canMove(s):
		return l.unanswered(s, ServerReset, 0)
	case opening.encrypts(data):
		s.target.noteAnswer(opening.kind, true)
		if len(data) > 1 {
			return l.unanswered(s, ServerReset, errnoProtocol) // in clear after its "yes": see spokeEarly
		}
		if l.spokeEarly(s) {
			return l.end(s, HelloInvalid, 0)
		}
	}
	if opening.kind == pgwire.Startup {
		s.login = new(pgwire.KeyScanner)
		l.noteKey(s, data)
	}
	return l.passAnswer(s, data)
}

// passAnswer passes the backend's first bytes on to the client.
func (l *loop) passAnswer(s *session, data []byte) state {
	h, opening := &s.halves[server], s.opening
	before := h.bytes
	errno := l.deliver(h, &s.ends[client], data)
	l.count(s, server, h.bytes-before)
	if errno != 0 {
		return l.end(s, ClientReset, errno)
	}
	s.active = l.now
	if !opening.asksToEncrypt() || len(data) != 1 || data[0] != pgwire.AnswerNo {
		return l.startRelay(s)
	}
	s.target.noteAnswer(opening.kind, false)
	if h.unsent() { // a socket that has no room for one byte
		return l.end(s, ClientReset, syscall.ENOBUFS)
	}
	opening.packet = nil // the next one is on its way: in clear, or asking for another kind of encryption
	return stateReadHello
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

// startRelay readies s to relay: its backend has all that it is to have first, and has
// answered where it must.
func (l *loop) startRelay(s *session) state {
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
	if s.halves[client].bytes+s.halves[server].bytes > 0 {
		l.noteMoved(s, client)
	}
	return stateRelaying
}
