package health

import (
	"maps"
	"slices"
	"time"
)

// timelines is the highest timeline that a server of each cluster was seen on, by system identifier. A server that is
// promoted starts a timeline that is higher than any before, so a primary on a lower one was left behind: it must never
// take a write again, not even while the better one is gone. A replica knows of a promotion too, and may be the only one
// left that does.
//
// Clusters of which no server is in the pool any more are forgotten when there get to be too many: a server that names
// another one each time must not fill the memory.
type timelines map[uint64]Sighting

// mostClusters is how many are remembered at least.
const mostClusters = 64

// A Sighting is the highest timeline of a cluster that was seen, and where.
type Sighting struct {
	Timeline uint32 `json:"timeline"`
	Backend  string `json:"backend"`
}

// learn takes in what the servers of a pool say.
func (t timelines) learn(facts []fact) {
	for _, f := range facts {
		if f.maint || !f.current || f.answer == nil || f.answer.Timeline == 0 {
			continue
		}
		t.raise(f.answer.System, Sighting{f.answer.Timeline, f.name})
	}
	if len(t) > mostClusters {
		t.forget(facts)
	}
}

// raise takes in that a timeline of a cluster was seen, and reports whether that is a higher one.
func (t timelines) raise(system uint64, s Sighting) bool {
	if s.Timeline <= t[system].Timeline {
		return false
	}
	t[system] = s
	return true
}

// forget drops the clusters of which no server was when it last answered.
func (t timelines) forget(facts []fact) {
	for system := range t {
		if !slices.ContainsFunc(facts, func(f fact) bool { return f.answer != nil && f.answer.System == system }) {
			delete(t, system)
		}
	}
}

// Timelines is the highest timeline of each cluster that was seen in each pool, by the pool's name and the system
// identifier. As JSON it is what is to outlive the process.
type Timelines map[string]map[uint64]Sighting

// Empty reports whether none was seen.
func (t Timelines) Empty() bool {
	for _, seen := range t {
		if len(seen) > 0 {
			return false
		}
	}
	return true
}

// Timelines returns a copy of what was seen so far, and of what is kept for pools that are not watched now. Pools that
// have seen none are not in it.
func (m *Monitor) Timelines() Timelines {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(Timelines)
	for name, seen := range m.restored {
		if len(seen) > 0 {
			all[name] = maps.Clone(seen)
		}
	}
	for _, w := range m.pools {
		if len(w.seen) > 0 {
			all[w.pool.Name()] = maps.Clone(w.seen)
		}
	}
	return all
}

// Restore takes in what was seen before this monitor was made, which never lowers what is known. Of pools that are not
// watched yet it is kept until they are.
func (m *Monitor) Restore(known Timelines) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, seen := range known {
		if m.restored[name] == nil {
			m.restored[name] = make(timelines)
		}
		for system, s := range seen {
			m.restored[name].raise(system, s)
		}
	}
	now := time.Now()
	for _, w := range m.pools {
		if m.recall(w) && m.running {
			m.decide(w, w.members, now)
			w.lookStranded()
		}
	}
}

// mostPools is of how many pools that are not watched timelines are kept.
const mostPools = 256

// keep lets what a pool has seen outlive it: one of its name may be back with the next configuration, and its old primary
// with it. The mutex is held.
func (m *Monitor) keep(w *poolWatch) {
	if len(w.seen) == 0 {
		return
	}
	for name := range m.restored {
		if len(m.restored) < mostPools {
			break
		}
		delete(m.restored, name)
	}
	m.restored[w.pool.Name()] = w.seen
}

// recall takes what was restored for a pool, once, and reports whether that is news. The mutex is held.
func (m *Monitor) recall(w *poolWatch) (news bool) {
	for system, s := range m.restored[w.pool.Name()] {
		news = w.seen.raise(system, s) || news
	}
	delete(m.restored, w.pool.Name())
	return news
}
