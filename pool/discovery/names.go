package discovery

import (
	"errors"
	"slices"

	"sluice/pool"
)

// giveNames decides how the members are called: those that are in an answer first, by feed and address. Until then each has
// the name that it had before.
func (n *next) giveNames() {
	for i := range n.feeds {
		g := &n.members.groups[i]
		for j := range g.members {
			if m := &g.members[j]; m.since.IsZero() {
				n.call(g, m, n.feeds[i].Prefix)
			}
		}
	}
	for i := range n.feeds {
		g := &n.members.groups[i]
		g.members = slices.DeleteFunc(g.members, func(m member) bool {
			return m.name == "" || !m.since.IsZero() && !n.take(m.name)
		})
	}
}

// call gives a name to a member that is in an answer, or none if there is none left. What one was called because another
// one had its name it is called as long as that one is there, which may come back.
func (n *next) call(g *group, m *member, prefix string) {
	before := m.name
	name := m.found.Name
	if name == "" {
		name = n.text(prefix, m.found.Address, before)
	}
	if m.name = name; !n.names[name] && !n.held[name] {
		n.names[name] = true
		return
	}
	long := n.text(name+"/", m.found.Address, before)
	if n.held[name] && before == long && n.take(long) {
		m.name = long
	} else if !n.take(name) {
		if m.name = long; !n.take(long) {
			m.name = ""
			n.problem(g, m.found, errors.New("its name is taken"))
		}
	}
}

// take makes a name taken, if it is not already.
func (n *next) take(name string) bool {
	if n.names[name] {
		return false
	}
	n.names[name] = true
	return true
}

// text returns prefix and address as one text: the very string that there was before if it is the same.
func (n *next) text(prefix string, a pool.Address, before string) string {
	n.room = append(n.room[:0], prefix...)
	if a.IsUnix() {
		n.room = append(n.room, a.String()...)
	} else {
		n.room = a.TCP.AppendTo(n.room)
	}
	if string(n.room) == before {
		return before
	}
	return string(n.room)
}
