package health

import (
	"time"

	"sluice/health/probe"
)

// firstWithin bounds the wait for a server's first probe: a dead one is to be found at once, but the probes of hundreds
// of servers are not to start in the same instant.
const firstWithin = 200 * time.Millisecond

// maxInFlight bounds the probes of one server at a time, whatever Fall is: each may hold a session of a database.
const maxInFlight = 5

// shortest is the part of an interval that jitter leaves at least: a server is never asked without a pause.
const shortest = 10

// schedule knows when a server was probed, and says when it is to be probed next.
//
// Probes overlap. When one is not answered FastInterval after it started, the next one starts all the same, Fall of them
// at most and never more than maxInFlight, so that a silent server costs one Timeout and not Fall of them:
//
//	        probe 1 ├──────── Timeout ────────┤ failure 1
//	FastInterval └► probe 2 ├──────── Timeout ────────┤ failure 2
//	                     └► probe 3 ├──────── Timeout ────────┤ failure 3: down
//
// It is found at most Interval*(1+Jitter) + (Fall-1)*FastInterval + Timeout after it fell silent, when Fall is
// maxInFlight or less. Beyond that a further probe has to wait until one has ended.
type schedule struct {
	first    time.Time // when to start when none has started yet
	started  time.Time // start of the latest probe; zero: none yet
	random   float64   // from 0 to 1: the jitter of the interval after it
	open     bool      // the latest probe has not ended
	inFlight int       // probes that have not ended

	overdue time.Time // it was that when the settings changed, and is made up for then; zero: it was not

	wanted bool      // something happened: it is worth asking at once
	hasty  time.Time // start of the latest probe that was wanted so
}

// pace is how urgent the next probe is.
type pace struct {
	hurry bool // something is changing, or a pool has no backend left
	down  bool // the server has not answered for a while
}

// next returns when the next probe starts; false: not before one in flight has ended.
func (s *schedule) next(c Config, p pace) (at time.Time, ok bool) {
	if s.inFlight >= c.mostInFlight() {
		return time.Time{}, false
	}
	if s.started.IsZero() {
		return s.first, true
	}
	at = s.started.Add(s.interval(c, p))
	if at.Before(s.overdue) {
		at = s.overdue
	}
	if s.wanted {
		// A server that drops a connection as soon as it is made would be asked without a pause.
		if soon := s.hasty.Add(c.FastInterval); soon.Before(at) {
			at = soon
		}
	}
	return at, true
}

// spread takes in that settings have changed. If they make the next probe overdue, as shorter intervals do, it starts at a
// random time within one of them: those of all servers are not to start in the same instant.
func (s *schedule) spread(c Config, p pace, now time.Time, random float64) {
	if at, ok := s.next(c, p); ok && at.Before(now) && !s.started.IsZero() && !s.wanted {
		s.overdue = now.Add(time.Duration(random * float64(s.interval(c, p))))
	}
}

// interval returns the time from the start of the latest probe to the start of the next. Only the long intervals are
// jittered: a server that fell silent is to be found in a time that is known.
func (s *schedule) interval(c Config, p pace) time.Duration {
	switch {
	case p.hurry && !(p.down && c.loginsAreCounted()):
		return c.FastInterval
	case p.down:
		return jittered(c.DownInterval, c.Jitter, s.random)
	}
	regular := jittered(c.Interval, c.Jitter, s.random)
	if s.open {
		return min(regular, c.FastInterval)
	}
	return regular
}

// mostInFlight is how many probes of a server there may be at a time.
func (c Config) mostInFlight() int {
	if c.loginsAreCounted() {
		return 1
	}
	return min(c.Fall, maxInFlight)
}

// loginsAreCounted reports whether a server counts connections that end before the login is over, and shuts out the host
// that they come from (max_connect_errors of MySQL). One that is stopped finds all of them when it goes on.
func (c Config) loginsAreCounted() bool { return c.Probe.Kind == probe.MySQL }

// begin notes the start of a probe.
func (s *schedule) begin(now time.Time, random float64) {
	if s.wanted {
		s.hasty = now
	}
	s.started, s.random, s.open, s.wanted = now, random, true, false
	s.inFlight++
}

// end notes the end of the probe that started then.
func (s *schedule) end(started time.Time) {
	s.inFlight--
	if started.Equal(s.started) {
		s.open = false
	}
}

// jittered returns the interval made shorter or longer by up to the given part of it, evenly for random in [0, 1), but
// not shorter than a tenth.
func jittered(interval time.Duration, part, random float64) time.Duration {
	return max(interval/shortest, interval+time.Duration(float64(interval)*part*(2*random-1)))
}
