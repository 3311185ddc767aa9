package health

import (
	"errors"
	"time"

	"sluice/pool"
)

// Assume makes a monitor that does not run yet go on where that of another process was, as if its own pools were an Apply
// to that one's. The pools have assumed theirs before. Nobody goes up or down by it, but for what is configured otherwise
// here. Of pools and backends that only one of the two has nothing is taken over, except that sessions of removed backends
// go on to be closed. The first probes come soon, and their answers are counted with those of before.
func (m *Monitor) Assume(accounts []Account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := successor{m: m, now: time.Now(), learned: make(map[*target]string)}
	s.learn(accounts)
	byName := make(map[string]*Account, len(accounts))
	for i := range accounts {
		byName[accounts[i].Pool] = &accounts[i]
	}
	for _, w := range m.pools {
		if a := byName[w.pool.Name()]; a != nil {
			s.assumePool(w, a)
		}
	}
	for _, w := range m.pools {
		s.settle(w, byName[w.pool.Name()] != nil)
	}
	wakeUp(m.wakeEject)
}

// successor is a monitor that takes over.
type successor struct {
	m       *Monitor
	now     time.Time
	learned map[*target]string // the questions whose answers it knows
}

// learn gives targets what is known by their questions: by who was asked in the same rhythm, or else by whomever. The mutex
// is held.
func (s *successor) learn(accounts []Account) {
	type asked struct{ question, rhythm string }
	known := make(map[asked]*CheckAccount)
	for i := range accounts {
		for j := range accounts[i].Backends {
			if c := accounts[i].Backends[j].Check; c != nil {
				known[asked{c.Question, ""}], known[asked{c.Question, c.Rhythm}] = c, c
			}
		}
	}
	for _, t := range s.m.targets {
		id := t.key.question.id()
		check := known[asked{id, t.key.rhythm}]
		if check == nil {
			check = known[asked{id, ""}]
		}
		if check != nil {
			s.learned[t] = id
			t.assume(check, s.now)
		}
	}
}

// assume takes over what is known of a server. The mutex is held.
func (t *target) assume(a *CheckAccount, now time.Time) {
	t.checks, t.shortage, t.excused, t.certificateEnds = a.Counts.state(), a.Shortage, a.Excused, a.CertificateEnds
	t.assumeAnswer(a, now)
	if last := a.Last; last != nil {
		t.last = finished{started: now.Add(-last.Started), took: last.Took}
		if last.Error != "" {
			t.last.err = errors.New(last.Error)
		}
	}
}

func (t *target) assumeAnswer(a *CheckAccount, now time.Time) {
	t.answer, t.current = a.Answer, a.Current
	t.asked, t.primarySince = before(a.Asked, now), before(a.PrimarySince, now)
}

// assumePool takes over what is known of a pool. The mutex is held.
func (s *successor) assumePool(w *poolWatch, a *Account) {
	w.split, w.splits, w.lags = a.Split && w.cfg.elects(), a.Splits, a.Lags && w.cfg.MaxLag > 0
	for system, seen := range a.Seen {
		w.seen.raise(system, seen)
	}
	for _, p := range a.Progress {
		w.progress[p.System] = p.progress(s.now)
	}
	members := make(map[string]*member, len(w.members))
	for _, b := range w.members {
		members[b.backend.Name()] = b
	}
	for i := range a.Backends {
		account := &a.Backends[i]
		b := members[account.Name]
		if !account.Removed && b != nil && account.is(b.backend) {
			s.assumeMember(b, account)
		} else {
			s.assumeLeaving(w, account)
		}
	}
}

// is reports whether the account is that of a backend, as pool.Update knows it.
func (a *BackendAccount) is(b *pool.Backend) bool {
	return b.Name() == a.Name && b.Address() == a.Address
}

// assumeMember takes over what is known of a backend that both have. The mutex is held.
func (s *successor) assumeMember(b *member, a *BackendAccount) {
	b.maint, b.drain = a.Maint, a.Drain
	b.verdict, b.since = a.Verdict.verdict(), before(a.Since, s.now)
	b.assumeEvidence(a, s.now)
	if b.closing = nil; s.m.sessions != nil {
		b.closing = a.Closing.closing(b.pool.cfg.OnDown, s.now)
	}
	if b.target == nil {
		if b.verdict = (verdict{up: true}); !a.Verdict.Up {
			b.since = s.now
		}
		return
	}
	if a.Check != nil && a.Check.Question == s.learned[b.target] {
		b.assumeAnswers(a, s.now)
		return
	}
	s.succeed(b, a)
}

