package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/pool"
)

// What the control socket changes: a world is its admin.Control.
var _ admin.Control = (*world)(nil)

// Reload reads the configuration again and puts it in force. Files that are given are looked at in its place, in a dry run.
func (w *world) Reload(_ context.Context, r admin.Reload) (change.Change, error) {
	switch {
	case len(r.Files) > 0:
		return w.reloadFrom(func() (*configs.File, error) { return w.labels.texts(r.Files) }, true)
	case r.DryRun && w.labels != nil:
		return w.reloadFrom(w.labels.peek, true)
	case r.DryRun:
		return w.reloadFrom(w.read, true)
	}
	return w.reload(r.By.User)
}

// Override sets keys of one backend.
func (w *world) Override(_ context.Context, pool, backend string, set map[string]string, by admin.By) (change.Change, error) {
	if len(set) == 0 {
		return change.Change{}, admin.Invalidf("nothing to set: give %s, %s or %s", overrides.State, overrides.Weight,
			overrides.MaxConns)
	}
	return w.override(by, func(was *generation) (overrides.Set, error) {
		if _, err := was.backend(pool, backend); err != nil {
			return was.set, err
		}
		next := was.set
		for _, key := range slices.Sorted(maps.Keys(set)) {
			if key != overrides.State && key != overrides.Weight && key != overrides.MaxConns {
				return was.set, admin.Invalidf("unknown key %.64q: want %s, %s or %s", key, overrides.State, overrides.Weight,
					overrides.MaxConns)
			}
			s := setting(pool, backend, key, set[key], by)
			if err := s.Check(); err != nil {
				return was.set, admin.Invalidf("%v", err)
			}
			next = next.With(s)
		}
		return next, nil
	})
}

// Unset takes back what was set of one backend: some keys, or all. A backend that was removed is back then, and one that was
// added goes.
func (w *world) Unset(_ context.Context, pool, backend string, keys []string, by admin.By) (change.Change, error) {
	return w.override(by, func(was *generation) (overrides.Set, error) {
		var known []string
		for _, s := range was.set.All() {
			if s.Pool == pool && s.Backend == backend {
				known = append(known, s.Key)
			}
		}
		if len(known) == 0 {
			if _, err := was.backend(pool, backend); err != nil {
				return was.set, err
			}
			return was.set, admin.NotFoundf("nothing is set of backend %s/%s", pool, backend)
		}
		for _, key := range keys {
			if !slices.Contains(known, key) {
				return was.set, admin.NotFoundf("%.64q is not set of backend %s/%s: what is set is %s", key, pool, backend,
					strings.Join(known, ", "))
			}
		}
		return was.set.Without(func(s overrides.Setting) bool {
			return s.Pool == pool && s.Backend == backend && (len(keys) == 0 || slices.Contains(keys, s.Key))
		}), nil
	})
}

// AddBackend gives a pool one more backend than its configuration has.
func (w *world) AddBackend(ctx context.Context, pool string, b admin.NewBackend, by admin.By) (change.Change, error) {
	config, err := configs.ResolveBackend(ctx, b.Address, b.Name)
	if err != nil {
		return change.Change{}, admin.Invalidf("%v", err)
	}
	settings := []overrides.Setting{setting(pool, config.Name, overrides.Added, config.Address.String(), by)}
	for _, key := range slices.Sorted(maps.Keys(b.Set)) {
		if key == overrides.Added || key == overrides.Removed {
			return change.Change{}, admin.Invalidf("unknown key %q: want %s, %s, %s or %s", key, overrides.State, overrides.Weight,
				overrides.MaxConns, overrides.Backup)
		}
		settings = append(settings, setting(pool, config.Name, key, b.Set[key], by))
	}
	for _, s := range settings {
		if err := s.Check(); err != nil {
			return change.Change{}, admin.Invalidf("%v", err)
		}
	}
	return w.override(by, func(was *generation) (overrides.Set, error) {
		if was.pool(pool) == nil {
			return was.set, was.noPool(pool)
		}
		if other, err := was.backend(pool, config.Name); err == nil {
			return was.set, admin.Conflictf("pool %s has a backend %s already%s", pool, config.Name, atText(other))
		}
		if removed, ok := was.set.Get(pool, config.Name, overrides.Removed); ok && removed.InFile(was.known) != "" {
			return was.set, admin.Conflictf("the configuration has backend %s of pool %s, at %s, and an override has removed it: "+
				"unset that, or give another name", config.Name, pool, removed.InFile(was.known))
		}
		if err := was.force.CheckOwn(config.Address); err != nil {
			return was.set, admin.Invalidf("%v", err)
		}
		next := was.set.Without(func(s overrides.Setting) bool { return s.Pool == pool && s.Backend == config.Name })
		return next.With(settings...), nil
	})
}

