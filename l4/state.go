package l4

import (
	"time"

	"sluice/sysutil"
)

// A state is a stage in the life of a session. enter and pass are the only writers of
// session.state after begin, end the only way to stateClosed.
type state uint8

const (
	stateClosed     state = iota // the slot is free
	stateReadHeader              // a PROXY header must come first
	stateReadHello               // the protocol's first packet must come
	stateWaiting                 // in the pool's queue
	stateConnecting              // a connect to a backend is under way
	stateAnswering               // the backend has the first packet, and has not answered yet
	stateCancelling              // the cancel request is being passed on by a goroutine of its own
	stateRelaying                // bytes pass in both directions
)

var stateNames = [...]string{
	stateClosed: "closed", stateReadHeader: "read_header", stateReadHello: "read_hello", stateWaiting: "waiting",
	stateConnecting: "connecting", stateAnswering: "answering", stateCancelling: "cancelling", stateRelaying: "relaying",
}

func (s state) String() string { return stateNames[s] }

// step runs s until it waits for an event, a timer or its next turn.
func (l *loop) step(s *session) {
	switch s.state {
	case stateReadHeader:
		l.readHeader(s)
	case stateReadHello:
		l.readHello(s)
	case stateWaiting, stateCancelling:
		l.heedClient(s)
	case stateConnecting:
		l.finishConnect(s)
	case stateAnswering:
		l.awaitAnswer(s)
	case stateRelaying:
		if !s.queued {
			l.relay(s)
		}
	}
}

// enter moves s to another state and sets the deadline of that state.
func (l *loop) enter(s *session, next state) {
	s.state = next
	l.rearm(s)
}

// pass is enter for a state that s mostly leaves in the same turn, without a timer that
// is set for nothing. Who calls it sees to the deadline if s does not.
func (l *loop) pass(s *session, next state) { s.state = next }

// deadline is when s ends if nothing happens, and why; zero = never. noReason
// stands for a look at the peers.
func (s *session) deadline() (time.Duration, Reason) {
	at, reason := s.timeLimit()
	if s.lookAt != 0 && (at == 0 || s.lookAt < at) {
		return s.lookAt, noReason
	}
	return at, reason
}

// timeLimit is the deadline of the present state.
func (s *session) timeLimit() (time.Duration, Reason) {
	config := &s.listener.config
	switch s.state {
	case stateReadHeader:
		return after(s.active, config.AcceptProxy.Timeout), HeaderTimeout
	case stateReadHello:
		return after(s.active, config.PeekTimeout), HelloTimeout
	case stateWaiting:
		return s.waitDeadline(), QueueTimeout
	case stateConnecting:
		return s.connectDeadline(), ConnectTimeout
	case stateCancelling:
		return 0, noReason // the request has a timeout of its own
	case stateAnswering:
		// A TLS server works before it answers. To ask another one as well would
		// add load where there is too much already.
		if s.opening.kind != packetHello {
			return after(s.active, s.target.config.ConnectTimeout), ConnectTimeout
		}
	}
	limit, reason := s.quietLimit()
	return after(s.active, limit), reason
}

// quietLimit is how long no byte of a relaying session may move, and what it ends with
// then; 0 = for ever.
func (s *session) quietLimit() (time.Duration, Reason) {
	config := &s.listener.config
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

// rearm sets the timer to the deadline of the present state.
func (l *loop) rearm(s *session) {
	if at, _ := s.deadline(); at != 0 {
		l.timers.set(s.slot, at)
	} else {
		l.timers.cancel(s.slot)
	}
}

// expire is called when the timer of a session fires. Activity does not move
// the timer, it only notes the time, so the deadline may lie ahead again. What lies in
// the kernel for s comes before a judgement: this loop may have been late, because it
// has much to do or because the whole process stood still.
func (l *loop) expire(slot int32) {
	s := l.sessions.at(slot)
	if s.lookAt != 0 && s.lookAt <= l.now && !l.lookAtPeers(s) {
		return
	}
	if at, _ := s.deadline(); at == 0 || at > l.now {
		l.rearm(s)
		return
	}
	if !l.catchUp(s) {
		return
	}
	switch at, reason := s.deadline(); {
	case at == 0 || at > l.now || reason == noReason:
		l.rearm(s)
	case reason == ConnectTimeout && s.state == stateAnswering:
		l.answerLate(s)
	case reason == ConnectTimeout:
		l.connectLate(s)
	case reason == HelloTimeout && s.backend == nil:
		l.helloLate(s)
	case reason == QueueTimeout:
		l.waitedLong(s)
	case s.state == stateRelaying:
		l.quietLong(s)
	default:
		l.end(s, reason, 0)
	}
}

// catchUp lets s act on all that its sockets are ready for at this moment. It reports
// whether s is still there and has done so.
func (l *loop) catchUp(s *session) bool {
	self := s.token(client)
	ready := sysutil.ReadyNow(s.ends[client].fd, s.ends[server].fd)
	for _, side := range [...]side{client, server} {
		if ready[side] != 0 {
			l.note(s, side, ready[side])
		}
	}
	if !s.queued {
		l.step(s)
	}
	switch s = l.sessions.find(self); {
	case s == nil:
		return false
	case s.queued: // its turn comes
		l.timers.set(s.slot, l.now+tick)
		return false
	}
	return true
}

// quietLong is called when no byte has moved for as long as may be. Bytes that the
// kernel holds for a peer move too, while the peer takes them.
func (l *loop) quietLong(s *session) {
	l.noteTaken(s)
	if at, reason := s.timeLimit(); at != 0 && at <= l.now {
		l.end(s, reason, 0)
		return
	}
	l.rearm(s)
}
