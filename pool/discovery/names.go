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
			return m.name == "" || !m.since.IsZero() && !n.leave(m.name)
		})
	}
}

// call gives a name to a member that is in an answer, or none if there is none left. Of those that could have the name of
// one that has vanished the first decides: what it was called because of that one it is called as long as that one stays,
// which may come back.
func (n *next) call(g *group, m *member, prefix string) {
	before := m.name
	name := m.found.Name
	if name == "" {
		name = n.text(prefix, m.found.Address, before)
	}
	held := n.named && n.held[name]
	if m.name = name; !held && n.take(name) {
		return
	}
	m.name = n.text(name+"/", m.found.Address, before)
	switch {
	case held && before == m.name && !n.names[name] && n.take(m.name):
		n.names[name], n.left[name] = true, true
	case n.take(name):
		m.name = name
	case !n.take(m.name):
		m.name = ""
		n.problem(g, m.found, errors.New("its name is taken"))
	}
}

// leave takes the name of one that has vanished, and reports whether it is its own still.
func (n *next) leave(name string) bool {
	if n.left[name] {
		delete(n.left, name)
		return true
	}
	return n.take(name)
}

// take makes a name taken, if it is not already.
func (n *next) take(name string) bool {
	if n.names[name] {
		return false
	}
	if n.named {
		n.names[name] = true
	}
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
