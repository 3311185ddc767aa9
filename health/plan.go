package health

import (
	"errors"
	"fmt"
	"reflect"

	"sluice/health/probe"
	"sluice/pool"
)

// plan is what Apply is about to put in the place of what there is. Until it is carried out nothing has changed.
type plan struct {
	pools   []*plannedPool
	watched map[*pool.Pool]*plannedPool
	members map[*pool.Backend]*member
	targets []*plannedTarget // in the order of the backends that need them
	byKey   map[targetKey]*plannedTarget
	kept    map[*target]bool // those so far that go on
	ended   []*target        // those so far that do not

	watches []*poolWatch // of pools
	probed  []*target    // of targets
}

// plannedPool is what becomes of a pool.
type plannedPool struct {
	watch   *poolWatch // the one so far, or a new one
	twice   bool       // the pool is given twice, which is wrong
	cfg     *Config    // of its own: a target keeps it
	way     way
	members []*member // those so far, and new ones
	targets []*plannedTarget
	news    []int // positions of members that are not as they were, or new
	same    bool  // cfg is that so far
	stays   bool  // and everything else too
}

// plannedTarget is what becomes of a target.
type plannedTarget struct {
	key     targetKey
	cfg     *Config // of the first member's pool
	members []*member
	from    *target // the one so far of the same question; nil: there is none
	target  *target // from, or a new one; nil: it could not be made
	err     error   // why not
	stays   bool    // nothing of that is other than so far
}

// plan finds out what an Apply changes, and makes the probers that it needs.
func (m *Monitor) plan(pools []Watched) *plan {
	about := len(*m.members.Load()) // as many as there are: mostly little changes
	p := &plan{
		watched: make(map[*pool.Pool]*plannedPool, len(pools)), members: make(map[*pool.Backend]*member, about),
		targets: make([]*plannedTarget, 0, about), byKey: make(map[targetKey]*plannedTarget, about),
		kept: make(map[*target]bool, about),
	}
	known := make(map[*pool.Pool]*poolWatch, len(m.pools))
	for _, w := range m.pools {
		known[w.pool] = w
	}
	for _, given := range pools {
		cfg := given.Config.withDefaults()
		planned := &plannedPool{watch: known[given.Pool], twice: p.watched[given.Pool] != nil, cfg: &cfg}
		if planned.watch == nil {
			planned.watch = newWatch(given.Pool)
		}
		if !planned.twice {
			p.watched[given.Pool] = planned
			m.planMembers(p, planned, given.backends())
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

// newWatch returns a pool of which nothing is known yet.
func newWatch(given *pool.Pool) *poolWatch {
	return &poolWatch{
		pool: given, seen: make(timelines), progress: make(map[uint64]*progress), wakeClosing: make(chan struct{}, 1),
	}
}

// planMembers adds the backends of a pool.
func (m *Monitor) planMembers(p *plan, planned *plannedPool, backends []*pool.Backend) {
	planned.same = reflect.DeepEqual(planned.watch.cfg, *planned.cfg)
	if planned.way = planned.watch.way; !planned.same {
		planned.way = wayOf(planned.cfg)
	}
	planned.members = make([]*member, 0, len(backends))
	planned.targets = make([]*plannedTarget, 0, len(backends))
	for _, b := range backends {
		m.planMember(p, planned, b)
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
	key := planned.way.keyFor(b)
	if so := one.target; so != nil && so.key.question.late == b && key.question.late == nil { // its address is known by now
		so.key.question.address, so.key.question.late = b.Address(), nil
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
	same, related := make(map[targetKey]*target, len(targets)), make(map[question]*target, len(targets))
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
