package discovery

import "slices"

// orphans returns the feeds and, behind those that the same source has named, those that there were and that it does not
// name any more, as long as they have members: with nothing found.
func (m *Members) orphans(feeds []Feed) []Feed {
	if m == nil || !slices.ContainsFunc(m.groups, func(g group) bool { return g.under != "" }) {
		return feeds
	}
	wanted, last := map[[2]string]bool{}, map[string]int{}
	for i := range feeds {
		f := &feeds[i]
		wanted[[2]string{f.Source, f.Entry}] = true
		last[f.Source], last[f.Under] = i, i
	}
	after := map[int][]Feed{}
	for i := range m.groups {
		g := &m.groups[i]
		at, named := last[g.under]
		if g.under == "" || !named || wanted[[2]string{g.source, g.entry}] || len(g.members) == 0 {
			continue
		}
		after[at] = append(after[at], Feed{
			Source: g.source, Entry: g.entry, Under: g.under, Before: feeds[at].Before, Template: g.template, Answered: true,
		})
	}
	if len(after) == 0 {
		return feeds
	}
	var all []Feed
	for i := range feeds {
		all = append(append(all, feeds[i]), after[i]...)
	}
	return all
}
