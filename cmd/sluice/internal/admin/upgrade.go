package admin

import (
	"math"
	"sync/atomic"
	"time"
)

// An UpgradeStatus is how the last hand-over to another process went, whether this one has left or has followed.
type UpgradeStatus struct {
	At           time.Time `json:"at"` // when it was asked for
	OK           bool      `json:"ok"` // false: the process that there was goes on
	Error        string    `json:"error,omitempty"`
	FromVersion  string    `json:"from_version"`
	Sessions     int       `json:"sessions"`           // that have gone over
	Left         int       `json:"left"`               // that could not go with them
	Ended        int       `json:"ended"`              // of those that were left: ended when the time was over
	Returned     int       `json:"returned,omitempty"` // that were on their way when it failed, and went on where they were
	AcceptPause  float64   `json:"accept_pause_seconds"`
	LongestPause float64   `json:"longest_pause_seconds"` // of one session
	Total        float64   `json:"total_seconds"`
}

// upgrades are the metrics of hand-overs. They are there, and zero, before the first one.
type upgrades struct {
	phases   [3]atomic.Uint64 // of the last one: seconds, as math.Float64bits has them
	outcomes [4]atomic.Uint64 // of sessions, of all
}

const (
	moved = iota
	left
	ended
	returned
)

var (
	upgradePhases   = [...]labels{`{phase="accept_pause"}`, `{phase="session_pause"}`, `{phase="total"}`}
	upgradeOutcomes = [...]labels{moved: `{outcome="moved"}`, left: `{outcome="left"}`, ended: `{outcome="ended"}`, returned: `{outcome="returned"}`}
)

// Upgraded counts a hand-over. It is called in the process that serves afterwards: what the other one has counted comes
// by Server.Assume.
func (m *Metrics) Upgraded(u *UpgradeStatus) {
	for i, seconds := range [...]float64{u.AcceptPause, u.LongestPause, u.Total} {
		m.upgrades.phases[i].Store(math.Float64bits(seconds))
	}
	for outcome, n := range [...]int{moved: u.Sessions, left: u.Left, returned: u.Returned} {
		m.upgrades.outcomes[outcome].Add(uint64(n))
	}
}

// UpgradeEnded counts sessions that were left of a hand-over and ended with it.
func (m *Metrics) UpgradeEnded(sessions int) { m.upgrades.outcomes[ended].Add(uint64(sessions)) }

func (u *upgrades) write(e *exposition) {
	e.gauge("sluice_upgrade_seconds",
		"The last hand-over to another process: how long nothing was accepted, how long one session stood still at most, and all of it.")
	for i := range u.phases {
		e.number(upgradePhases[i], math.Float64frombits(u.phases[i].Load()))
	}
	e.counter("sluice_upgrade_sessions_total", carried,
		"Sessions at hand-overs to another process, by what became of them: left are those that could not go with the others.")
	for i := range u.outcomes {
		e.sample(upgradeOutcomes[i], u.outcomes[i].Load())
	}
}
