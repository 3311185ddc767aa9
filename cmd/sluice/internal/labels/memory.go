package labels

import (
	"slices"
	"time"

	"sluice/pool/discovery/docker"
)

// remembered is how long what a container has said counts after it has gone. It may only be started again, and a listener must
// not close for that.
const remembered = 30 * time.Second

// A memory has the containers that there are and those that have gone a short while ago. The zero memory has none.
type memory struct {
	present []docker.Container
	gone    []goneContainer
}

type goneContainer struct {
	docker.Container
	since time.Time
}

// see takes down which containers there are now. One that has gone is forgotten when another one has its name, which is how
// one is replaced.
func (m *memory) see(now []docker.Container, at time.Time) {
	for _, c := range m.present {
		m.gone = append(m.gone, goneContainer{c, at})
	}
	m.present = now
	ids, names := make(map[string]bool, len(now)), make(map[string]bool, len(now))
	for i := range now {
		ids[now[i].ID], names[now[i].Name] = true, true
	}
	m.gone = slices.DeleteFunc(m.gone, func(g goneContainer) bool { return ids[g.ID] || names[g.Name] || len(g.Labels) == 0 })
}

// all returns those whose labels count, the oldest first, and when one of them is forgotten; zero: never.
func (m *memory) all(at time.Time) (all []docker.Container, due time.Time) {
	m.gone = slices.DeleteFunc(m.gone, func(g goneContainer) bool { return at.Sub(g.since) >= remembered })
	all = slices.Clone(m.present)
	for _, g := range m.gone {
		all = append(all, g.Container)
		if end := g.since.Add(remembered); due.IsZero() || end.Before(due) {
			due = end
		}
	}
	slices.SortStableFunc(all, docker.Older)
	return all, due
}
