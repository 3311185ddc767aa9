package overrides

import (
	"fmt"
	"slices"
	"strconv"

	"sluice/configs"
	"sluice/pool"
)

// Apply returns the configuration with what is set in place of what it says. A setting of a pool or backend that it does
// not have has no effect, until it has it again. file does not change.
func (s Set) Apply(file *configs.File) *configs.File {
	if len(s.all) == 0 {
		return file
	}
	next := *file
	next.Pools = slices.Clone(file.Pools)
	for i := range next.Pools {
		p := &next.Pools[i].Config
		if of := s.ofPool(p.Name); len(of) > 0 {
			p.Backends = apply(file, of, p.Backends)
		}
	}
	return &next
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

// apply returns the backends of a pool as its settings want them. Those that are added come last.
func apply(file *configs.File, settings []Setting, backends []pool.BackendConfig) []pool.BackendConfig {
	next := slices.Clone(backends)
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

// InFile returns what a configuration says in place of a setting; "" when it does not have the backend.
func (s Setting) InFile(file *configs.File) string {
	p := file.Pool(s.Pool)
	if p == nil {
		return ""
	}
	i := slices.IndexFunc(p.Config.Backends, func(b pool.BackendConfig) bool { return b.Name == s.Backend })
	if i < 0 {
		return ""
	}
	b := p.Config.Backends[i]
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
		return b.Address.String()
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