// succeed takes over what is known of a member's server by another question, as target.succeed does. The mutex is held.
func (s *successor) succeed(b *member, a *BackendAccount) {
	t, sameKind := b.target, a.Check != nil && a.Check.Kind == b.target.cfg.Probe.Kind.String()
	if sameKind {
		b.assumeAnswers(a, s.now)
	}
	if s.learned[t] != "" { // others have asked it that
		if t.checks.failures > 0 {
			b.fails(s.now)
		}
		return
	}
	if a.Check == nil || a.Check.Counts.Decided || a.Check.Counts.Patient {
		t.checks.patient = true
	}
	if sameKind && t.answer == nil {
		t.assumeAnswer(a.Check, s.now)
	}
}

// assumeAnswers takes over what the backend's server has said. The mutex is held.
func (b *member) assumeAnswers(a *BackendAccount, now time.Time) {
	if b.said = a.Said; a.Heard {
		b.said = a.Check.Answer
		if t := b.target; t.answer != nil && b.said != nil && *t.answer == *b.said {
			b.said = t.answer // it has heard that
		}
	}
	if b.answer = b.said; a.Follows && b.said != nil {
		replica := *b.said
		replica.Primary = false
		b.answer = &replica
	}
	b.promoted = a.Promoted
	b.failing = failing{before(a.Failing.Began, now), a.Failing.Received, a.Failing.Moved}
	if b.pool.cfg.MaxLag > 0 {
		b.lag = a.Lag.state()
	}
	b.behind, b.behindKnown = a.Behind, a.BehindKnown
}

// assumeEvidence takes over what connects of sessions have shown. The mutex is held.
func (b *member) assumeEvidence(a *BackendAccount, now time.Time) {
	if a.EjectedFor != nil && !b.evidence.ejected() {
		b.pool.ejected++
		b.evidence.until = now.Add(*a.EjectedFor)
	}
	b.evidence.failures = nil
	for _, age := range a.Failures {
		b.evidence.failures = append(b.evidence.failures, now.Add(-age))
	}
	b.blamed.Store(len(a.Failures) > 0)
}

// assumeLeaving goes on to close the sessions of a backend that is not in use here. The mutex is held.
func (s *successor) assumeLeaving(w *poolWatch, a *BackendAccount) {
	if s.m.sessions == nil {
		return
	}
	for _, b := range w.pool.All()[len(w.pool.Backends()):] {
		if !a.is(b) {
			continue
		}
		cfg := w.cfg
		one := &member{
			pool: w, backend: b, begun: true, removed: true, maint: a.Maint, drain: a.Drain,
			verdict: a.Verdict.verdict(), since: before(a.Since, s.now), target: &target{cfg: &cfg},
		}
		if a.Check != nil {
			one.target.assume(a.Check, s.now)
			one.assumeAnswers(a, s.now)
		}
		one.closing = a.Closing.closing(cfg.OnDown, s.now)
		w.leaving = append(w.leaving, one)
		return
	}
}

// settle makes the pool, and the goroutines that will run, know what was taken over. The mutex is held.
func (s *successor) settle(w *poolWatch, assumed bool) {
	for b := range w.all {
		b.tier = b.backend.Backup()
		if b.removed {
			s.m.lookClosing(b, s.now)
			continue
		}
		b.backend.SetEjected(b.evidence.ejected())
		if !b.backend.Unproven() && b.backend.Stats().Up != b.verdict.up {
			b.backend.SetUp(b.verdict.up)
		}
		w.keeps = w.keeps || b.closing != nil && b.closing.kept
	}
	if assumed {
		s.m.decide(w, w.members, s.now) // for what is configured otherwise
		w.lookStranded()
	}
	wakeUp(w.wakeClosing)
}

// before returns the time that was so long ago; nil: the zero time.
func before(ago *time.Duration, now time.Time) time.Time {
	if ago == nil {
		return time.Time{}
	}
	return now.Add(-*ago)
}

func (a VerdictAccount) verdict() verdict {
	return verdict{up: a.Up, backup: a.Backup, cause: causeOf(a.Cause), reason: a.Reason, spared: a.Spared}
}

func (a CountAccount) state() checkState {
	return checkState{decided: a.Decided, patient: a.Patient, up: a.Up, successes: a.Successes, failures: a.Failures}
}

// closing returns where the closing of sessions goes on, by the rules here; nil: there is none.
func (a *ClosingAccount) closing(rules OnDown, now time.Time) *closing {
	if a == nil {
		return nil
	}
	c := &closing{
		cause: causeOf(a.Cause), rule: CloseRule{a.Close, a.Grace, a.Rate}, redispatch: a.Redispatch, begun: a.Begun, kept: a.Kept,
		credit: a.Credit, count: a.Count,
	}
	if a.Next != nil {
		c.next = now.Add(*a.Next)
	}
	c.follow(rules.rule(c.cause), now)
	return c
}

func (a *ProgressAccount) progress(now time.Time) *progress {
	p := &progress{timeline: a.Timeline}
	for _, s := range a.Samples {
		p.samples = append(p.samples, sample{s.Has, s.Whole, now.Add(-s.First), now.Add(-s.Last)})
	}
	return p
}
