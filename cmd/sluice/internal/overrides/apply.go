package overrides

import (
	"fmt"
	"slices"
	"strconv"

	"sluice/configs"
	"sluice/pool"
)

// Apply returns the configuration with what is set in place of what it says. A setting of a pool or backend that it does
// not have has no effect, until it has it again. What is set of an entry is set of all its backends, but for those of which
// something else is. file does not change.
//
// entryOf returns the name of the entry that a backend is of; "" = none.
func (s Set) Apply(file *configs.File, entryOf func(pool, backend string) string) *configs.File {
	if len(s.all) == 0 {
		return file
	}
	next := *file
	next.Pools = slices.Clone(file.Pools)
	for i := range next.Pools {
		p := &next.Pools[i].Config
		if of := s.ofPool(p.Name); len(of) > 0 {
			p.Backends = apply(file, of, applyToEntries(of, p.Backends, func(backend string) string { return entryOf(p.Name, backend) }))
		}
	}
	return &next
}

// Removed returns what reports whether an entry of a pool is not to be used.
func (s Set) Removed(pool string) func(entry string) bool {
	return func(entry string) bool {
		_, removed := s.Get(pool, entry, Removed)
		return removed
	}
}

// ofPool returns the settings of one pool.
func (s Set) ofPool(name string) []Setting {
	from, _ := slices.BinarySearchFunc(s.all, Setting{Pool: name, Key: keys[0]}, compare)
	to := from
	for to < len(s.all) && s.all[to].Pool == name {
		to++
	}
	return s.all[from:to]
}

// applyToEntries returns the backends of a pool as the settings of their entries want them.
func applyToEntries(settings []Setting, backends []pool.BackendConfig, entryOf func(backend string) string) []pool.BackendConfig {
	next := slices.Clone(backends)
	for i := range next {
		entry := entryOf(next[i].Name)
		if entry == "" {
			continue
		}
		for _, s := range settings {
			if s.Backend == entry {
				s.set(&next[i])
			}
		}
	}
	return next
}

// apply returns the backends of a pool as its settings want them. Those that are added come last. It changes next.
func apply(file *configs.File, settings []Setting, next []pool.BackendConfig) []pool.BackendConfig {
	find := func(name string) int {
		return slices.IndexFunc(next, func(b pool.BackendConfig) bool { return b.Name == name })
	}
	for _, s := range settings { // Added and Removed are the first of a backend
		i := find(s.Backend)
		switch {
		case s.Key == Added && i < 0:
			if b, err := configs.ParseBackend(s.Value); err == nil && file.CheckOwn(b.Address) == nil {
				b.Name = s.Backend
				next = append(next, b)
			}
		case i < 0:
		case s.Key == Added:
			next[i].Vanished = false // whatever sources say
		case s.Key == Removed:
			next = slices.Delete(next, i, i+1)
		default:
			s.set(&next[i])
		}
	}
	return next
}

// Barred returns why a setting that adds a backend to a pool of the configuration has no effect: it is one that this
// configuration listens on, which it may not have been when the backend was added. nil: it has, or is no such setting.
func (s Setting) Barred(file *configs.File) error {
	if s.Key != Added || file.Pool(s.Pool) == nil || s.InFile(file) != "" {
		return nil
	}
	b, err := configs.ParseBackend(s.Value)
	if err == nil {
		err = file.CheckOwn(b.Address)
	}
	if err != nil {
		return fmt.Errorf("override %s/%s %s=%s has no effect: %w", s.Pool, s.Backend, s.Key, s.Value, err)
	}
	return nil
}

// set changes one key of a backend.
func (s Setting) set(b *pool.BackendConfig) {
	switch s.Key {
	case State:
		_ = b.State.UnmarshalText([]byte(s.Value)) // it has been checked
	case Weight:
		b.Weight = s.number()
	case MaxConns:
		b.MaxConns = s.number()
	case Backup:
		b.Backup, _ = strconv.ParseBool(s.Value) // it has been checked
	}
}

// InFile returns what a configuration says in place of a setting; "" when it has neither the backend nor the entry.
func (s Setting) InFile(file *configs.File) string {
	p := file.Pool(s.Pool)
	if p == nil {
		return ""
	}
	if i := slices.IndexFunc(p.Config.Backends, func(b pool.BackendConfig) bool { return b.Name == s.Backend }); i >= 0 {
		b := &p.Config.Backends[i]
		return s.in(b, b.Address.String())
	}
	if i := slices.IndexFunc(p.Entries, func(e configs.Entry) bool { return e.Name == s.Backend }); i >= 0 && s.Backend != "" {
		e := &p.Entries[i]
		return s.in(&e.Template, e.Source.Key())
	}
	return ""
}

// in returns what stands in place of a setting; at is where that is.
func (s Setting) in(b *pool.BackendConfig, at string) string {
	switch s.Key {
	case State:
		return b.State.String()
	case Weight:
		return strconv.Itoa(b.Weight)
	case MaxConns:
		return strconv.Itoa(b.MaxConns)
	case Backup:
		return strconv.FormatBool(b.Backup)
	case Added, Removed:
		return at
	}
	return ""
}

// Hiding returns the settings that hide a change from one configuration to the next.
func (s Set) Hiding(from, to *configs.File) (hiding []Setting) {
	for _, one := range s.all {
		if was, is := one.InFile(from), one.InFile(to); was != is && is != "" && is != one.Value {
			hiding = append(hiding, one)
		}
	}
	return hiding
}
