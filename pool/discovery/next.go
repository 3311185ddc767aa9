package discovery

import (
	"fmt"
	"math"
	"time"

	"sluice/pool"
)

// maxBackends is how many a pool takes.
const maxBackends = math.MaxUint16

// Next returns the members after m, of what is written and what the sources say now. Those that are in an answer, their
// names, settings and order do not depend on m. Of several with one address the first counts: what is written is before
// the feeds, those are in their order. A name that another address has already is followed by "/" and the address.
//
// A backend that is in no answer any more stays where it is, Vanished, for Rules.RemoveAfter. It leaves before that when its
// feed is not among feeds any more, or its name is needed. The feeds are in the order of Before.
func (m *Members) Next(static []pool.BackendConfig, feeds []Feed, r Rules, now time.Time) *Members {
	n := newNext(m, static, feeds, r, now)
	for i := range feeds {
		n.claim(i)
	}
	for i := range feeds {
		n.keep(i)
	}
	n.giveNames()
	n.order(static)
	return n.members
}

// next is the making of Members.
type next struct {
	members   *Members
	feeds     []Feed
	rules     Rules
	now       time.Time
	before    map[[2]string][]member // of feeds, by source and entry
	addresses map[pool.Address]bool  // that are taken
	names     map[string]bool        // that are taken
	held      map[string]bool        // names of those that have vanished
	count     int                    // of backends
	room      []byte                 // for a name
}

func newNext(m *Members, static []pool.BackendConfig, feeds []Feed, r Rules, now time.Time) *next {
	size := len(static)
	for i := range feeds {
		size += len(feeds[i].Found)
	}
	n := &next{
		members: &Members{groups: make([]group, len(feeds)), removeAfter: r.RemoveAfter},
		feeds:   feeds, rules: r, now: now, before: map[[2]string][]member{}, held: map[string]bool{},
		addresses: make(map[pool.Address]bool, size), names: make(map[string]bool, size), count: len(static),
	}
	if m != nil {
		for _, g := range m.groups {
			n.before[[2]string{g.source, g.entry}] = g.members
		}
	}
	for i := range static {
		n.addresses[static[i].Address], n.names[static[i].Name] = true, true
	}
	return n
}

// claim makes members of what a feed has found and nobody before it.
func (n *next) claim(i int) {
	f := &n.feeds[i]
	g := &n.members.groups[i]
	g.source, g.entry = f.Source, f.Entry
	if !f.Answered {
		return
	}
	g.members = make([]member, 0, len(f.Found))
	for j := range f.Found {
		found := &f.Found[j]
		if found.Host != "" || n.addresses[found.Address] {
			continue
		}
		n.addresses[found.Address] = true
		if err := n.refuse(found); err != nil {
			n.problem(g, found, err)
			continue
		}
		n.count++
		g.members = append(g.members, member{found: found})
	}
}

// refuse returns why an address that nobody has yet may not be a backend.
func (n *next) refuse(found *Found) error {
	if n.rules.Barred != nil {
		if err := n.rules.Barred(found.Address); err != nil {
			return err
		}
	}
	if n.count >= maxBackends {
		return fmt.Errorf("a pool has at most %d backends", maxBackends)
	}
	return nil
}

func (n *next) problem(g *group, found *Found, err error) {
	n.members.problems = append(n.members.problems, Problem{
		Source: g.source, Entry: g.entry, Backend: found.text(), Problem: err.Error(),
	})
}

// keep adds to a feed's members those that are in no answer any more and whose time is not over. The others get the names
// that they had.
func (n *next) keep(i int) {
	g := &n.members.groups[i]
	key := [2]string{g.source, g.entry}
	present, before := g.members, n.before[key]
	delete(n.before, key) // of a feed that is there twice
	g.members = make([]member, 0, max(len(present), len(before)))
	for len(present) > 0 || len(before) > 0 {
		switch order := orderOfMembers(present, before); {
		case order > 0:
			n.vanish(g, before[0])
			before = before[1:]
			continue
		case order == 0:
			present[0].name, before = before[0].name, before[1:]
		}
		g.members, present = append(g.members, present[0]), present[1:]
	}
}

// orderOfMembers compares the addresses that come first in two lists, of which not both are empty.
func orderOfMembers(a, b []member) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return compareAddresses(&a[0].found.Address, &b[0].found.Address)
}

// vanish adds one that its feed has not found any more to those that stay for a while. It does not if another feed has it.
func (n *next) vanish(g *group, m member) {
	if n.addresses[m.found.Address] || n.refuse(m.found) != nil {
		return
	}
	if m.since.IsZero() || m.since.After(n.now) { // somebody may have set the clock back
		m.since = n.now
	}
	if n.now.Sub(m.since) >= n.rules.RemoveAfter {
		return
	}
	n.addresses[m.found.Address], n.held[m.name] = true, true
	n.count++
	g.members = append(g.members, m)
}

// order makes the list of backends: each feed where it stands, and of a feed those first that are no backups, by address.
func (n *next) order(static []pool.BackendConfig) {
	all := n.members
	all.backends = make([]pool.BackendConfig, 0, n.count)
	all.places = make([]place, 0, n.count)
	done := 0 // of static
	write := func(end int) {
		for ; done < min(end, len(static)); done++ {
			all.add(static[done], written)
		}
	}
	for i := range n.feeds {
		write(n.feeds[i].Before)
		n.addFeed(i, false)
		n.addFeed(i, true)
	}
	write(len(static))
}

// addFeed adds one tier of a feed's members to the list.
func (n *next) addFeed(i int, backup bool) {
	members := n.members.groups[i].members
	for j := range members {
		m := &members[j]
		c := m.found.apply(n.feeds[i].Template)
		if c.Backup != backup {
			continue
		}
		c.Name, c.Address, c.Vanished = m.name, m.found.Address, !m.since.IsZero()
		n.members.add(c, place{i, j})
		if c.Vanished {
			n.members.leaves(m.since.Add(n.rules.RemoveAfter))
		}
	}
}

func (m *Members) add(c pool.BackendConfig, at place) {
	m.backends, m.places = append(m.backends, c), append(m.places, at)
}

// leaves notes when one of the members is removed.
func (m *Members) leaves(at time.Time) {
	if m.due.IsZero() || at.Before(m.due) {
		m.due = at
	}
}
