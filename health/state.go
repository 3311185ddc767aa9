package health

import "time"

// checkState is what active checks know of one backend.
type checkState struct {
	up        bool
	decided   bool // a check has had its say since the start, or since maintenance
	since     time.Time
	successes int // in a row, up to now
	failures  int // in a row, up to now
}

// observe records the result of one check that ended now, and reports whether the backend went up or down by it.
func (s *checkState) observe(now time.Time, ok bool, rise, fall int) (changed bool) {
	if ok {
		s.successes, s.failures = s.successes+1, 0
	} else {
		s.successes, s.failures = 0, s.failures+1
	}
	up := s.up
	switch {
	case !s.decided:
		up = ok
	case ok && s.successes >= rise:
		up = true
	case !ok && s.failures >= fall:
		up = false
	}
	s.decided = true
	changed = up != s.up
	if changed {
		s.up, s.since = up, now
	}
	return changed
}

// forget makes the next check decide alone again. What was counted before maintenance says nothing about the backend
// that comes back from it.
func (s *checkState) forget() { s.decided, s.successes, s.failures = false, 0, 0 }
