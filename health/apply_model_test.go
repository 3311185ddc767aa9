package health

import (
	"slices"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// gameTarget is a target as the model has it.
type gameTarget struct {
	server             string
	way                uint8 // the question
	rise, fall         int   // and so is the interval, which the model does not know
	interval           time.Duration
	asker              *asker
	known, up          bool
	patient            bool
	successes, failure int
}

// gameMember is a backend as the model has it.
type gameMember struct {
	up     bool
	target *gameTarget // nil: not checked
}

// look notes as what backends come that are new to the monitor: up, or as they were when they were removed.
func (g *game) look() {
	g.comes = make(map[*pool.Backend]bool)
	for _, p := range g.pools {
		for _, b := range p.Backends() {
			if g.members[b] == nil {
				g.comes[b] = b.Stats().Up
				if !g.comes[b] {
					g.counts.down++
				}
			}
		}
	}
}

// applied tells the model that there are other pools now.
func (g *game) applied() {
	g.counts.changes++
	members := make(map[*pool.Backend]*gameMember)
	var targets []*gameTarget
	wanted := make(map[*pool.Backend]*gameTarget)
	for _, p := range g.pools {
		c := g.rules[p]
		for _, b := range p.Backends() {
			if c.Probe.Kind == probe.Off {
				continue
			}
			n := &gameTarget{server: b.Name(), way: c.Probe.ProxyVersion, rise: c.Rise, fall: c.Fall, interval: c.Interval}
			if i := slices.IndexFunc(targets, n.isLike); i >= 0 {
				n = targets[i]
			} else {
				targets = append(targets, n)
			}
			wanted[b] = n
		}
	}
	g.follow(targets, wanted)
	for _, p := range g.pools {
		for _, b := range p.Backends() {
			one := &gameMember{up: g.comes[b]}
			if so := g.members[b]; so != nil {
				one.up = so.up
			}
			if one.target = wanted[b]; one.target == nil {
				one.up = true
			} else if one.target.known {
				one.up = one.target.up
			}
			members[b] = one
		}
	}
	g.members, g.targets = members, targets
}

// isLike reports whether a target asks the same in the same way.
func (n *gameTarget) isLike(o *gameTarget) bool {
	return n.sameQuestion(o) && n.rise == o.rise && n.fall == o.fall && n.interval == o.interval
}

func (n *gameTarget) sameQuestion(o *gameTarget) bool { return n.server == o.server && n.way == o.way }

// follow gives new targets what is known, and their askers.
func (g *game) follow(targets []*gameTarget, wanted map[*pool.Backend]*gameTarget) {
	taken := make(map[*gameTarget]bool)
	from := make(map[*gameTarget]*gameTarget)
	for _, n := range targets {
		if i := slices.IndexFunc(g.targets, n.isLike); i >= 0 {
			from[n], taken[g.targets[i]] = g.targets[i], true
			n.take(g.targets[i])
			n.asker = g.targets[i].asker
			g.counts.kept++
		}
	}
	var fresh []*gameTarget
	for _, n := range targets {
		if from[n] != nil {
			continue
		}
		so := g.related(n, wanted)
		switch {
		case so == nil:
			n.patient = g.hadState(n, wanted)
			if n.patient {
				g.counts.patient++
			}
		case !taken[so]:
			n.take(so)
			n.asker, taken[so] = so.asker, true
			g.counts.moved++
			continue
		default:
			n.take(so)
			g.counts.copied++
		}
		fresh = append(fresh, n)
	}
	if len(fresh) != len(g.made) {
		g.t.Fatalf("change %d: %d probers were made, want %d", g.counts.changes, len(g.made), len(fresh))
	}
	for i, n := range fresh {
		n.asker = g.made[i]
	}
	g.made = nil
}

func (n *gameTarget) take(o *gameTarget) {
	n.known, n.up, n.patient, n.successes, n.failure = o.known, o.up, o.patient, o.successes, o.failure
}

// related returns the target so far whose knowledge a new one takes over.
func (g *game) related(n *gameTarget, wanted map[*pool.Backend]*gameTarget) (so *gameTarget) {
	for _, p := range g.pools {
		for _, b := range p.Backends() {
			if one := g.members[b]; one != nil && wanted[b] == n && one.target != nil && one.target.sameQuestion(n) {
				return one.target
			}
		}
	}
	for _, o := range g.targets {
		if o.sameQuestion(n) {
			so = o
		}
	}
	return so
}

// hadState reports whether a backend that a new target is for has a state of its own.
func (g *game) hadState(n *gameTarget, wanted map[*pool.Backend]*gameTarget) bool {
	for b, one := range g.members {
		if wanted[b] == n && (one.target == nil || one.target.known || one.target.patient) {
			return true
		}
	}
	return false
}

// hear tells the model what was answered since.
func (g *game) hear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.answers {
		i := slices.IndexFunc(g.targets, func(n *gameTarget) bool { return n.asker == a.asker })
		if i < 0 {
			g.t.Fatalf("change %d: %s was asked in way %d, which nobody wants", g.counts.changes, a.asker.server, a.asker.way)
		}
		n := g.targets[i]
		if a.ok {
			n.successes, n.failure = n.successes+1, 0
		} else {
			n.successes, n.failure = 0, n.failure+1
		}
		if n.successes >= n.rise || n.failure >= n.fall || !n.known && !n.patient {
			n.known, n.up = true, a.ok
		}
		for _, one := range g.members {
			if one.target == n && n.known {
				if one.up && !n.up {
					g.counts.falls++
				}
				one.up = n.up
			}
		}
	}
	g.answers = nil
}
