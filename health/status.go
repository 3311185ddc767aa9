package health

import (
	"time"

	"sluice/pool"
)

// Status is what a monitor knows of one backend.
type Status struct {
	Checked bool      `json:"-"`                // probes are made of it: its pool's check is not off
	Up      bool      `json:"-"`                // by active checks
	Reason  string    `json:"reason,omitempty"` // why it is not up, in one line; "" when it is
	Standby bool      `json:"-"`                // it is not up only because of its role: it answers, and waits for its turn
	Since   time.Time `json:"since"`            // when it went up or down; at the start: when the monitor was made

	Successes int           `json:"successes"`     // probes in a row that succeeded
	Failures  int           `json:"failures"`      // probes in a row that failed
	LastProbe time.Time     `json:"last,omitzero"` // start of the last finished probe; zero: none yet
	Took      time.Duration `json:"-"`
	Error     string        `json:"error,omitempty"` // why it failed; "" = it succeeded

	Role     string        `json:"role,omitempty"`     // of a database server that answers: "primary" or "replica"; "" = unknown
	Timeline uint32        `json:"timeline,omitempty"` // that it writes, or replays; 0 = unknown
	Lag      time.Duration `json:"-"`                  // of a replica: 0 when it has replayed all that a server of the pool was seen to have
	LagKnown bool          `json:"-"`                  // false: no replica, or it cannot tell

	CertificateEnds time.Time `json:"certificate_ends,omitzero"` // of the server's certificate, as the last TLS handshake of a check saw it; zero: none did

	EjectedUntil time.Time `json:"ejected_until,omitzero"` // zero: not ejected
}

// Status returns a copy of what is known of a backend of the pools, and the zero Status for any other.
func (m *Monitor) Status(b *pool.Backend) Status {
	one := m.member(b)
	if one == nil {
		return Status{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{
		Checked: one.target != nil, Up: one.verdict.up, Reason: one.verdict.reason, Since: one.since,
		Standby:      one.verdict.standby(),
		EjectedUntil: one.evidence.until,
	}
	if one.target != nil {
		one.target.fill(&s)
	}
	if a := one.answer; a != nil && one.target.current {
		s.Role, s.Timeline = roleOf(a), a.Timeline
		if !a.Primary {
			s.Lag, s.LagKnown = one.behind, one.behindKnown
		}
	}
	return s
}

// fill adds what the target knows. The mutex is held.
func (t *target) fill(s *Status) {
	s.Successes, s.Failures, s.LastProbe, s.Took = t.checks.successes, t.checks.failures, t.last.started, t.last.took
	s.CertificateEnds = t.certificateEnds
	if t.last.err != nil {
		s.Error = t.last.err.Error()
	}
}

// PoolStatus is what a monitor knows of one pool.
type PoolStatus struct {
	SplitBrain  bool   `json:"split_brain"` // two servers claim to be the primary
	SplitBrains uint64 `json:"-"`           // how often that began
	AllLag      bool   `json:"all_lag"`     // replicas that lag more than MaxLag serve, for want of others
}

// PoolStatus returns a copy of what is known of one of the pools, and the zero PoolStatus for any other. Only pools that
// want the primary know of a split brain, and only those with a limit of a lag.
func (m *Monitor) PoolStatus(p *pool.Pool) PoolStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.pools {
		if w.pool == p {
			return PoolStatus{w.split, w.splits, w.lags}
		}
	}
	return PoolStatus{}
}
