package route

import (
	"strings"

	"sluice/l4/tlshello"
)

// A Rule says which sessions of a listener go to its target. A session must meet
// every condition that is there; the zero Rule takes every session.
//
// SNI and ALPN are known of TLS, Database and User of a Postgres start-up in clear.
// No session shows both, so a rule that asks for both is an error.
type Rule struct {
	// SNI has server names: "shop.example.com" is itself, "*.example.com" any name with exactly one label before
	// example.com, "*" every name, but not the lack of one. Case and a last dot make no difference.
	SNI []string
	// ALPN has protocols of which the client must offer one, byte for byte.
	ALPN []string
	// Database and User have names of which the client must send one, byte for byte.
	Database, User []string
}

// A Key is what is known of a session when its route is chosen. An empty field is not known, and meets no condition.
type Key struct {
	ServerName     string // folded, as of a tlshello.Hello
	Protocols      tlshello.ProtocolList
	Database, User string
}

// A Table finds the first of a listener's routes that takes a session. It does not
// change once it is built, so loops share it.
//
// Every route is in the lists of the values of one of its conditions, the most telling one. A session looks into the
// few lists of its own values, so it pays for the routes that have a value in common with it, not for all there are.
// Lists are in the configured order.
type Table struct {
	exact, parent  map[string][]int32 // by server name, and by what follows "*."
	named          []int32            // those for "*"
	database, user map[string][]int32
	rest           []int32 // those that ask for none of these
	others         []otherConditions
	protocols      map[string]uint64 // each ALPN protocol that a route asks for, and its bit
}

// otherConditions are those of a route that it is not listed by.
type otherConditions struct {
	protocols      uint64 // one of these bits; 0 = no condition
	database, user nameSet
}

// A nameSet is a condition on a name; nil = no condition.
type nameSet map[string]struct{}

func (s nameSet) takes(name string) bool {
	if s == nil {
		return true
	}
	_, ok := s[name]
	return ok
}

// Match returns the first route that takes k. It allocates nothing.
func (r *Table) Match(k Key) (index int, ok bool) {
	_, parent, _ := strings.Cut(k.ServerName, ".")
	candidates := [...][]int32{
		r.exact[k.ServerName], r.parent[parent], nil, r.database[k.Database], r.user[k.User], r.rest,
	}
	if k.ServerName != "" {
		candidates[2] = r.named
	}
	offered := r.offered(k.Protocols)
	first := len(r.others)
	for _, list := range candidates {
		for _, i := range list {
			if int(i) >= first {
				break
			}
			if r.others[i].take(k, offered) {
				first = int(i)
			}
		}
	}
	if first == len(r.others) {
		return 0, false
	}
	return first, true
}

// offered returns the bits of a client's protocols. It is done once for all
// candidates, as a client may offer thousands.
func (r *Table) offered(list tlshello.ProtocolList) (bits uint64) {
	if len(r.protocols) == 0 {
		return 0
	}
	for protocol := range list.All() {
		bits |= r.protocols[protocol]
	}
	return bits
}

func (o *otherConditions) take(k Key, offered uint64) bool {
	return (o.protocols == 0 || o.protocols&offered != 0) && o.database.takes(k.Database) && o.user.takes(k.User)
}
