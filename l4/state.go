package l4

import (
	"time"

	"sluice/sysutil"
)

// A state is a stage in the life of a session. All that a state is stands in this
// file: its name, what a session does in it, how long it may last, what becomes of a
// session for which it has lasted too long, and of one whose backend goes down. Which
// state may follow which, doc.go shows.
//
// A session that is told something acts (act), and what it does returns the state in
// which it is then. advance, which alone sets the state, lets it act there in turn,
// until a state stands: the session waits for its sockets, its timer or another
// goroutine. A handler that has ended its session returns stateClosed, as end does,
// and nobody touches the session after that.
type state uint8

const (
	stateClosed     state = iota // the slot is free
	stateReadHeader              // a PROXY header must come first
	stateReadHello               // the protocol's first packet must come
	stateDialling                // a backend is to be chosen; never stands
	stateWaiting                 // in the pool's queue
	stateConnecting              // a connect to a backend is under way
	statePaused                  // so it would be, if something on this side were not in the way: it is tried again in a moment
	stateSending                 // the backend is to be sent what the client has said first; never stands
	stateAnswering               // the backend has the first packet, and has not answered yet
	stateCancelling              // the cancel request is being passed on by a goroutine of its own
	stateRelaying                // bytes pass in both directions
	stateArriving                // another process hands it over, and may take it back: nothing is done
	numStates
)

var stateNames = [numStates]string{
	stateClosed: "closed", stateReadHeader: "read_header", stateReadHello: "read_hello", stateDialling: "dialling",
	stateWaiting: "waiting", stateConnecting: "connecting", statePaused: "paused", stateSending: "sending",
	stateAnswering: "answering", stateCancelling: "cancelling", stateRelaying: "relaying", stateArriving: "arriving",
}

func (s state) String() string { return stateNames[s] }

// act lets s do what it can in its state, and returns the state in which it is then.
func (l *loop) act(s *session) state {
	switch s.state {
	case stateRelaying:
		if s.queued {
			return stateRelaying // its turn comes
		}
		return l.relay(s)
	case stateReadHeader:
		return l.readHeader(s)
	case stateReadHello:
		return l.readHello(s)
	case stateDialling:
		return l.dial(s)
	case stateWaiting, statePaused, stateCancelling:
		return l.checkClient(s)
	case stateConnecting:
		return l.finishConnect(s)
	case stateSending:
		return l.sendFirst(s)
	case stateAnswering:
		return l.awaitAnswer(s)
	case stateArriving:
		return stateArriving // see resume
	}
	return stateClosed
}

// timeLimit is when the present state has lasted too long, and what s ends with then if
// it ends; zero = never.
func (l *loop) timeLimit(s *session) (time.Duration, Reason) {
	config := &s.rules.config
	switch s.state {
	case stateReadHeader:
		return after(s.active, config.AcceptProxy.Timeout), HeaderTimeout
	case stateReadHello:
		return after(s.active, config.PeekTimeout), HelloTimeout
	case stateWaiting:
		return s.waitDeadline(), QueueTimeout
	case stateConnecting:
		return s.connectDeadline(), ConnectTimeout
	case statePaused:
		return s.opening.obstacle.again, ConnectFailed
	case stateArriving:
		return 0, noReason
	case stateCancelling:
		return 0, noReason // the request has a timeout of its own
	case stateAnswering:
		// A TLS server works before it answers. To ask another one as well would
		// add load where there is too much already.
		if s.opening.kind != packetHello {
			return s.answerDeadline(), ConnectTimeout
		}
	}
	limit, reason := s.quietLimit()
	at := after(s.active, limit)
	if s.state == stateRelaying {
		if age := l.ageLimit(s); age != 0 && (at == 0 || age < at) {
			return age, OutOfAge
		}
	}
	return at, reason
}

// overdue is called when the present state has lasted too long.
func (l *loop) overdue(s *session, reason Reason) state {
	switch s.state {
	case stateReadHello:
		if s.backend == nil {
			return l.helloLate(s)
		}
	case stateWaiting:
		return l.waitedLong(s)
	case stateConnecting:
		return l.connectLate(s)
	case statePaused:
		return l.tryAgain(s)
	case stateAnswering:
		if reason == ConnectTimeout {
			return l.answerLate(s)
		}
	case stateRelaying:
		if reason == OutOfAge {
			return l.aged(s)
		}
		return l.quietLong(s, reason)
	}
	return l.end(s, reason, 0)
}

