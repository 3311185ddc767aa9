package discovery

import (
	"slices"
	"sync"
	"time"

	"sluice/pool"
)

// A Feed is what one entry of a pool's configuration gets from its source.
type Feed struct {
	Source   string             // its key
	Entry    string             // of a backend with a host name: how it is written; "" = an item of discover
	Under    string             // of a host name that another source has said: the key of that; "" = it is configured
	Prefix   string             // of the names that are made from addresses: "db1/" where the entry has a name
	Before   int                // it stands before the written backend of this number
	Template pool.BackendConfig // what the source does not say; Name and Address have no meaning
	Found    []Found            // of an Answer; those with a Host are left to other feeds
	Answered bool               // the source has answered; until then it has no backends
}

// Rules are what a pool wants of what is found.
type Rules struct {
	RemoveAfter time.Duration            // how long a backend stays that is in no answer any more; 0 = not at all
	Barred      func(pool.Address) error // why nothing there may be a backend; nil = everything may
}

// Members are the backends of one pool: those that are written, those that are in an answer, and for a while those that
// were. They do not change: what comes after them is made by Next. A nil *Members has none.
type Members struct {
	backends    []pool.BackendConfig
	places      []place // by backend
	groups      []group // by feed
	problems    []Problem
	removeAfter time.Duration
	due         time.Time

	once      sync.Once
	positions map[string]int // by name; made once somebody asks
}

// group is what there is of one feed.
type group struct {
	source, entry string
	under         string
	template      pool.BackendConfig
	members       []member // by address
}

// member is one backend of a group.
type member struct {
	found *Found // as the source had it last; not changed any more
	name  string
	since time.Time // it is in no answer since then; zero = it is in one
}

// place is where a backend is among the groups.
type place struct{ group, member int32 }

// written is the place of one that no source has said.
var written = place{-1, -1}

// Problem is a backend in an answer that is left out.
type Problem struct {
	Source  string `json:"source"`
	Entry   string `json:"entry,omitempty"`
	Backend string `json:"backend"` // its address
	Problem string `json:"problem"`
}

// Origin is where a backend is from. The zero Origin: it is written in the configuration.
type Origin struct {
	Source   string
	Entry    string    // of a backend with a host name: how it is written; "" = an item of discover
	Vanished time.Time // it is in no answer since then; zero = it is in one
	Leaves   time.Time // when it is removed if it does not come back; zero with Vanished
}

// Backends returns what the pool is to have, in its order. The slice must not be changed.
func (m *Members) Backends() []pool.BackendConfig {
	if m == nil {
		return nil
	}
	return m.backends
}

// Origin returns where the backend of that name is from.
func (m *Members) Origin(name string) Origin {
	if m == nil {
		return Origin{}
	}
	m.once.Do(func() {
		m.positions = make(map[string]int, len(m.backends))
		for i := range m.backends {
			m.positions[m.backends[i].Name] = i
		}
	})
	i, ok := m.positions[name]
	if !ok || m.places[i] == written {
		return Origin{}
	}
	g := &m.groups[m.places[i].group]
	origin := Origin{Source: g.source, Entry: g.entry, Vanished: g.members[m.places[i].member].since}
	if !origin.Vanished.IsZero() {
		origin.Leaves = origin.Vanished.Add(m.removeAfter)
	}
	return origin
}

// Due returns when the next vanished backend is to be removed, by Next; zero: there is none.
func (m *Members) Due() time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.due
}

// Problems returns what is left out, by feed and address. The slice must not be changed.
func (m *Members) Problems() []Problem {
	if m == nil {
		return nil
	}
	return m.problems
}

// Equal reports whether both have the same backends in the same order, so that the pool need not be told. The rest can
// differ.
func (m *Members) Equal(other *Members) bool { return slices.Equal(m.Backends(), other.Backends()) }
