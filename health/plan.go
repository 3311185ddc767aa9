package health

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"sluice/health/probe"
	"sluice/pool"
)

// plan is what Apply is about to put in the place of what there is. Until it is carried out nothing has changed.
type plan struct {
	number  uint64         // of the plan
	some    bool           // pools that are not in it stay as they are
	pools   []*plannedPool // that are not to stay as they are
	watched map[*pool.Pool]*plannedPool
	fresh   map[*pool.Backend]*member // those that are no members so far
	targets []*plannedTarget          // in the order of the backends that need them
	byKey   map[targetKey]*plannedTarget
	kept    map[*target]bool // those so far that go on
	ended   []*target        // those so far that do not

	watches []*poolWatch // all that there will be
	probed  []*target    // of targets
}

// plannedPool is what becomes of a pool.
type plannedPool struct {
	watch   *poolWatch // the one so far, or a new one
	twice   bool       // the pool is given twice, which is wrong
	unknown bool       // it was to be watched already, and is not
	cfg     *Config    // of its own: a target keeps it
	way     way
	found   int       // how many of the members so far were passed
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

// plan finds out what an Apply changes, and makes the probers that it needs. With some, pools that are not given stay.
func (m *Monitor) plan(pools []Watched, some bool) *plan {
	about := len(m.targets) // as many as there are: mostly little changes
	m.plans++
	p := &plan{
		number: m.plans, some: some, watched: make(map[*pool.Pool]*plannedPool, len(pools)), fresh: make(map[*pool.Backend]*member),
		targets: make([]*plannedTarget, 0, about), byKey: make(map[targetKey]*plannedTarget, about),
		kept: make(map[*target]bool, about),
	}
	if known := m.known(); some {
		m.planSome(p, pools, known)
	} else {
		for i := range pools {
			m.planPool(p, &pools[i], known[pools[i].Pool])
		}
	}
	p.choose(m.targets)
	for _, n := range p.targets {
		if n.target == nil {
			n.make(m.newProber)
		}
	}
	return p
}

// known returns the pools that are watched.
func (m *Monitor) known() map[*pool.Pool]*poolWatch {
	known := make(map[*pool.Pool]*poolWatch, len(m.pools))
	for _, w := range m.pools {
		known[w.pool] = w
	}
	return known
}

// planSome adds all pools that are watched, those that are given as they are to be. They keep their order, by which the
// first of those that share a target is found.
func (m *Monitor) planSome(p *plan, pools []Watched, known map[*pool.Pool]*poolWatch) {
	given := make(map[*pool.Pool]*Watched, len(pools))
	for i := range pools {
		one := &pools[i]
		if given[one.Pool] != nil || known[one.Pool] == nil {
			p.pools = append(p.pools, &plannedPool{
				watch: newWatch(one.Pool), twice: given[one.Pool] != nil, unknown: known[one.Pool] == nil,
			})
		}
		given[one.Pool] = one
	}
	for _, w := range m.pools {
		if one := given[w.pool]; one != nil {
			m.planPool(p, one, w)
			continue
		}
		p.planTargets(w)
	}
	p.watches = slices.Clone(m.pools)
}

// planPool adds a pool; watch is what is known of it, nil: nothing.
func (m *Monitor) planPool(p *plan, given *Watched, watch *poolWatch) {
	cfg := given.Config.withDefaults()
	planned := &plannedPool{watch: watch, twice: p.watched[given.Pool] != nil, cfg: &cfg}
	if watch == nil {
		planned.watch = newWatch(given.Pool)
	}
	if p.pools = append(p.pools, planned); planned.twice {
		return
	}
	p.watched[given.Pool] = planned
	m.planMembers(p, planned, given.backends())
}

// planTargets adds the targets of a pool that stays as it is: others may share them.
func (p *plan) planTargets(w *poolWatch) {
	var cfg *Config // of its own: a target keeps it
	for _, b := range w.members {
		if b.target == nil {
			continue
		}
		if cfg == nil {
			cfg = new(Config)
			*cfg = w.cfg
		}
		p.share(b.target.key, cfg, b)
	}
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

// memberOf returns the member that a backend of the pool is so far; nil: none. Nearly all stay, in their order: so it is looked
// for where the last one was, and only then among all.
func (m *Monitor) memberOf(planned *plannedPool, b *pool.Backend) *member {
	const few = 4
	next := planned.watch.members[planned.found:]
	for i, one := range next[:min(len(next), few)] {
		if one.backend == b {
			planned.found += i + 1
			return one
		}
	}
	return m.member(b)
}

// planMember adds a backend of a pool, and the target that it needs.
func (m *Monitor) planMember(p *plan, planned *plannedPool, b *pool.Backend) {
	one := m.memberOf(planned, b)
	if one == nil {
		one = &member{pool: planned.watch, backend: b}
		p.fresh[b] = one
	}
	one.plan = p.number
	planned.members = append(planned.members, one)
	if planned.cfg.Probe.Kind == probe.Off {
		planned.targets = append(planned.targets, nil)
		return
	}
	planned.targets = append(planned.targets, p.share(planned.way.keyOf(b.Address()), planned.cfg, one))
}

// share returns the target of a member, which it has for itself or together with others.
func (p *plan) share(key targetKey, cfg *Config, one *member) *plannedTarget {
	n := p.byKey[key]
	if n == nil {
		n = &plannedTarget{key: key, cfg: cfg}
		p.byKey[key] = n
		p.targets = append(p.targets, n)
	}
	n.members = append(n.members, one)
	return n
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

type newProber func(probe.Config, pool.Address) (probe.Prober, error)

// make makes a new target.
func (n *plannedTarget) make(newProber newProber) {
	prober, err := newProber(n.cfg.Probe, n.key.question.address)
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
		if w.unknown {
			problems = append(problems, fmt.Errorf("watch pool %q: it is not watched yet", name))
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
