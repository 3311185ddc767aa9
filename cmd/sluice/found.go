package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sluice/configs"
	"sluice/health/probe"
	"sluice/pool"
	"sluice/pool/discovery"
)

// found is what the sources of one pool have found. It does not change.
type found struct {
	feeds   []discovery.Feed
	members *discovery.Members
}

// expand works out which backends the pools have: those that are written, and those that sources have found by now. was is
// the generation before.
func (g *generation) expand(was *generation, watch *discovery.Watch, now time.Time) {
	g.known, g.found = g.file, nil
	own := g.file.Barred()
	for i := range g.file.Pools {
		p := &g.file.Pools[i]
		if len(p.Entries) == 0 {
			continue
		}
		feeds := feedsOf(p, g.set.Removed(p.Config.Name), watch)
		g.find(i, foundOf(p, feeds, was.membersOf(p.Config.Name), own, now))
	}
	g.force = g.set.Apply(g.known, g.entryOf)
}

// foundOf returns what a pool has of its feeds, after the members that it has had. own says what no backend may be at.
func foundOf(p *configs.Pool, feeds []discovery.Feed, was *discovery.Members, own func(pool.Address) error, now time.Time) *found {
	rules := discovery.Rules{RemoveAfter: p.RemoveAfter, Barred: barred(p, own)}
	return &found{feeds, was.Next(p.Config.Backends, feeds, rules, now)}
}

// find gives a pool of the generation, which is in the making, what its sources have found.
func (g *generation) find(i int, f *found) {
	if g.known == g.file {
		g.known, g.found = withPools(g.file), make(map[string]*found)
	}
	p := &g.known.Pools[i]
	p.Config.Backends, p.Entries = f.members.Backends(), hostEntries(g.file.Pools[i].Entries, f.feeds)
	g.found[p.Config.Name] = f
}

// hostEntries returns entries, and after them one for each host name that a file of theirs has.
func hostEntries(entries []configs.Entry, feeds []discovery.Feed) []configs.Entry {
	all := entries[:len(entries):len(entries)]
	for i := range entries {
		if entries[i].Source.File == nil {
			continue
		}
		for _, f := range feeds {
			if f.Source != entries[i].Source.Key() || f.Entry != entries[i].Name {
				continue
			}
			for j := range f.Found {
				if one := &f.Found[j]; one.Host != "" {
					all = append(all, configs.Entry{
						Source: hostSource(one), Name: hostName(one), Named: one.Name != "", Before: entries[i].Before,
						Template: one.Apply(entries[i].Template),
					})
				}
			}
		}
	}
	return all
}

// hostName is how a backend with a host name is called that a source has found.
func hostName(f *discovery.Found) string { return cmp.Or(f.Name, f.Address.WithHost(f.Host)) }

// withPools returns a configuration whose pools can be replaced.
func withPools(file *configs.File) *configs.File {
	next := *file
	next.Pools = slices.Clone(file.Pools)
	return &next
}

// membersOf returns what a pool has had; nil: nothing that a source has found.
func (g *generation) membersOf(pool string) *discovery.Members {
	if f := g.found[pool]; f != nil {
		return f.members
	}
	return nil
}

// entryOf returns the entry that a backend is of; "" = none that has a name.
func (g *generation) entryOf(pool, backend string) string {
	return g.membersOf(pool).Origin(backend).Entry
}

// feedsOf returns what the sources of a pool say by now, but for the entries that an operator has removed. Where a file has
// host names, they are fed by sources of their own, as those in the configuration are.
func feedsOf(p *configs.Pool, removed func(entry string) bool, watch *discovery.Watch) (feeds []discovery.Feed) {
	feed := func(entries []configs.Entry, under string) {
		for i := range entries {
			e := &entries[i]
			if e.Name != "" && removed(e.Name) {
				continue
			}
			f := discovery.Feed{Source: e.Source.Key(), Entry: e.Name, Under: under, Before: e.Before, Template: e.Template}
			if e.Named {
				f.Prefix = e.Name + "/"
			}
			a := watch.Answer(f.Source)
			f.Found, f.Answered = a.Set(p.OnEmpty.Keeps(e.Source)), a.Answered()
			feeds = append(feeds, f)
		}
	}
	feed(p.Entries, "")
	for i := range p.Entries {
		feed(hostEntries(p.Entries[i:i+1], feeds)[1:], p.Entries[i].Source.Key())
	}
	slices.SortStableFunc(feeds, func(a, b discovery.Feed) int { return a.Before - b.Before })
	return feeds
}

// sameFeeds reports whether two lists say the same, of one configuration of the pool.
func sameFeeds(a, b []discovery.Feed) bool {
	return slices.EqualFunc(a, b, func(x, y discovery.Feed) bool {
		sameFound := len(x.Found) == len(y.Found) && (len(x.Found) == 0 || &x.Found[0] == &y.Found[0])
		return sameFound && x.Source == y.Source && x.Entry == y.Entry && x.Prefix == y.Prefix && x.Template == y.Template && x.Answered == y.Answered
	})
}

// barred returns why no backend of a pool may be at an address: what is wrong with a written one is an error of the
// configuration.
func barred(p *configs.Pool, own func(pool.Address) error) func(pool.Address) error {
	return func(a pool.Address) error {
		if err := own(a); err != nil {
			return err
		}
		if a.IsUnix() {
			return checkable(p, a)
		}
		if len(p.Sources) > 0 && len(pool.SourcesFor(a, p.Sources)) == 0 {
			return fmt.Errorf("source of pool %s has no address of the family of %s", p.Config.Name, a)
		}
		return nil
	}
}

// checkable returns why the health checks of a pool cannot ask a backend at an address.
func checkable(p *configs.Pool, a pool.Address) error {
	if p.Health.Probe.Kind == probe.Off {
		return nil
	}
	prober, err := probe.New(p.Health.Probe, a)
	if err != nil {
		return err
	}
	prober.Close()
	return nil
}