// forsaken is called when the backend of s is to have no sessions any more. Before it has
// answered nothing is lost with it: another one may be tried.
func (l *loop) forsaken(s *session, reason Reason) state {
	switch s.state {
	case stateReadHello: // the backend has said that it does not encrypt, and the client goes on
		l.dropBackend(s)
	case stateConnecting, statePaused, stateAnswering:
		if l.canMove(s) {
			l.noteTry(s, reason, 0)
			l.dropBackend(s)
			return stateDialling
		}
	}
	return s.state
}

// step lets s act, and go on from state to state until one stands.
func (l *loop) step(s *session) { l.advance(s, l.act(s)) }

// advance puts s into its next state and lets it act there, until it stays. Then its
// timer is set, where its deadline has become another one. Of a session that has ended
// the state is stateClosed, too, and it has no deadline.
func (l *loop) advance(s *session, next state) {
	for next != s.state {
		s.state, s.untimed = next, true
		next = l.act(s)
	}
	if s.untimed {
		l.rearm(s)
	}
}

// rearm sets the timer to the deadline of the present state.
func (l *loop) rearm(s *session) {
	s.untimed = false
	if at := l.deadline(s); at != 0 {
		l.timers.set(s.slot, at)
	} else {
		l.timers.cancel(s.slot)
	}
}

// deadline is when something is to be done about s if nothing happens: its state has
// lasted too long, or its peers are to be looked at; zero = never.
func (l *loop) deadline(s *session) time.Duration {
	at, _ := l.timeLimit(s)
	return shorter(at, s.lookAt)
}

// expire is called when the timer of a session fires. Activity does not move
// the timer, it only notes the time, so the deadline may lie ahead again. What lies in
// the kernel for s comes before a judgement: this loop may have been late, because it
// has much to do or because the whole process stood still.
func (l *loop) expire(slot int32) {
	s := l.sessions.at(slot)
	if s.lookAt != 0 && s.lookAt <= l.now && l.lookAtPeers(s) == stateClosed {
		return
	}
	l.awaitIdle(s)
	if l.isOverdue(s) {
		if l.catchUp(s); s.state == stateClosed {
			return
		}
		if _, reason := l.timeLimit(s); s.queued && reason != OutOfAge { // its turn comes
			l.timers.set(s.slot, l.now+tick)
			return
		}
	}
	s.untimed = true
	next := s.state
	if l.isOverdue(s) {
		_, reason := l.timeLimit(s)
		next = l.overdue(s, reason)
	}
	l.advance(s, next)
}

// isOverdue reports whether the present state has lasted too long.
func (l *loop) isOverdue(s *session) bool {
	at, _ := l.timeLimit(s)
	return at != 0 && at <= l.now
}

// catchUp lets s act on all that its sockets are ready for at this moment.
func (l *loop) catchUp(s *session) {
	ready := sysutil.ReadyNow(s.ends[client].fd, s.ends[server].fd)
	for _, side := range [...]side{client, server} {
		if ready[side] != 0 {
			l.note(s, side, ready[side])
		}
	}
	if !s.queued {
		l.step(s)
	}
}

// quietLimit is how long no byte of a relaying session may move, and what it ends with
// then; 0 = for ever.
func (s *session) quietLimit() (time.Duration, Reason) {
	config := &s.rules.config
	switch {
	case s.cut.Clean():
		return s.cutLimit(), FinTimeout // it is one when all is delivered
	case s.cut != noReason:
		return s.cutLimit(), s.cut
	case config.FinTimeout != 0 && s.finSeen():
		return config.FinTimeout, FinTimeout
	}
	return config.IdleTimeout, IdleTimeout
}

// quietLong is called when no byte has moved for as long as may be. Bytes that the
// kernel holds for a peer move too, while the peer takes them.
func (l *loop) quietLong(s *session, reason Reason) state {
	l.noteTaken(s)
	if l.isOverdue(s) {
		return l.end(s, reason, 0)
	}
	return stateRelaying
}

// finSeen reports whether a side has sent FIN.
func (s *session) finSeen() bool { return s.sentFIN(client) || s.sentFIN(server) }

// sentFIN reports whether one side has sent FIN, though the bytes before it may
// still wait for a sink that does not take them.
func (s *session) sentFIN(from side) bool {
	return s.halves[from].eof || s.ends[from].ready&peerClosed != 0
}

func after(start, timeout time.Duration) time.Duration {
	if timeout == 0 || start+timeout+tick < start { // in 292 years is never
		return 0
	}
	return start + timeout
}