// RemoveBackend takes a backend out of its pool, whatever the configuration says. Of one that was added nothing is left.
func (w *world) RemoveBackend(_ context.Context, pool, backend string, by admin.By) (change.Change, error) {
	return w.override(by, func(was *generation) (overrides.Set, error) {
		if _, err := was.backend(pool, backend); err != nil {
			return was.set, err
		}
		next := was.set.Without(func(s overrides.Setting) bool { return s.Pool == pool && s.Backend == backend })
		if s := setting(pool, backend, overrides.Removed, "true", by); s.InFile(was.known) != "" {
			next = next.With(s)
		}
		return next, nil
	})
}

// override puts what an operator has set in force, with the configuration that there is.
func (w *world) override(by admin.By, next func(was *generation) (overrides.Set, error)) (change.Change, error) {
	var before, after overrides.Set
	c, err := w.apply(by.DryRun, func(was *generation) (*configs.File, overrides.Set, error) {
		set, err := next(was)
		before, after = was.set, set
		return was.file, set, err
	})
	if err != nil {
		return c, err
	}
	c.Overrides = overridden(before, after)
	if !by.DryRun {
		w.logChange("override", by.User, &c)
	}
	return c, nil
}

// overridden says how what is set has changed.
func overridden(before, after overrides.Set) (keys []change.Key) {
	name := func(s overrides.Setting) string { return s.Pool + "/" + s.Backend + " " + s.Key }
	for _, s := range after.All() {
		if was, _ := before.Get(s.Pool, s.Backend, s.Key); was.Value != s.Value {
			keys = append(keys, change.Key{Key: name(s), From: was.Value, To: s.Value})
		}
	}
	for _, s := range before.All() {
		if _, still := after.Get(s.Pool, s.Backend, s.Key); !still {
			keys = append(keys, change.Key{Key: name(s), From: s.Value})
		}
	}
	return keys
}

// atText says where a backend is; of an entry nobody can say.
func atText(b pool.BackendConfig) string {
	if b.Address == (pool.Address{}) {
		return ""
	}
	return ", at " + b.Address.String()
}

func setting(pool, backend, key, value string, by admin.By) overrides.Setting {
	return overrides.Setting{Pool: pool, Backend: backend, Key: key, Value: value, Since: time.Now(), By: by.User}
}

// backend returns the configuration in force of a backend, or of an entry, whose backends sources find. The error says what
// there is instead.
func (g *generation) backend(poolName, name string) (pool.BackendConfig, error) {
	p := g.force.Pool(poolName)
	if p == nil {
		return pool.BackendConfig{}, g.noPool(poolName)
	}
	if b, found := g.lookUp(p, name); found {
		return b, nil
	}
	var names []string
	for _, e := range p.Entries { // before what is found for them, which may be many
		if _, found := g.lookUp(p, e.Name); found {
			names = append(names, e.Name)
		}
	}
	for _, b := range p.Config.Backends {
		names = append(names, b.Name)
	}
	return pool.BackendConfig{}, admin.NotFoundf("pool %s has no backend %.64q: there is %s", poolName, name, someOf(names))
}

// lookUp is backend of a pool of the configuration in force.
func (g *generation) lookUp(p *configs.Pool, name string) (b pool.BackendConfig, found bool) {
	if i := slices.IndexFunc(p.Config.Backends, func(b pool.BackendConfig) bool { return b.Name == name }); i >= 0 {
		return p.Config.Backends[i], true
	}
	i := slices.IndexFunc(p.Entries, func(e configs.Entry) bool { return e.Name == name })
	if i < 0 || name == "" || g.set.Removed(p.Config.Name)(name) {
		return b, false
	}
	b = p.Entries[i].Template
	b.Name = name
	return b, true
}

func (g *generation) noPool(name string) error {
	var names []string
	for _, p := range g.force.Pools {
		names = append(names, p.Config.Name)
	}
	return admin.NotFoundf("there is no pool %.64q: there is %s", name, someOf(names))
}

// someOf lists names, as many as somebody may read.
func someOf(names []string) string {
	const most = 20
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Overrides returns what is set, and what the configuration says.
func (w *world) Overrides() []admin.OverrideStatus {
	g := w.now.Load()
	all := []admin.OverrideStatus{}
	for _, s := range g.set.All() {
		all = append(all, admin.OverrideStatus{Setting: s, InFile: s.InFile(g.known), Dormant: g.dormant(s)})
	}
	return all
}

// dormant reports whether a setting has no effect.
func (g *generation) dormant(s overrides.Setting) bool {
	inFile := s.InFile(g.known) != ""
	if s.Key == overrides.Removed {
		return !inFile
	}
	p := g.force.Pool(s.Pool)
	if s.Key == overrides.Added && inFile || p == nil {
		return true
	}
	_, found := g.lookUp(p, s.Backend)
	return !found
}

// Generation says which configuration is in force, and how the last reload went.
func (w *world) Generation() admin.Generation {
	g := w.now.Load()
	now := admin.Generation{Number: g.number, Since: g.since, Pending: g.pending}
	if last := w.last.Load(); last != nil {
		now.LastReload = &admin.LastReload{At: last.at, OK: last.err == nil}
		if last.err != nil {
			now.LastReload.Error = last.err.Error()
			errors.As(last.err, &now.LastReload.Problems)
		}
	}
	return now
}
