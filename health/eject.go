package health

import (
	"slices"
	"time"
)

// evidence is what the connects of sessions say about one backend.
type evidence struct {
	failures []time.Time // the last ones in a row, oldest first; at most EjectConfig.Failures of them
	until    time.Time   // end of the ejection; zero: not ejected
}

// failed records a failed connect and reports whether the last ones call for an ejection. They go on to do so with each
// further failure, for one that was not possible at first.
func (e *evidence) failed(now time.Time, c EjectConfig) bool {
	e.failures = append(e.failures, now)
	if extra := len(e.failures) - c.Failures; extra > 0 { // more than one when fewer are enough now
		e.failures = slices.Delete(e.failures, 0, extra)
	}
	return len(e.failures) == c.Failures && now.Sub(e.failures[0]) <= c.Window
}

// succeeded forgets the failures. Counting only those in a row tells a backend that is gone from one that fails now and
// then under thousands of connects a second.
func (e *evidence) succeeded() { e.failures = e.failures[:0] }

// eject starts an ejection.
func (e *evidence) eject(now time.Time, c EjectConfig) {
	e.failures = e.failures[:0]
	e.until = now.Add(c.Duration)
}

// ejected reports whether the backend is out.
func (e *evidence) ejected() bool { return !e.until.IsZero() }

// over reports whether an ejection has lasted long enough.
func (e *evidence) over(now time.Time) bool { return e.ejected() && !now.Before(e.until) }

// mayEject reports whether one more of a pool's backends may be ejected. It keeps to the limit, rounded down, and never
// takes the last usable backend: a bad one is better than none.
func mayEject(c EjectConfig, backends, ejected, usable int) bool {
	return (ejected+1)*100 <= backends*c.MaxPercent && usable > 1
}
