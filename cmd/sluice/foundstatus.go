package main

import "sluice/cmd/sluice/internal/admin"

// What sources have found, as the admin API shows it: a world is its admin.Discovery.
var _ admin.Discovery = (*world)(nil)

// Sources returns how the sources stand, and what they are for.
func (w *world) Sources() (all []admin.SourceStatus) {
	g := w.now.Load()
	for _, s := range w.watch.Status() {
		one := admin.SourceStatus{Status: s, Pools: []string{}}
		for _, p := range g.file.Pools {
			if f := g.found[p.Config.Name]; f != nil && f.has(s.Source) {
				one.Pools = append(one.Pools, p.Config.Name)
			}
		}
		all = append(all, one)
	}
	return all
}

// has reports whether the pool has a feed from a source.
func (f *found) has(source string) bool {
	for i := range f.feeds {
		if f.feeds[i].Source == source {
			return true
		}
	}
	return false
}

// Found returns what sources have found of a pool.
func (w *world) Found(pool string) admin.Found {
	refused, _ := w.refused.Load(pool)
	text, _ := refused.(string)
	return admin.Found{Members: w.now.Load().membersOf(pool), Refused: text}
}
