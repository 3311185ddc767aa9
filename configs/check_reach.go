package configs

import "strings"

// A taker is a route that takes sessions before the routes after it.
type taker struct {
	number, line  int
	first, second map[string]bool // it takes what meets one of each; nil = whatever it is
}

// takes reports whether the route takes all that a later one takes of sessions with one of these first conditions, and
// those of the second.
func (t *taker) takes(first []string, second map[string]bool) bool {
	if t.first != nil && !containsAny(t.first, first) {
		return false
	}
	return t.second == nil || second != nil && containsAll(t.second, second)
}

func containsAny(set map[string]bool, values []string) bool {
	for _, value := range values {
		if set[value] {
			return true
		}
	}
	return false
}

func containsAll(set, subset map[string]bool) bool {
	for value := range subset {
		if !set[value] {
			return false
		}
	}
	return true
}

// A reach knows which sessions the routes so far take, of those of one kind: TLS, where routes ask for sni and then
// alpn, or start-ups in clear, where they ask for database and then user. Routes are listed by every value of either
// condition, and those without it by "", which no value is. The shorter lists are searched: there may be thousands of
// routes.
type reach struct {
	byFirst, bySecond map[string][]*taker
	covering          func(first string) []string // what a value of the first condition is listed by, and what includes it
}

func newReach(covering func(string) []string) *reach {
	return &reach{make(map[string][]*taker), make(map[string][]*taker), covering}
}

// find returns a route that takes all that a later one takes of sessions with one of these first conditions; nil = none.
func (r *reach) find(first []string, second map[string]bool) *taker {
	lists := [][]*taker{r.byFirst[""]}
	count := len(lists[0])
	for _, value := range first {
		lists = append(lists, r.byFirst[value])
		count += len(r.byFirst[value])
	}
	others := [][]*taker{r.bySecond[""], r.rarest(second)}
	if len(others[0])+len(others[1]) < count {
		lists = others
	}
	for _, list := range lists {
		for _, t := range list {
			if t.takes(first, second) {
				return t
			}
		}
	}
	return nil
}

// rarest returns the shortest list by one of the values: a route that takes them all is in each of their lists.
func (r *reach) rarest(second map[string]bool) (shortest []*taker) {
	begun := false
	for value := range second {
		if list := r.bySecond[value]; !begun || len(list) < len(shortest) {
			shortest, begun = list, true
		}
	}
	return shortest
}

func (r *reach) add(t taker, first, second []string) {
	listed := make([]string, len(first))
	for i, value := range first {
		listed[i] = r.covering(value)[0]
	}
	t.first, t.second = setOf(listed), setOf(second)
	list(r.byFirst, &t, t.first)
	list(r.bySecond, &t, t.second)
}

func list(index map[string][]*taker, t *taker, values map[string]bool) {
	if values == nil {
		index[""] = append(index[""], t)
	}
	for value := range values {
		index[value] = append(index[value], t)
	}
}

func setOf(values []string) map[string]bool {
	if len(values) == 0 {
		return nil
	}
	set := make(map[string]bool, len(values))
	for _, value := range values {
		set[value] = true
	}
	return set
}

// checkReach reports routes, and values in routes, for which no session is left, because an earlier route takes them all.
func checkReach(d *decoder, routes []*routeDraft) {
	sealed, open := newReach(coveringNames), newReach(func(database string) []string { return []string{database} })
	for i, r := range routes {
		if !r.ok {
			continue
		}
		isSealed, isOpen := len(r.SNI)+len(r.ALPN) > 0, len(r.Database)+len(r.User) > 0
		if isOpen {
			open.check(d, r, "database", r.User)
		} else {
			sealed.check(d, r, "sni", r.ALPN)
		}
		t := taker{number: i + 1, line: r.at.line}
		if !isOpen {
			sealed.add(t, r.SNI, r.ALPN)
		}
		if !isSealed {
			open.add(t, r.Database, r.User)
		}
	}
}

// check reports what of a route cannot be reached; first is the key of its first condition.
func (r *reach) check(d *decoder, route *routeDraft, first string, second []string) {
	set := setOf(second)
	if t := r.find(nil, set); t != nil {
		d.report(route.at, "no session gets to this route: route %d on line %d takes them all: "+
			"move this one before it, or remove it", t.number, t.line)
		return
	}
	for _, v := range route.values[first] {
		text := scalarText(v.node)
		if t := r.find(r.covering(text), set); t != nil {
			d.reportAt(v, "no session with %s %s gets here: route %d on line %d takes them all: "+
				"move this route before it, or remove the name", first, quote(text), t.number, t.line)
		}
	}
}

// coveringNames returns a server name as it is compared, and the wildcards for it.
func coveringNames(name string) []string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	_, parent, _ := strings.Cut(name, ".")
	return []string{name, "*." + parent, "*"}
}
