// Package change says how one configuration differs from another: what an apply does, or would do.
package change

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/pool"
)

// A Change is the difference between what runs and what is to run. The zero Change is none.
type Change struct {
	Generation uint64 `json:"generation"` // in force after it; of a dry run, the one that still is
	DryRun     bool   `json:"dry_run"`    // nothing has changed

	Settings  []Key    `json:"settings,omitempty"` // of the program itself: admin, log, limits
	Listeners []Thing  `json:"listeners,omitempty"`
	Pools     []Thing  `json:"pools,omitempty"`
	Overrides []Key    `json:"overrides,omitempty"` // "POOL/BACKEND KEY": what an operator has set or unset
	GoOn      []string `json:"go_on,omitempty"`     // what goes on as it began, a sentence each
	Pending   []Key    `json:"pending,omitempty"`   // what waits for the next start
	Hidden    []Hidden `json:"hidden,omitempty"`    // what the file changes and an override hides
	Warnings  []string `json:"warnings,omitempty"`  // what is hardly meant
}

// A Thing is a listener, a pool or a backend that comes, goes or is changed.
type Thing struct {
	Name     string  `json:"name"`
	What     What    `json:"what"`
	Address  string  `json:"address,omitempty"` // of a backend
	Keys     []Key   `json:"keys,omitempty"`    // of one that is changed
	Backends []Thing `json:"backends,omitempty"`
}

// What becomes of a thing.
type What string

// What can become of it.
const (
	Added   What = "added"
	Removed What = "removed"
	Changed What = "changed"
)

// A Key is a setting that is changed. A value that nobody has written is empty: the default counts.
type Key struct {
	Key    string `json:"key"`
	From   string `json:"from"`
	To     string `json:"to"`
	Secret bool   `json:"secret,omitempty"` // it may hold a password: the values are not told
}

// A Hidden is an override that hides what the file changes; or the other way round, one that has added a backend which is
// now in the file.
type Hidden struct {
	Pool    string `json:"pool"`
	Backend string `json:"backend"`
	Key     string `json:"key"`
	Value   string `json:"value"` // of the override
	InFile  string `json:"in_file"`
}

// Empty reports whether nothing that runs is changed.
func (c *Change) Empty() bool {
	return len(c.Settings)+len(c.Listeners)+len(c.Pools)+len(c.Overrides)+len(c.Pending) == 0
}

// Between returns the difference between two configurations as they are in force: with overrides, and with what networks
// their files hold. from may be nil: nothing runs yet.
func Between(from, to *configs.File) Change {
	if from == nil {
		from = &configs.File{}
	}
	var c Change
	for _, k := range keysBetween(from.Written, to.Written) {
		if slices.Contains(atStart, k.Key) {
			c.Pending = append(c.Pending, k)
		} else {
			c.Settings = append(c.Settings, k)
		}
	}
	c.Listeners = things(from.Listeners, to.Listeners, func(l *configs.Listener) string { return l.Name }, listenerKeys, nil)
	c.Pools = things(from.Pools, to.Pools, func(p *configs.Pool) string { return p.Config.Name },
		func(from, to *configs.Pool) []Key { return keysBetween(from.Written, to.Written) },
		func(from, to *configs.Pool) []Thing {
			return append(entries(from.Entries, to.Entries), backends(from.Config.Backends, to.Config.Backends)...)
		})
	return c
}

// atStart are the keys that are read at the start alone.
var atStart = []string{"loops", "log.format"}

// things compares two lists of things that have names. Their order is no difference.
func things[T any](from, to []T, name func(*T) string, keys func(from, to *T) []Key, below func(from, to *T) []Thing) (all []Thing) {
	before := make(map[string]*T, len(from))
	for i := range from {
		before[name(&from[i])] = &from[i]
	}
	for i := range to {
		next := &to[i]
		was := before[name(next)]
		delete(before, name(next))
		thing := Thing{Name: name(next), What: Changed}
		if was == nil {
			thing.What, was = Added, new(T)
		} else {
			thing.Keys = keys(was, next)
		}
		if below != nil {
			thing.Backends = below(was, next)
		}
		if thing.What == Added || len(thing.Keys)+len(thing.Backends) > 0 {
			all = append(all, thing)
		}
	}
	for i := range from {
		if gone := name(&from[i]); before[gone] != nil {
			all = append(all, Thing{Name: gone, What: Removed})
		}
	}
	return all
}

