package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
)

// force returns the backends that are in force of a pool, in order.
func (p *applyPlay) force(name string) []modelBackend {
	var all []modelBackend
	for _, b := range p.file.pools[name].backends {
		if _, removed := p.set[[3]string{name, b.name, overrides.Removed}]; !removed {
			all = append(all, p.overridden(name, b))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(p.set), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) }) {
		if key[0] == name && key[2] == overrides.Added && !p.isWritten(name, key[1]) {
			server := slices.Index(p.servers.addresses, p.set[key])
			all = append(all, p.overridden(name, modelBackend{name: key[1], server: server, weight: 1}))
		}
	}
	return all
}

// isWritten reports whether the file has a backend.
func (p *applyPlay) isWritten(pool, backend string) bool {
	return slices.ContainsFunc(p.file.pools[pool].backends, func(b modelBackend) bool { return b.name == backend })
}

// isAdded reports whether a backend of that server was added to a pool, though the file may have its name now.
func (p *applyPlay) isAdded(pool string, server int) bool {
	for key, value := range p.set {
		if key[0] == pool && key[2] == overrides.Added && value == p.servers.addresses[server] {
			return true
		}
	}
	return false
}

func (p *applyPlay) overridden(name string, b modelBackend) modelBackend {
	if w, ok := p.set[[3]string{name, b.name, overrides.Weight}]; ok {
		_, _ = fmt.Sscan(w, &b.weight)
	}
	if n, ok := p.set[[3]string{name, b.name, overrides.MaxConns}]; ok {
		_, _ = fmt.Sscan(n, &b.maxConns)
	}
	if s, ok := p.set[[3]string{name, b.name, overrides.State}]; ok {
		_ = b.state.UnmarshalText([]byte(s))
	}
	return b
}

// somePool returns a pool, and a backend of it that is in force, if it has some.
func (p *applyPlay) somePool() (name string, b *modelBackend) {
	names := slices.Sorted(maps.Keys(p.file.pools))
	name = names[p.random.IntN(len(names))]
	if all := p.force(name); len(all) > 0 {
		b = &all[p.random.IntN(len(all))]
	}
	return name, b
}

func (p *applyPlay) override() {
	name, b := p.somePool()
	if b == nil {
		return
	}
	if p.random.IntN(4) == 0 {
		p.unset(name, b.name)
		return
	}
	set := []map[string]string{
		{overrides.Weight: fmt.Sprint(p.random.IntN(4))},
		{overrides.MaxConns: fmt.Sprint(p.random.IntN(5))},
		{overrides.State: []string{"ready", "drain", "maint"}[p.random.IntN(3)]},
	}[p.random.IntN(3)]
	_, err := p.w.Override(p.Context(), name, b.name, set, admin.By{})
	for key, value := range set {
		p.set[[3]string{name, b.name, key}] = value
	}
	p.inForce(err)
}

func (p *applyPlay) addOrRemove() {
	name, b := p.somePool()
	if b != nil && p.random.IntN(2) == 0 {
		_, err := p.w.RemoveBackend(p.Context(), name, b.name, admin.By{})
		p.forgetSet(name, b.name)
		if p.isWritten(name, b.name) {
			p.set[[3]string{name, b.name, overrides.Removed}] = "true"
		}
		p.inForce(err)
		return
	}
	server := p.random.IntN(len(p.servers.addresses) / 2) // the others are left to the file
	inForce := slices.ContainsFunc(p.force(name), func(b modelBackend) bool { return b.server == server })
	if inForce || p.isAdded(name, server) {
		return // a session says on which server it is: that must say on which backend
	}
	added := fmt.Sprintf("b%d", p.random.IntN(20))
	taken := slices.ContainsFunc(p.force(name), func(b modelBackend) bool { return b.name == added })
	_, err := p.w.AddBackend(p.Context(), name, admin.NewBackend{Address: p.servers.addresses[server], Name: added}, admin.By{})
	_, gone := p.set[[3]string{name, added, overrides.Removed}]
	if taken || gone && p.isWritten(name, added) { // an override has removed it: the name is the file's
		if !errors.As(err, new(admin.Conflict)) {
			p.failf("a name twice: %v", err)
		}
		return
	}
	p.forgetSet(name, added)
	p.set[[3]string{name, added, overrides.Added}] = p.servers.addresses[server]
	p.inForce(err)
}

// forgetSet forgets what was set of a backend.
func (p *applyPlay) forgetSet(pool, backend string) {
	maps.DeleteFunc(p.set, func(key [3]string, _ string) bool { return key[0] == pool && key[1] == backend })
}
