package route

import (
	"iter"
	"slices"

	"sluice/l4/tlshello"
)

// A Shadow is what of a rule no session gets to, because rules before it take them all.
type Shadow struct {
	Rule  int   // its number in the list, from 0
	Value int   // which of its SNI or Database, from 0; -1 = all of the rule
	By    []int // those that take the sessions, in order
}

// maxAsked is how much Shadows looks at: no list that is written for people to read has so many pairs of values, and what a
// machine wrote must not take minutes.
const maxAsked = 1 << 20

// A shadowSearch asks a table where the sessions go that meet as little as they can beside one value of each condition of
// a rule: who takes one of these takes all with these values.
type shadowSearch struct {
	table *Table
	list  []Rule
	asked int // keys and values looked at
}

// Shadows returns what no session gets to in the list that the table was built from. It leaves it to Match who takes what.
func (r *Table) Shadows(list []Rule) (all []Shadow) {
	search := shadowSearch{table: r, list: list}
	for i := range list {
		if by := search.takers(i, ""); by != nil {
			all = append(all, Shadow{i, -1, by})
			continue
		}
		firsts, _ := list[i].conditions()
		for n, first := range firsts {
			if by := search.takers(i, first); by != nil {
				all = append(all, Shadow{i, n, by})
			}
		}
	}
	return all
}

// takers returns the rules before rule i that take all of its sessions with this first value, whatever it is when "", or
// nil when some are left. When one rule takes them all, it is often the last of those that come first for one of them.
func (s *shadowSearch) takers(i int, first string) (by []int) {
	keys := s.list[i].least(first)
	for k := range keys {
		s.asked++
		taker, ok := s.table.Match(k)
		if !ok || taker >= i || s.asked > maxAsked {
			return nil
		}
		by = append(by, taker)
	}
	slices.Sort(by)
	by = slices.Compact(by)
	if last := len(by) - 1; last > 0 && s.takesAll(by[last], keys) {
		by = by[last:]
	}
	return by
}

func (s *shadowSearch) takesAll(i int, keys iter.Seq[Key]) bool {
	firsts, seconds := s.list[i].conditions()
	s.asked += len(firsts) + len(seconds)
	alone, err := New(s.list[i : i+1])
	if err != nil {
		return false
	}
	for k := range keys {
		s.asked++
		if _, ok := alone.Match(k); !ok {
			return false
		}
	}
	return true
}

// conditions returns the values of the two conditions that a rule can have.
func (r *Rule) conditions() (firsts, seconds []string) {
	if r.inClear() {
		return r.Database, r.User
	}
	return r.SNI, r.ALPN
}

// least returns the sessions that meet this first value and one of the second, and nothing that they need not meet. A name
// that is a pattern serves as the name that no other pattern means: "*" is in no name.
func (r *Rule) least(first string) iter.Seq[Key] {
	_, seconds := r.conditions()
	if len(seconds) == 0 {
		seconds = []string{""}
	}
	name, _ := tlshello.FoldName(first) // "" stays so
	return func(yield func(Key) bool) {
		for _, second := range seconds {
			k := Key{Database: first, User: second}
			if !r.inClear() {
				k = Key{ServerName: name, Protocols: offer(second)}
			}
			if !yield(k) {
				return
			}
		}
	}
}

// offer returns the list of one protocol, or of none for "".
func offer(protocol string) tlshello.ProtocolList {
	if protocol == "" {
		return ""
	}
	return tlshello.ProtocolList(append([]byte{byte(len(protocol))}, protocol...))
}
