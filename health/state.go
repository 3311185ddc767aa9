package health

// checkState counts the answers to one question in a row. Whether a server answers at all is one such question, whether
// a replica keeps up another. The zero checkState has not heard anything yet.
type checkState struct {
	decided   bool // an answer has had its say since the start, or since forget
	patient   bool // another question has had it before: one answer to this one does not decide alone
	up        bool // only when decided
	successes int  // in a row, up to now
	failures  int  // in a row, up to now
}

// observe counts one answer. The first decides alone, unless the state is patient; from then on fall failures in a row say
// down, rise successes up.
func (s *checkState) observe(ok bool, rise, fall int) {
	if ok {
		s.successes, s.failures = s.successes+1, 0
	} else {
		s.successes, s.failures = 0, s.failures+1
	}
	switch {
	case !s.decided && !s.patient:
		s.up, s.decided = ok, true
	case ok && s.successes >= rise:
		s.up, s.decided = true, true
	case !ok && s.failures >= fall:
		s.up, s.decided = false, true
	}
}

// down reports whether the answers say so.
func (s *checkState) down() bool { return s.decided && !s.up }

// changing reports whether something was counted that has not had its effect yet.
func (s *checkState) changing() bool {
	return s.decided && (s.up && s.failures > 0 || !s.up && s.successes > 0)
}

// forget makes the next answer decide alone again. What was counted before maintenance says nothing about the server
// that comes back from it.
func (s *checkState) forget() { *s = checkState{} }
