package main

import (
	"slices"

	"sluice/configs"
	"sluice/pool/discovery"
	"sluice/pool/discovery/dns"
	"sluice/pool/discovery/docker"
	"sluice/pool/discovery/file"
)

// newSource makes a source of what is configured.
func newSource(c configs.SourceConfig) discovery.Source {
	switch {
	case c.DNS != nil:
		return dns.New(*c.DNS)
	case c.File != nil:
		return file.New(*c.File, configs.ParseBackends)
	}
	return docker.New(*c.Docker)
}

// hostSource is what finds the addresses of a host name that another source has for one.
func hostSource(f *discovery.Found) configs.SourceConfig {
	c := dns.DefaultConfig(f.Host, f.Address.TCP.Port())
	return configs.SourceConfig{DNS: &c}
}

// followSources lets those sources be asked that a generation wants, and no others.
func (w *world) followSources(g *generation) {
	var all []discovery.Source
	wanted := g.sources()
	for i := range g.known.Pools {
		for _, e := range g.known.Pools[i].Entries {
			if _, found := slices.BinarySearch(wanted, e.Source.Key()); found {
				all = append(all, w.newSource(e.Source))
			}
		}
	}
	if w.labels != nil {
		all = append(all, w.labels)
	}
	w.watch.Follow(all)
}
