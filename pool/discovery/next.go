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
// feed is not among feeds any more, unless that is because another source does not name it any more, or when its name is
// needed. The feeds are in the order of Before.
func (m *Members) Next(static []pool.BackendConfig, feeds []Feed, r Rules, now time.Time) *Members {
	n := newNext(m, static, m.orphans(feeds), r, now)
	for i := range n.feeds {
		n.claim(i)
	}
	for i := range n.feeds {
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
	addresses map[pool.Address]bool  // that are taken; of a feed that is alone only those that are written
	names     map[string]bool        // likewise, unless they are named
	held      map[string]bool        // names of those that have vanished
	left      map[string]bool        // those of them that are not given to others
	alone     bool                   // there is one feed: no other has its addresses
	named     bool                   // not all names are made of addresses with one prefix
	count     int                    // of backends
	room      []byte                 // for a name
}

func newNext(m *Members, static []pool.BackendConfig, feeds []Feed, r Rules, now time.Time) *next {
	n := &next{
		members: &Members{groups: make([]group, len(feeds)), removeAfter: r.RemoveAfter},
		feeds:   feeds, rules: r, now: now, before: map[[2]string][]member{}, held: map[string]bool{}, left: map[string]bool{},
		addresses: make(map[pool.Address]bool, len(static)), names: make(map[string]bool, len(static)),
		alone: len(feeds) == 1, named: len(feeds) > 1, count: len(static),
	}
	if m != nil {
		for _, g := range m.groups {
			if len(g.members) > 0 { // of a feed that is there twice the second has none
				n.before[[2]string{g.source, g.entry}] = g.members
			}
		}
	}
	for i := range static {
		n.addresses[static[i].Address], n.names[static[i].Name] = true, true
	}
	return n
}

// claim makes members of what a feed has found and nobody before it. Of several with one address the first counts.
func (n *next) claim(i int) {
	f := &n.feeds[i]
	g := &n.members.groups[i]
	g.source, g.entry, g.under, g.template = f.Source, f.Entry, f.Under, f.Template
	if !f.Answered {
		return
	}
	const gone = 16 // may have vanished, without another slice
	g.members = make([]member, 0, len(f.Found)+min(len(f.Found), gone))
	for j := range f.Found {
		found := &f.Found[j]
		if found.Host != "" || j > 0 && found.Address == f.Found[j-1].Address || n.taken(found.Address) {
			continue
		}
		if err := n.refuse(found); err != nil {
			n.problem(g, found, err)
			continue
		}
		n.named = n.named || found.Name != ""
		n.count++
		g.members = append(g.members, member{found: found})
	}
}

// taken reports whether an address is taken, and takes it.
func (n *next) taken(a pool.Address) bool {
	if len(n.addresses) > 0 && n.addresses[a] {
		return true
	}
	if !n.alone {
		n.addresses[a] = true
	}
	return false
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
	present, before := g.members, n.before[[2]string{g.source, g.entry}]
	var vanished []member
	for len(before) > 0 {
		switch order := orderOfMembers(present, before); {
		case order < 0:
			present = present[1:]
		case order > 0:
			if m, stays := n.vanish(before[0]); stays {
				vanished = append(vanished, m)
				n.named = n.named || m.name != n.text(n.feeds[i].Prefix, m.found.Address, m.name)
			}
			before = before[1:]
		default:
			present[0].name = before[0].name
			present, before = present[1:], before[1:]
		}
	}
	g.members = merge(g.members, vanished)
}

// orderOfMembers compares the addresses that come first in two lists, of which the second is not empty.
func orderOfMembers(a, b []member) int {
	if len(a) == 0 {
		return 1
	}
	return compareAddresses(&a[0].found.Address, &b[0].found.Address)
}

// merge adds members to others, both by address.
func merge(all, more []member) []member {
	i := len(all) - 1
	all = append(all, more...)
	for j, end := len(more)-1, len(all)-1; j >= 0; end-- {
		if i >= 0 && compareAddresses(&all[i].found.Address, &more[j].found.Address) > 0 {
			all[end] = all[i]
			i--
		} else {
			all[end] = more[j]
			j--
		}
	}
	return all
}

// vanish returns one that its feed has not found any more as it stays for a while, if it does: no other feed has it.
func (n *next) vanish(m member) (member, bool) {
	if n.addresses[m.found.Address] || n.refuse(m.found) != nil {
		return m, false
	}
	if m.since.IsZero() {
		alone := *m.found // a pointer into the answer would keep all of it
		m.found, m.since = &alone, n.now
	}
	if m.since.After(n.now) { // somebody has set the clock back
		m.since = n.now
	}
	if n.now.Sub(m.since) >= n.rules.RemoveAfter {
		return m, false
	}
	n.addresses[m.found.Address], n.held[m.name] = true, true
	n.count++
	return m, true
}

// order makes the list of backends: each feed where it stands, and of a feed those first that are no backups, by address.
func (n *next) order(static []pool.BackendConfig) {
	m := n.members
	m.backends, m.places = make([]pool.BackendConfig, 0, n.count), make([]place, 0, n.count)
	done := 0 // of static
	write := func(end int) {
		for ; done < min(end, len(static)); done++ {
			m.backends, m.places = append(m.backends, static[done]), append(m.places, written)
		}
	}
	for i := range n.feeds {
		write(n.feeds[i].Before)
		if n.add(i, false) < len(m.groups[i].members) {
			n.add(i, true)
		}
	}
	write(len(static))
}

// add adds one tier of a feed's members to the list, and returns how many that are.
func (n *next) add(i int, backup bool) (added int) {
	template, all := &n.feeds[i].Template, n.members
	for j := range all.groups[i].members {
		m := &all.groups[i].members[j]
		if m.found.backup(template) != backup {
			continue
		}
		c := m.found.Apply(*template)
		c.Name, c.Address, c.Vanished = m.name, m.found.Address, !m.since.IsZero()
		all.backends, all.places = append(all.backends, c), append(all.places, place{int32(i), int32(j)})
		if c.Vanished {
			all.leaves(m.since.Add(n.rules.RemoveAfter))
		}
		added++
	}
	return added
}

// leaves notes when one of the members is removed.
func (m *Members) leaves(at time.Time) {
	if m.due.IsZero() || at.Before(m.due) {
		m.due = at
	}
}
