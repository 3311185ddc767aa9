package route

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

func TestShadows(t *testing.T) {
	list := []Rule{
		0:  {SNI: []string{"a.example"}, ALPN: []string{"h2"}},
		1:  {SNI: []string{"*.example"}, ALPN: []string{"h3"}},
		2:  {SNI: []string{"A.Example.", "b.example"}, ALPN: []string{"h3", "h2"}}, // the one by two rules
		3:  {SNI: []string{"a.example", "b.example"}},
		4:  {SNI: []string{"a.example"}, ALPN: []string{"h2", "h1"}}, // one takes what two take first
		5:  {SNI: []string{"*.example"}, ALPN: []string{"h2"}},       // other names are left
		6:  {ALPN: []string{"h2"}},
		7:  {ALPN: []string{"h3"}},
		8:  {ALPN: []string{"h3", "h2"}},
		9:  {SNI: []string{"*"}, ALPN: []string{"h2", "h3"}},
		10: {Database: []string{"shop"}, User: []string{"app"}},
		11: {User: []string{"batch"}},
		12: {Database: []string{"shop", "stock"}, User: []string{"batch", "app"}},
		13: {Database: []string{"shop"}},
		14: {Database: []string{"shop"}, User: []string{"alice"}},
		15: {},
		16: {SNI: []string{"c.example"}},
		17: {},
	}
	want := []Shadow{
		{2, 0, []int{0, 1}}, {4, 0, []int{3}}, {8, -1, []int{6, 7}}, {9, -1, []int{6, 7}}, {12, 0, []int{10, 11}},
		{14, 0, []int{13}}, {16, -1, []int{15}}, {17, -1, []int{15}},
	}
	if got := must(New(list)).Shadows(list); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestShadowsAgainstMatch: what is called unreachable is never picked, and what is not is picked by one session at least.
func TestShadowsAgainstMatch(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	some := func(of ...string) (picked []string) {
		for _, value := range of {
			if random.IntN(len(of)) == 0 && len(picked) < 3 {
				picked = append(picked, value)
			}
		}
		return picked
	}
	found, several := 0, 0
	for range 2000 {
		list := make([]Rule, 2+random.IntN(5))
		for i := range list {
			if random.IntN(3) > 0 {
				list[i] = Rule{SNI: some("a.x", "A.X.", "b.x", "a.y", "x", "*.x", "*"), ALPN: some("h1", "h2", "h3")}
			} else {
				list[i] = Rule{Database: some("d", "e"), User: some("u", "v")}
			}
		}
		shadows := must(New(list)).Shadows(list)
		for i := range list {
			checkShadows(t, list[:i+1], slices.DeleteFunc(slices.Clone(shadows), func(s Shadow) bool { return s.Rule != i }))
		}
		found += len(shadows)
		for _, s := range shadows {
			several += min(len(s.By)-1, 1)
		}
	}
	if found < 2000 || several < 30 {
		t.Errorf("only %d shadows, %d by several rules", found, several)
	}
}

// checkShadows holds what is found of the last rule against where every session goes.
func checkShadows(t *testing.T, list []Rule, found []Shadow) {
	t.Helper()
	i := len(list) - 1
	left, _ := list[i].conditions()
	left = slices.Clone(left)
	for _, s := range found {
		if alone := without(list, i, s.Value); reaches(alone, i) {
			t.Fatalf("%+v: rule %d is reached, though %+v", list, i, s)
		}
		// Those that are named are enough.
		rest := slices.Clone(list)
		for j := range i {
			if !slices.Contains(s.By, j) {
				rest[j] = Rule{SNI: []string{"never.seen"}}
			}
		}
		if reaches(without(rest, i, s.Value), i) {
			t.Fatalf("%+v: rule %d is reached, if only %v are before it", list, i, s.By)
		}
		if s.Value < 0 {
			return
		}
		left[s.Value] = ""
	}
	if len(left) == 0 && !reaches(list, i) {
		t.Fatalf("%+v: rule %d is not reached", list, i)
	}
	for n, value := range left {
		if value != "" && !reaches(without(list, i, n), i) {
			t.Fatalf("%+v: rule %d is not reached by %q", list, i, value)
		}
	}
}

// without returns the rules with only one of the first values in rule i, or with all of them for -1.
func without(list []Rule, i, n int) []Rule {
	list = slices.Clone(list)
	switch rule := &list[i]; {
	case n < 0:
	case rule.inClear():
		rule.Database = rule.Database[n : n+1]
	default:
		rule.SNI = rule.SNI[n : n+1]
	}
	return list
}

// reaches reports whether any session there can be gets to rule i.
func reaches(list []Rule, i int) bool {
	table := must(New(list))
	return slices.ContainsFunc(everyKey, func(k Key) bool {
		n, ok := table.Match(k)
		return ok && n == i
	})
}

// everyKey has every session that the rules can tell apart.
var everyKey = func() (all []Key) {
	for _, name := range []string{"", "a.x", "b.x", "c.x", "a.y", "b.y", "x", "z"} {
		for set := range 8 {
			var protocols []string
			for bit, protocol := range []string{"h1", "h2", "h3"} {
				if set>>bit&1 == 1 {
					protocols = append(protocols, protocol)
				}
			}
			all = append(all, Key{ServerName: name, Protocols: offers(protocols...)})
		}
	}
	for _, database := range []string{"d", "e", "f"} {
		for _, user := range []string{"u", "v", "w"} {
			all = append(all, Key{Database: database, User: user})
		}
	}
	return all
}()

// TestShadowsOfMany: rules that a program wrote, with millions of pairs of values, are not looked at to the end.
func TestShadowsOfMany(t *testing.T) {
	var values []string
	for i := range 20_000 {
		values = append(values, strconv.Itoa(i))
	}
	list := []Rule{{Database: values, User: values}, {Database: values, User: values}}
	search := shadowSearch{table: must(New(list)), list: list}
	for n := 0; search.asked <= maxAsked; n++ {
		if search.takers(1, values[n]) == nil && search.asked <= maxAsked {
			t.Fatalf("database %d is not found after %d", n, search.asked)
		}
	}
	if search.takers(1, values[0]) != nil {
		t.Error("it goes on")
	}
}
