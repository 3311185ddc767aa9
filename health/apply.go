package health

import (
	"math/rand/v2"
	"time"

	"sluice/health/probe"
)

// Apply puts other pools, other backends of them and other settings in the place of those that there are. It must not be
// called by two goroutines at a time, and changes nothing when it fails.
//
// A pool and a backend are known by their pointers. Of one that stays everything survives: its state, its ejection, what
// is known of its server, and the time of the next probe. What is known of a server belongs to the question that it is
// asked. A backend that is to be asked another one keeps its state until rise or fall answers to that have come. One that
// is not asked any more is up. A backend that is new begins as with New. One that is gone is left as it is, but not
// ejected. Its sessions are closed as OnDown says for removed ones, or for another cause for which that had begun.
//
// The error names every pool that is given twice, and every backend whose check cannot work.
func (m *Monitor) Apply(pools []Watched) error {
	p, err := m.Prepare(pools)
	if err != nil {
		return err
	}
	p.Commit()
	return nil
}

// Prepare makes what an Apply needs, and changes nothing. Until Commit or Abandon is called there must be no other
// Prepare or Apply. The error is Apply's.
func (m *Monitor) Prepare(pools []Watched) (*Prepared, error) {
	return m.ready(m.plan(pools, false))
}

// PrepareSome is Prepare for some of the pools that are watched: all others stay as they are, and take no time but that
// for targets that they may share.
func (m *Monitor) PrepareSome(pools []Watched) (*Prepared, error) {
	return m.ready(m.plan(pools, true))
}

func (m *Monitor) ready(p *plan) (*Prepared, error) {
	if err := p.check(); err != nil {
		p.giveUp()
		return nil, err
	}
	return &Prepared{m, p}, nil
}

// Prepared is an Apply that is ready to be carried out. Of Commit and Abandon the first call counts, and there must be
// one.
type Prepared struct {
	monitor *Monitor
	plan    *plan // nil: it is over
}

// Commit carries the Apply out. Pools whose backends were given with Watched.Backends have them by now.
func (p *Prepared) Commit() {
	if p.plan == nil {
		return
	}
	p.plan.compare(p.monitor.targets)
	p.monitor.carryOut(p.plan, time.Now())
	p.plan = nil
}

// Abandon closes what Prepare has made. After Commit it does nothing, so that it can be deferred.
func (p *Prepared) Abandon() {
	if p.plan == nil {
		return
	}
	p.plan.giveUp()
	p.plan = nil
}

// carryOut does what is planned. Nothing of it can fail. Event loops may wait for the mutex: of ten thousand backends only
// those are looked at that are not as they were.
func (m *Monitor) carryOut(p *plan, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeAllBut(p, now)
	for b, one := range p.fresh {
		m.members.Store(b, one)
	}
	m.pools, m.targets = p.watches, p.probed
	var changed news
	for _, n := range p.targets {
		if !n.stays {
			n.begin(now)
			changed.targets = append(changed.targets, n.target)
		}
	}
	for _, w := range p.pools {
		if !w.stays {
			w.begin(now)
			m.recall(w.watch)
			m.followRules(w.watch, now)
			changed.pools = append(changed.pools, poolNews{w.watch, w.newMembers()})
		}
	}
	m.forgetLeft()
	if m.running {
		m.proceed(changed, now)
	}
}

// removeAllBut ends what is not in the plan. The mutex is held.
func (m *Monitor) removeAllBut(p *plan, now time.Time) {
	for _, w := range m.gone {
		m.welcome(w, p)
	}
	for _, w := range m.pools {
		if next := p.watched[w.pool]; next == nil && !p.some || next != nil && !next.stays {
			m.welcome(w, p)
			m.dismiss(w, p, now)
		}
	}
	for _, t := range p.ended {
		t.remove()
	}
}

// remove ends a target. What its probes in flight find is nobody's any more. The mutex is held.
func (t *target) remove() {
	t.members = nil
	if t.stop == nil {
		t.prober.Close() // it does not run, which would close it
		return
	}
	t.stop()
}