// listenerKeys compares what was written of a listener, and the networks that its files hold.
func listenerKeys(from, to *configs.Listener) []Key {
	keys := keysBetween(from.Written, to.Written)
	for _, n := range []struct {
		key      string
		from, to *configs.Networks
	}{{"allow", &from.Allow, &to.Allow}, {"deny", &from.Deny, &to.Deny}} {
		known := slices.ContainsFunc(keys, func(k Key) bool { return strings.HasPrefix(k.Key, n.key) })
		if !known && len(n.from.Files) > 0 && !slices.Equal(n.from.InForce, n.to.InForce) {
			keys = append(keys, Key{Key: n.key, From: networks(n.from), To: networks(n.to)})
		}
	}
	return keys
}

func networks(n *configs.Networks) string {
	if len(n.InForce) == 1 {
		return "1 network"
	}
	return strconv.Itoa(len(n.InForce)) + " networks"
}

// entries compares the backends of a pool that are host names. What is found for them is compared with all others.
func entries(from, to []configs.Entry) (all []Thing) {
	before := make(map[string]*configs.Entry, len(from))
	for i := range from {
		before[from[i].Name] = &from[i]
	}
	for i := range to {
		e := &to[i]
		if e.Name == "" { // of discover, which is a key of the pool
			continue
		}
		was := before[e.Name]
		if was == nil || was.Source.Key() != e.Source.Key() {
			all = append(all, Thing{Name: e.Name, What: Added, Address: e.Source.Key()})
			continue
		}
		delete(before, e.Name)
		if keys := backendKeys(was.Template, e.Template); len(keys) > 0 {
			all = append(all, Thing{Name: e.Name, What: Changed, Keys: keys})
		}
	}
	for i := range from {
		if e := &from[i]; e.Name != "" && before[e.Name] != nil {
			all = append(all, Thing{Name: e.Name, What: Removed, Address: e.Source.Key()})
		}
	}
	return all
}

// backends compares the backends of a pool. One is its name and its address: another address is another backend.
func backends(from, to []pool.BackendConfig) (all []Thing) {
	before := make(map[string]pool.BackendConfig, len(from))
	for _, b := range from {
		before[b.Name] = b
	}
	kept := make(map[string]bool, len(to))
	for _, b := range to {
		was, known := before[b.Name]
		if known = known && was.Same(b); known {
			kept[b.Name] = true
		}
		switch keys := backendKeys(was, b); {
		case !known:
			all = append(all, Thing{Name: b.Name, What: Added, Address: b.Address.String()})
		case len(keys) > 0:
			all = append(all, Thing{Name: b.Name, What: Changed, Keys: keys})
		}
	}
	for _, b := range from {
		if !kept[b.Name] {
			all = append(all, Thing{Name: b.Name, What: Removed, Address: b.Address.String()})
		}
	}
	return all
}

func backendKeys(from, to pool.BackendConfig) (keys []Key) {
	f := func(key, was, is string) {
		if was != is {
			keys = append(keys, Key{Key: key, From: was, To: is})
		}
	}
	f(overrides.State, from.State.String(), to.State.String())
	f(overrides.Weight, strconv.Itoa(from.Weight), strconv.Itoa(to.Weight))
	f(overrides.MaxConns, strconv.Itoa(from.MaxConns), strconv.Itoa(to.MaxConns))
	f(overrides.Backup, strconv.FormatBool(from.Backup), strconv.FormatBool(to.Backup))
	return keys
}

// secrets are keys whose values may hold passwords.
var secrets = []string{"check.headers.", "check.steps"}

// keysBetween returns the keys that differ, in the order of their names.
func keysBetween(from, to configs.Written) (keys []Key) {
	all := maps.Clone(to)
	if all == nil {
		all = make(configs.Written)
	}
	maps.Copy(all, from)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		was, is := from[key], to[key]
		if was == is {
			continue
		}
		k := Key{Key: key, From: was, To: is}
		if slices.ContainsFunc(secrets, func(s string) bool { return strings.HasPrefix(key, s) }) {
			k = Key{Key: key, Secret: true}
		}
		keys = append(keys, k)
	}
	return keys
}
