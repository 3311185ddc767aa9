package l4

import "time"

// A MaxAge bounds how old the sessions of a pool get. The zero value does not.
type MaxAge struct {
	// Age is how long a session may last from accept on, its wait in the queue left out; 0 = for ever.
	Age time.Duration
	// Jitter is the part of Age, up to 1, by which a session may last less. Each has its own:
	// those that began together do not end together.
	Jitter float64
	// IdleOnly spares a session until nothing of it is on its way and no byte has moved for a
	// second.
	IdleOnly bool
}

// idleMoment is how long no byte must have moved for a session to count as idle. While it does
// not, it is looked at as often.
const idleMoment = time.Second

// of returns how long a session may last.
func (m *MaxAge) of(id uint64) time.Duration {
	return m.Age - time.Duration(m.Jitter*share(id)*float64(m.Age))
}

// share returns a number from 0 to 1 that depends on nothing but a session's number, and is
// not kept for that. Those of successive numbers are spread evenly.
func share(id uint64) float64 {
	id = (id ^ id>>32) * 0x9e3779b97f4a7c15 // the golden ratio, as in Fibonacci hashing
	id = (id ^ id>>29) * 0xbf58476d1ce4e5b9 // from splitmix64
	return float64((id^id>>32)>>11) / (1 << 53)
}

// ageLimit is when s is to end for its age, on the loop's clock; zero = never. What the
// process stood still for is part of its age.
func (l *loop) ageLimit(s *session) time.Duration {
	bound := &s.target.config.MaxAge
	if bound.Age == 0 || s.cut != noReason {
		return 0
	}
	at := after(s.started+s.waited-l.stalled, bound.of(s.id))
	if at == 0 || !bound.IdleOnly {
		return at
	}
	at = max(at, s.active+idleMoment)
	if s.owes() {
		at = max(at, l.now+idleMoment)
	}
	return at
}

// owes reports whether bytes are on their way to a peer: here, or in the kernel when that was
// last asked.
func (s *session) owes() bool {
	for i := range s.halves {
		if h := &s.halves[i]; h.unsent() || h.owed != 0 {
			return true
		}
	}
	return false
}

// awaitIdle asks the kernel again what is on its way to the peers of a session that is to end as soon
// as that is nothing.
func (l *loop) awaitIdle(s *session) {
	if s.state == stateRelaying && s.target.config.MaxAge.IdleOnly && s.owes() {
		l.noteTaken(s)
	}
}

// aged is called when s has reached its age. What a peer has finished saying is delivered.
func (l *loop) aged(s *session) state {
	l.noteTaken(s)
	if l.isOverdue(s) && l.cutOff(s, OutOfAge) {
		return stateClosed
	}
	return stateRelaying
}