// begin makes the target what it is to be, before its members know it. The mutex is held.
func (n *plannedTarget) begin(now time.Time) {
	t := n.target
	t.cfg, t.members = n.cfg, n.members
	switch n.from {
	case t:
	case nil:
		for _, b := range n.members {
			t.succeed(b)
		}
	default: // it goes on in another way, for others
		t.knowledge = n.from.knowledge
		t.schedule.open, t.schedule.inFlight = false, 0
	}
	if t.key != n.key {
		t.key = n.key
		t.schedule.spread(*t.cfg, t.pace(), now, rand.Float64())
	}
}

// succeed takes over what is known of a member's server by another question: whether there is a verdict, which is to
// stand for a while, and its role. The mutex is held.
func (t *target) succeed(b *member) {
	so := b.target
	if !b.begun {
		return
	}
	if so == nil || so.checks.decided || so.checks.patient {
		t.checks.patient = true
	}
	if so != nil && so.cfg.Probe.Kind == t.cfg.Probe.Kind && t.answer == nil {
		t.answer, t.current, t.asked, t.primarySince = so.answer, so.current, so.asked, so.primarySince
	}
}

// begin gives the pool its settings and members. The mutex is held.
func (p *plannedPool) begin(now time.Time) {
	w := p.watch
	w.cfg, w.way, w.members = *p.cfg, p.way, p.members
	w.split = w.split && w.cfg.elects()
	w.lags = w.lags && w.cfg.MaxLag > 0
	for _, i := range p.news {
		b := w.members[i]
		b.ask(p.target(i), now)
		b.backup, b.tier = b.backend.BackupConfigured(), b.backend.Backup()
		if !b.begun {
			b.begin(now)
		} else if b.verdict.reason == notChecked && !w.cfg.Judged() && b.backend.Stats().Up {
			b.verdict = verdict{up: true} // the pool has nobody else
		}
		if w.cfg.MaxLag == 0 {
			b.lag.forget()
		}
	}
}

// followRules takes in that the rules of a pool may have changed for sessions that are being closed. The mutex is held.
func (m *Monitor) followRules(w *poolWatch, now time.Time) {
	for b := range w.all {
		if c := b.closing; c != nil {
			c.follow(w.cfg.OnDown.rule(c.cause), now)
		}
	}
	for _, b := range w.leaving { // of members the pool makes up its mind
		m.lookClosing(b, now)
	}
	wakeUp(w.wakeClosing) // the time of the next step may be another one
}

// ask gives the backend its target; nil: it is not probed. What a database said is of no use when none is asked any more,
// or one of another kind. The mutex is held.
func (b *member) ask(t *target, now time.Time) {
	so := b.target
	b.target = t
	if so.kind() != t.kind() {
		b.said, b.answer, b.promoted, b.behindKnown = nil, nil, false, false
		b.lag.forget()
	}
	if t != nil && t.checks.failures > 0 && (so == nil || so.key.question != t.key.question) {
		b.fails(now) // others have asked it that before
	}
}

// kind returns what the target is asked, and Off when there is none.
func (t *target) kind() probe.Kind {
	if t == nil {
		return probe.Off
	}
	return t.cfg.Probe.Kind
}

// begin gives a new backend the state that it has until its first check. The mutex is held.
func (b *member) begin(now time.Time) {
	b.begun, b.since = true, now
	switch {
	case b.target == nil:
		b.verdict = verdict{up: true}
		b.backend.SetUp(true) // a monitor before this one may have left it down
	case b.pool.cfg.Judged():
		b.verdict = verdict{reason: notChecked}
		b.backend.SetUp(false)
	case b.backend.Stats().Up:
		b.verdict = verdict{up: true}
	default: // the pool may yet need it, unproven as it is
		b.verdict = verdict{reason: notChecked}
	}
}

// catchUp takes in what the target was told before the backend was a member of it, or while it was in maintenance. The
// mutex is held.
func (b *member) catchUp() {
	if t := b.target; t != nil && t.current && t.answer != nil && t.answer != b.said {
		b.hear(t.asked, true)
	}
}
