package main

import (
	"slices"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/pool/discovery"
)

// What sources have found, as the admin API shows it: a world is its admin.Discovery.
var _ admin.Discovery = (*world)(nil)

// Sources returns how the sources stand, and what they are for.
func (w *world) Sources() (all []admin.SourceStatus) {
	g := w.now.Load()
	pools := make(map[string][]string) // by source
	for i := range g.file.Pools {
		name := g.file.Pools[i].Config.Name
		if f := g.found[name]; f != nil {
			for _, source := range f.sources() {
				pools[source] = append(pools[source], name)
			}
		}
	}
	for _, s := range w.watch.Status() {
		all = append(all, admin.SourceStatus{Status: s, Pools: append([]string{}, pools[s.Source]...)}) // none is not null
	}
	return all
}

// keepsFound reports whether a pool keeps the backends of a source that says that there are none.
func (w *world) keepsFound(source string) bool {
	g := w.now.Load()
	for i := range g.file.Pools {
		p := &g.file.Pools[i]
		if f := g.found[p.Config.Name]; f != nil && f.has(source) && p.OnEmpty.Keeps(sourceOf(p, source)) {
			return true
		}
	}
	return false
}

// sourceOf returns a source of a pool by its key. The zero one is that of a host name which another source has.
func sourceOf(p *configs.Pool, key string) configs.SourceConfig {
	for i := range p.Entries {
		if p.Entries[i].Source.Key() == key {
			return p.Entries[i].Source
		}
	}
	return configs.SourceConfig{}
}

// has reports whether the pool has a feed from a source.
func (f *found) has(source string) bool {
	return slices.ContainsFunc(f.feeds, func(feed discovery.Feed) bool { return feed.Source == source })
}

// sources returns the keys of the sources that the pool has feeds from, in order.
func (f *found) sources() (keys []string) {
	for i := range f.feeds {
		keys = append(keys, f.feeds[i].Source)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Found returns what sources have found of a pool.
func (w *world) Found(pool string) admin.Found {
	refused, _ := w.refused.Load(pool)
	text, _ := refused.(string)
	return admin.Found{Members: w.now.Load().membersOf(pool), Refused: text}
}
