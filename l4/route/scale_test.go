package route

import (
	"fmt"
	"testing"
)

// manyRoutes are routes of every kind with n names in all, and keys that each find one, or none.
func manyRoutes(n int) (list []Rule, keys []Key) {
	for i := range n / 10 {
		exact := fmt.Sprintf("shop-%d.example.com", i)
		list = append(list,
			Rule{SNI: []string{exact, "www." + exact}, ALPN: []string{"h2"}},
			Rule{SNI: []string{exact, fmt.Sprintf("*.tenant-%d.example.com", i)}},
			Rule{SNI: []string{exact}, ALPN: []string{"http/1.1"}},
			Rule{Database: []string{fmt.Sprintf("db-%d", i)}, User: []string{"app"}},
			Rule{Database: []string{"shared"}, User: []string{fmt.Sprintf("user-%d", i)}},
			Rule{User: []string{fmt.Sprintf("batch-%d", i)}},
		)
		keys = append(keys,
			Key{ServerName: exact, Protocols: offers("h2", "http/1.1")},
			Key{ServerName: exact},
			Key{ServerName: fmt.Sprintf("a.tenant-%d.example.com", i), Protocols: offers("http/1.1")},
			Key{ServerName: fmt.Sprintf("none-%d.example.com", i)},
			Key{Database: fmt.Sprintf("db-%d", i), User: "app"},
			Key{Database: "shared", User: fmt.Sprintf("user-%d", i)},
			Key{Database: "shared", User: fmt.Sprintf("batch-%d", i)},
			Key{Database: "none", User: "nobody"},
		)
	}
	return list, keys
}

// However many routes there are, a session looks at the few that share a value with it.
func TestMatchLooksAtFew(t *testing.T) {
	list, keys := manyRoutes(10000)
	r := must(New(list))
	longest := len(r.rest) + len(r.named)
	for _, index := range []map[string][]int32{r.exact, r.parent, r.database, r.user} {
		most := 0
		for _, candidates := range index {
			most = max(most, len(candidates))
		}
		longest += most
	}
	if longest > 10 {
		t.Errorf("a session may look at %d of %d routes", longest, len(list))
	}
	found := 0
	for _, k := range keys {
		if _, ok := r.Match(k); ok {
			found++
		}
	}
	if want := len(keys) / 8 * 6; found != want {
		t.Errorf("%d of %d sessions find a route, want %d", found, len(keys), want)
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	list, keys := manyRoutes(1000)
	r := must(New(list))
	i := 0
	if n := testing.AllocsPerRun(10*len(keys), func() { r.Match(keys[i%len(keys)]); i++ }); n != 0 {
		t.Errorf("%v allocations per look-up, want none", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 10000} {
		list, keys := manyRoutes(n)
		r := must(New(list))
		b.Run(fmt.Sprintf("%d names", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Match(keys[i%len(keys)])
			}
		})
		b.Run(fmt.Sprintf("%d names, one asked for", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Match(keys[0])
			}
		})
	}
}

func BenchmarkNewRoutes(b *testing.B) {
	list, _ := manyRoutes(10000)
	for b.Loop() {
		must(New(list))
	}
}
