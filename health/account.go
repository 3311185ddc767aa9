package health

import (
	"cmp"
	"slices"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// Account is what the monitor of the next process must know of one pool. Clocks are a process's own: what is a point in time
// here is in it as how long ago it was in nanoseconds, or how long it is until then, and missing when there is none.
type Account struct {
	Pool     string              `json:"pool"`
	Lags     bool                `json:"lags,omitempty"`   // replicas serve although they lag
	Split    bool                `json:"split,omitempty"`  // two servers claim to be the primary
	Splits   uint64              `json:"splits,omitempty"` // how often that began
	Seen     map[uint64]Sighting `json:"seen,omitempty"`   // by system identifier, as in Timelines
	Progress []ProgressAccount   `json:"progress,omitempty"`
	Backends []BackendAccount    `json:"backends,omitempty"` // and those that leave with sessions
}

// BackendAccount is what is known of a backend.
type BackendAccount struct {
	Name    string       `json:"name"`
	Address pool.Address `json:"address"`
	Host    string       `json:"host,omitempty"` // of version 1.0, and not used: the name that Address was found by

	Removed bool           `json:"removed,omitempty"`
	Maint   bool           `json:"maint,omitempty"`
	Drain   bool           `json:"drain,omitempty"`
	Verdict VerdictAccount `json:"verdict"`
	Since   *time.Duration `json:"since,omitempty"` // it is up, or down
	Check   *CheckAccount  `json:"check,omitempty"` // missing: it is not probed

	Heard       bool                  `json:"heard,omitempty"`    // it has taken in the check's answer
	Said        *probe.DatabaseAnswer `json:"said,omitempty"`     // otherwise: its answer before
	Follows     bool                  `json:"follows,omitempty"`  // it is a replica here though it says that it is a primary
	Promoted    bool                  `json:"promoted,omitempty"` // it was seen read_only before it was writable
	Lag         CountAccount          `json:"lag,omitzero"`       // does it keep up?
	Behind      time.Duration         `json:"behind,omitempty"`   // how much it lagged when it last answered as a replica
	BehindKnown bool                  `json:"behind_known,omitempty"`
	Failing     FailingAccount        `json:"failing,omitzero"`   // where the failures began that took it down, or are about to
	Failures    []time.Duration       `json:"failures,omitempty"` // ages of failed connects in a row
	EjectedFor  *time.Duration        `json:"ejected,omitempty"`  // still; missing: it is not ejected
	Closing     *ClosingAccount       `json:"closing,omitempty"`  // missing: no session is to be closed
}

// VerdictAccount is what the pool makes of a backend.
type VerdictAccount struct {
	Up     bool   `json:"up,omitempty"`
	Backup bool   `json:"backup,omitempty"` // by its role
	Cause  string `json:"cause,omitempty"`  // the word of a Cause
	Reason string `json:"reason,omitempty"`
	Spared string `json:"spared,omitempty"` // why it would not be up if there were another
}

// CheckAccount is what a server has answered to one question. Backends that share a probe have the same.
type CheckAccount struct {
	Question string `json:"question"` // the same for the same question to the same server; it tells nothing of it
	Rhythm   string `json:"rhythm"`   // how often it is asked, and how many answers count
	Kind     string `json:"kind"`     // the word of a probe.Kind

	Counts   CountAccount  `json:"counts"`
	Last     *ProbeAccount `json:"last,omitempty"`     // missing: none has ended
	Shortage string        `json:"shortage,omitempty"` // why the last one could not be made
	Excused  bool          `json:"excused,omitempty"`  // the last one was late by the process's own fault

	CertificateEnds time.Time             `json:"certificate_ends,omitzero"`
	Answer          *probe.DatabaseAnswer `json:"answer,omitempty"`
	Current         bool                  `json:"current,omitempty"` // it has not gone down since that answer
	Asked           *time.Duration        `json:"asked,omitempty"`
	PrimarySince    *time.Duration        `json:"primary_since,omitempty"`
}

// CountAccount is how the answers to a question were in a row.
type CountAccount struct {
	Decided   bool `json:"decided,omitempty"`
	Patient   bool `json:"patient,omitempty"`
	Up        bool `json:"up,omitempty"`
	Successes int  `json:"successes,omitempty"`
	Failures  int  `json:"failures,omitempty"`
}

// ProbeAccount is a probe that has ended.
type ProbeAccount struct {
	Started time.Duration `json:"started"`
	Took    time.Duration `json:"took"`
	Error   string        `json:"error,omitempty"`
}

// FailingAccount is where failures of checks began.
type FailingAccount struct {
	Began    *time.Duration `json:"began,omitempty"`
	Received uint64         `json:"received,omitempty"` // bytes from the backend until then
	Moved    bool           `json:"moved,omitempty"`    // more have come since
}

// ClosingAccount is how far the closing of a backend's sessions has got.
type ClosingAccount struct {
	Cause      string         `json:"cause"`
	Close      bool           `json:"close,omitempty"` // this and the next two: the rule
	Grace      time.Duration  `json:"grace,omitempty"`
	Rate       int            `json:"rate,omitempty"`
	Redispatch bool           `json:"redispatch,omitempty"` // is to be done
	Next       *time.Duration `json:"next,omitempty"`       // until the next step
	Begun      bool           `json:"begun,omitempty"`
	Kept       bool           `json:"kept,omitempty"`
	Credit     int64          `json:"credit,omitempty"`
	Count      int            `json:"count,omitempty"`
}

// ProgressAccount is how far the log of a cluster was seen to reach.
type ProgressAccount struct {
	System   uint64          `json:"system"`
	Timeline uint32          `json:"timeline,omitempty"`
	Samples  []SampleAccount `json:"samples,omitempty"` // in ascending order
}

// SampleAccount is a position that somebody was seen to have reached.
type SampleAccount struct {
	Has   uint64        `json:"has"`
	Whole uint64        `json:"whole"`
	First time.Duration `json:"first"`
	Last  time.Duration `json:"last"`
}

// Account returns what the monitor of the next process must know, pool by pool.
func (m *Monitor) Account() []Account {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	accounts := make([]Account, len(m.pools))
	for i, w := range m.pools {
		accounts[i] = w.account(now)
	}
	return accounts
}

// account is Account of a pool. The mutex is held.
func (w *poolWatch) account(now time.Time) Account {
	a := Account{Pool: w.pool.Name(), Lags: w.lags, Split: w.split, Splits: w.splits, Seen: make(map[uint64]Sighting)}
	for system, s := range w.seen {
		a.Seen[system] = s
	}
	for system, p := range w.progress {
		a.Progress = append(a.Progress, p.account(system, now))
	}
	slices.SortFunc(a.Progress, func(p, q ProgressAccount) int { return cmp.Compare(p.System, q.System) })
	for b := range w.all {
		a.Backends = append(a.Backends, b.account(now))
	}
	return a
}

// account is Account of a backend. The mutex is held.
func (b *member) account(now time.Time) BackendAccount {
	a := BackendAccount{
		Name: b.backend.Name(), Address: b.backend.Address(),
		Removed: b.removed, Maint: b.maint, Drain: b.drain, Verdict: b.verdict.account(), Since: ago(b.since, now),
		Promoted: b.promoted, Lag: b.lag.account(), Behind: b.behind, BehindKnown: b.behindKnown, Failing: b.failing.account(now),
	}
	a.Failing.Moved = b.hasMoved(b.backend.Stats().Received)
	if b.target != nil {
		a.Check = b.target.account(now)
	}
	if a.Heard = b.said != nil && b.target != nil && b.said == b.target.answer; !a.Heard {
		a.Said = b.said
	}
	a.Follows = b.said != nil && b.answer.Primary != b.said.Primary
	for _, at := range b.evidence.failures {
		a.Failures = append(a.Failures, now.Sub(at))
	}
	a.EjectedFor = until(b.evidence.until, now)
	if b.closing != nil {
		a.Closing = b.closing.account(now)
	}
	return a
}

// account is Account of a target. The mutex is held.
func (t *target) account(now time.Time) *CheckAccount {
	a := &CheckAccount{
		Question: t.key.question.id(), Rhythm: t.key.rhythm, Kind: t.cfg.Probe.Kind.String(),
		Counts: t.checks.account(), Shortage: t.shortage, Excused: t.excused, CertificateEnds: t.certificateEnds,
		Answer: t.answer, Current: t.current, Asked: ago(t.asked, now), PrimarySince: ago(t.primarySince, now),
	}
	if last := t.last; !last.started.IsZero() {
		a.Last = &ProbeAccount{Started: now.Sub(last.started), Took: last.took}
		if last.err != nil {
			a.Last.Error = last.err.Error()
		}
	}
	return a
}

func (v verdict) account() VerdictAccount {
	return VerdictAccount{Up: v.up, Backup: v.backup, Cause: v.cause.String(), Reason: v.reason, Spared: v.spared}
}

func (s checkState) account() CountAccount {
	return CountAccount{Decided: s.decided, Patient: s.patient, Up: s.up, Successes: s.successes, Failures: s.failures}
}

func (f failing) account(now time.Time) FailingAccount {
	return FailingAccount{Began: ago(f.began, now), Received: f.received}
}

func (c *closing) account(now time.Time) *ClosingAccount {
	return &ClosingAccount{
		Cause: c.cause.String(), Close: c.rule.Close, Grace: c.rule.Grace, Rate: c.rule.Rate, Redispatch: c.redispatch,
		Next: until(c.next, now), Begun: c.begun, Kept: c.kept, Credit: c.credit, Count: c.count,
	}
}

func (p *progress) account(system uint64, now time.Time) ProgressAccount {
	a := ProgressAccount{System: system, Timeline: p.timeline}
	for _, s := range p.samples {
		a.Samples = append(a.Samples, SampleAccount{s.has, s.whole, now.Sub(s.first), now.Sub(s.last)})
	}
	return a
}

// ago returns how long ago a time was; nil: it is no time.
func ago(t, now time.Time) *time.Duration {
	if t.IsZero() {
		return nil
	}
	d := now.Sub(t)
	return &d
}

// until returns how long it is until a time; nil: it is no time.
func until(t, now time.Time) *time.Duration {
	if t.IsZero() {
		return nil
	}
	d := t.Sub(now)
	return &d
}
