package discovery

import (
	"slices"
	"time"

	"sluice/pool"
)

// naive is Members as their documentation has them, made without a thought of how long it takes.
type naive []naiveMember

// naiveMember is one backend of a feed.
type naiveMember struct {
	source, name string
	found        Found
	since        time.Time
}

func (n naive) at(a pool.Address) int {
	return slices.IndexFunc(n, func(m naiveMember) bool { return m.found.Address == a })
}

func (n naive) called(name string) int {
	return slices.IndexFunc(n, func(m naiveMember) bool { return m.name == name })
}

// next returns what comes after n.
func (n naive) next(static []pool.BackendConfig, feeds []Feed, r Rules, now time.Time) (after naive) {
	isStatic := func(a pool.Address) bool {
		return slices.ContainsFunc(static, func(c pool.BackendConfig) bool { return c.Address == a })
	}
	var present, vanished naive
	for _, f := range feeds {
		for _, found := range f.Found {
			if f.Answered && !isStatic(found.Address) && present.at(found.Address) < 0 && r.Barred(found.Address) == nil {
				present = append(present, naiveMember{source: f.Source, found: found})
			}
		}
	}
	for _, m := range n {
		if m.since.IsZero() {
			m.since = now
		}
		wanted := slices.ContainsFunc(feeds, func(f Feed) bool { return f.Source == m.source })
		if wanted && !isStatic(m.found.Address) && present.at(m.found.Address) < 0 && r.Barred(m.found.Address) == nil &&
			now.Before(m.since.Add(r.RemoveAfter)) {
			vanished = append(vanished, m)
		}
	}
	taken := map[string]bool{}
	for _, c := range static {
		taken[c.Name] = true
	}
	for _, m := range present {
		if m.name = n.nameOf(m, feeds, taken, &vanished, &after); m.name != "" {
			taken[m.name] = true
			after = append(after, m)
		}
	}
	for _, m := range vanished {
		if !taken[m.name] {
			after = append(after, m)
		}
	}
	return after
}

// nameOf returns the name of one that is in an answer; "" = it has none. One that has vanished and keeps its name for the
// first that could have it goes from vanished to after.
func (n naive) nameOf(m naiveMember, feeds []Feed, taken map[string]bool, vanished, after *naive) string {
	short := m.found.Name
	if short == "" {
		short = prefixOf(m.source, feeds) + m.found.Address.String()
	}
	long := short + "/" + m.found.Address.String()
	was := n.at(m.found.Address)
	if i := vanished.called(short); i >= 0 && !taken[short] && !taken[long] &&
		was >= 0 && n[was].source == m.source && n[was].name == long {
		taken[short] = true
		*after = append(*after, (*vanished)[i])
		*vanished = slices.Delete(*vanished, i, i+1)
		return long
	}
	for _, name := range []string{short, long} {
		if !taken[name] {
			return name
		}
	}
	return ""
}

func prefixOf(source string, feeds []Feed) string {
	return feeds[slices.IndexFunc(feeds, func(f Feed) bool { return f.Source == source })].Prefix
}

// backends returns the list for a pool.
func (n naive) backends(static []pool.BackendConfig, feeds []Feed) (all []pool.BackendConfig) {
	for i := range len(static) + 1 {
		for _, f := range feeds {
			if f.Before == i {
				all = append(all, n.of(f)...)
			}
		}
		all = append(all, static[i:min(i+1, len(static))]...)
	}
	return all
}

// of returns the backends of one feed.
func (n naive) of(f Feed) (all []pool.BackendConfig) {
	for _, m := range n {
		if m.source == f.Source {
			c := m.found.Apply(f.Template)
			c.Name, c.Address, c.Vanished = m.name, m.found.Address, !m.since.IsZero()
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b pool.BackendConfig) int {
		if a.Backup != b.Backup {
			return compareBools(a.Backup, b.Backup)
		}
		return a.Address.TCP.Compare(b.Address.TCP)
	})
	return all
}

// withHost returns the feeds with that of the host, which goes on as it was last when y does not name it any more.
func (n naive) withHost(feeds []Feed, last *Feed) []Feed {
	at := func(source string) int {
		return slices.IndexFunc(feeds, func(f Feed) bool { return f.Source == source })
	}
	if i := at("host"); i >= 0 {
		*last = feeds[i]
	} else if y := at("y"); y >= 0 && slices.ContainsFunc(n, func(m naiveMember) bool { return m.source == "host" }) {
		gone := *last
		gone.Found, gone.Answered, gone.Before = nil, true, feeds[y].Before
		return slices.Insert(feeds, y+1, gone)
	}
	return feeds
}
