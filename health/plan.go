package health

import (
	"errors"
	"fmt"

	"sluice/health/probe"
	"sluice/pool"
)

// plan is what Apply is about to put in the place of what there is. Until it is carried out nothing has changed.
type plan struct {
	pools   []plannedPool
	watched map[*pool.Pool]bool
	members map[*pool.Backend]*member
	targets []*plannedTarget // in the order of the backends that need them
	byKey   map[targetKey]*plannedTarget
	kept    map[*target]bool // those so far that go on
}

// plannedPool is what becomes of a pool.
type plannedPool struct {
	watch   *poolWatch // the one so far, or a new one
	twice   bool       // the pool is given twice, which is wrong
	cfg     Config
	members []*member // those so far, and new ones
	targets []*plannedTarget
}

// plannedTarget is what becomes of a target.
type plannedTarget struct {
	key     targetKey
	cfg     Config
	members []*member
	from    *target // the one so far of the same question; nil: there is none
	target  *target // from, or a new one; nil: it could not be made
	err     error   // why not
}

// plan finds out what an Apply changes, and makes the probers that it needs.
func (m *Monitor) plan(pools []Watched) *plan {
	p := &plan{
		watched: make(map[*pool.Pool]bool), members: make(map[*pool.Backend]*member),
		byKey: make(map[targetKey]*plannedTarget), kept: make(map[*target]bool),
	}
	for _, given := range pools {
		planned := plannedPool{watch: m.watchOf(given.Pool), twice: p.watched[given.Pool], cfg: given.Config.withDefaults()}
		if !planned.twice {
			p.watched[given.Pool] = true
			for _, b := range given.backends() {
				m.planMember(p, &planned, b)
			}
		}
		p.pools = append(p.pools, planned)
	}
	p.choose(m.targets)
	for _, n := range p.targets {
		if n.target == nil {
			n.make(m.newProber)
		}
	}
	return p
}

// watchOf returns what is known of a pool, which is nothing of a new one.
func (m *Monitor) watchOf(given *pool.Pool) *poolWatch {
	for _, w := range m.pools {
		if w.pool == given {
			return w
		}
	}
	return &poolWatch{
		pool: given, seen: make(timelines), progress: make(map[uint64]*progress), wakeClosing: make(chan struct{}, 1),
	}
}

// planMember adds a backend of a pool, and the target that it needs.
func (m *Monitor) planMember(p *plan, planned *plannedPool, b *pool.Backend) {
	one := m.member(b)
	if one == nil {
		one = &member{pool: planned.watch, backend: b}
	}
	p.members[b] = one
	planned.members = append(planned.members, one)
	if planned.cfg.Probe.Kind == probe.Off {
		planned.targets = append(planned.targets, nil)
		return
	}
	key := keyFor(planned.cfg, b)
	if so := one.target; so != nil && so.key.question.late == b && key.question.late == nil { // its address is known by now
		so.key = keyOf(so.cfg, b.Address())
	}
	n := p.byKey[key]
	if n == nil {
		n = &plannedTarget{key: key, cfg: planned.cfg}
		p.byKey[key] = n
		p.targets = append(p.targets, n)
	}
	n.members = append(n.members, one)
	planned.targets = append(planned.targets, n)
}

// choose finds the targets so far that go on, and whose knowledge new ones take over: that of the same question. It is the
// one that asks it in the same way too, or else the one that a member has had, or else any.
func (p *plan) choose(targets []*target) {
	same, related := make(map[targetKey]*target), make(map[question]*target)
	for _, t := range targets {
		same[t.key], related[t.key.question] = t, t
	}
	for _, n := range p.targets {
		if n.from = same[n.key]; n.from != nil {
			n.target, p.kept[n.from] = n.from, true
		}
	}
	for _, n := range p.targets {
		if n.from != nil {
			continue
		}
		n.from = related[n.key.question]
		for _, b := range n.members {
			if b.target != nil && b.target.key.question == n.key.question {
				n.from = b.target
				break
			}
		}
		if n.from != nil && !p.kept[n.from] {
			n.target, p.kept[n.from] = n.from, true
		}
	}
}

// make makes a new target.
func (n *plannedTarget) make(newProber newProber) {
	prober, err := proberOf(n.cfg.Probe, n.members[0].backend, newProber)
	if err != nil {
		n.err = err
		return
	}
	n.target = &target{prober: prober, wake: make(chan struct{}, 1)}
}

// check names every pool that is given twice, and every backend whose check cannot work.
func (p *plan) check() error {
	var problems []error
	for _, w := range p.pools {
		name := w.watch.pool.Name()
		if w.twice {
			problems = append(problems, fmt.Errorf("watch pool %q: it is given twice", name))
		}
		for i, n := range w.targets {
			if n != nil && n.err != nil {
				problems = append(problems, fmt.Errorf("watch pool %q: backend %q: %w", name, w.members[i].backend.Name(), n.err))
			}
		}
	}
	return errors.Join(problems...)
}

// giveUp closes what was made for nothing.
func (p *plan) giveUp() {
	for _, n := range p.targets {
		if n.target != nil && n.target != n.from {
			n.target.prober.Close()
		}
	}
}
