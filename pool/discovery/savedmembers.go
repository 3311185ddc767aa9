package discovery

import (
	"slices"
	"strings"
	"time"
)

// SavedMember is a backend that is not as answers alone make it, for a file or another process.
type SavedMember struct {
	Source   string    `json:"source"`
	Entry    string    `json:"entry,omitempty"`
	Under    string    `json:"under,omitempty"`    // as in Feed
	Template *Settings `json:"template,omitempty"` // with Under
	Backend  string    `json:"backend"`            // its name
	Since    time.Time `json:"since,omitzero"`     // it is in no answer; zero: it has its name because of one that is not
	Found    Found     `json:"found"`
}

// Saved returns the backends that have vanished, and those that are called otherwise because of them.
func (m *Members) Saved() (all []SavedMember) {
	if m.Due().IsZero() {
		return nil
	}
	vanished := map[string]bool{}
	m.each(func(_ *group, of *member) { vanished[of.name] = vanished[of.name] || !of.since.IsZero() })
	m.each(func(g *group, of *member) {
		short := strings.TrimSuffix(of.name, "/"+of.found.text())
		if !of.since.IsZero() || short != of.name && vanished[short] {
			all = append(all, SavedMember{
				Source: g.source, Entry: g.entry, Under: g.under, Template: g.settings(), Backend: of.name, Since: of.since, Found: *of.found,
			})
		}
	})
	return all
}

// settings returns the template of a group for which there may be none any more; nil: whoever configures the entry has it.
func (g *group) settings() *Settings {
	if g.under == "" {
		return nil
	}
	c := g.template
	return &Settings{Weight: &c.Weight, MaxConns: &c.MaxConns, Backup: &c.Backup, State: &c.State}
}

// each calls f with every member that a source has said.
func (m *Members) each(f func(*group, *member)) {
	for i := range m.groups {
		for j := range m.groups[i].members {
			f(&m.groups[i], &m.groups[i].members[j])
		}
	}
}

// RestoreMembers returns Members that have no backends. What comes after them has those that had vanished when they were
// saved, and have not come back, and calls all others as they were called.
func RestoreMembers(saved []SavedMember) *Members {
	m := &Members{}
	index := map[[2]string]int{}
	for i := range saved {
		s := &saved[i]
		if s.Backend == "" || s.Found.Host != "" || s.Found.check() != nil || s.Template.check() != nil {
			continue
		}
		key := [2]string{s.Source, s.Entry}
		at, ok := index[key]
		if !ok {
			at = len(m.groups)
			index[key] = at
			g := group{source: s.Source, entry: s.Entry, under: s.Under}
			if s.Template != nil {
				g.template = s.Template.Apply(g.template)
			}
			m.groups = append(m.groups, g)
		}
		m.groups[at].members = append(m.groups[at].members, member{found: &s.Found, name: s.Backend, since: s.Since})
	}
	for i := range m.groups {
		g := &m.groups[i]
		slices.SortStableFunc(g.members, func(a, b member) int { return compareAddresses(&a.found.Address, &b.found.Address) })
		g.members = slices.CompactFunc(g.members, func(a, b member) bool { return a.found.Address == b.found.Address })
	}
	return m
}
