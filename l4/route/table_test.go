package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
)

// offers is the protocols of a client as a tlshello.Hello has them.
func offers(protocols ...string) tlshello.ProtocolList {
	var list []byte
	for _, p := range protocols {
		list = append(list, hellotest.Prefixed(1, []byte(p))...)
	}
	return tlshello.ProtocolList(list)
}

func TestMatch(t *testing.T) {
	list := []Rule{
		0: {SNI: []string{"shop.example.com", "*.shop.example.com"}, ALPN: []string{"h2", "grpc"}},
		1: {SNI: []string{"Shop.Example.Com."}},
		2: {SNI: []string{"*.example.com"}, ALPN: []string{"http/1.1"}},
		3: {SNI: []string{"*.example.com", "a.example.com"}, ALPN: []string{"h2"}},
		4: {ALPN: []string{"postgresql"}},
		5: {SNI: []string{"*"}, ALPN: []string{"h3"}},
		6: {SNI: []string{"late.example.net", "*.net", "late.example.net"}},
		7: {Database: []string{"shop", "stock"}, User: []string{"app", "batch"}},
		8: {Database: []string{"shop"}},
		9: {User: []string{"app"}},
	}
	r := must(New(list))
	f := func(want int, k Key) {
		t.Helper()
		i, ok := r.Match(k)
		if ok != (want >= 0) || ok && i != want {
			t.Errorf("%+v: %d, %v; want %d", k, i, ok, want)
		}
	}
	tls := func(want int, name string, protocols ...string) {
		t.Helper()
		f(want, Key{ServerName: name, Protocols: offers(protocols...)})
	}
	tls(0, "shop.example.com", "h2")
	tls(0, "shop.example.com", "http/1.1", "grpc")
	tls(1, "shop.example.com", "http/1.1") // the first route asks for another protocol, the third one comes later
	tls(1, "shop.example.com")
	tls(0, "a.shop.example.com", "h2")
	tls(-1, "a.shop.example.com") // not one label before example.com
	tls(-1, "a.b.shop.example.com", "h2")
	tls(2, "a.example.com", "h2", "http/1.1")
	tls(3, "a.example.com", "h2")
	tls(3, "b.example.com", "h2")
	tls(-1, "a.example.com", "H2")
	tls(-1, "example.com", "h2")
	tls(4, "example.com", "postgresql")
	tls(4, "", "postgresql", "h3")
	tls(5, "example.com", "h3")
	tls(-1, "", "h3") // "*" is any name, not none
	tls(6, "late.example.net")
	tls(6, "example.net")
	tls(-1, "a.b.net")
	tls(-1, "net")
	tls(-1, "*.shop.example.com") // a name asked for is not a pattern
	tls(-1, "*", "h2")
	tls(-1, "")

	f(7, Key{Database: "shop", User: "app"})
	f(7, Key{Database: "stock", User: "batch"})
	f(8, Key{Database: "shop", User: "alice"})
	f(9, Key{Database: "other", User: "app"})
	f(-1, Key{Database: "stock", User: "alice"})
	f(-1, Key{Database: "Shop", User: "App"})
	f(-1, Key{Database: "app", User: "shop"})
	f(-1, Key{})
}

func TestMatchZeroRoute(t *testing.T) {
	r := must(New([]Rule{{SNI: []string{"a.example"}}, {}, {SNI: []string{"b.example"}}}))
	f := func(want int, k Key) {
		t.Helper()
		if i, ok := r.Match(k); !ok || i != want {
			t.Errorf("%+v: %d, %v; want %d", k, i, ok, want)
		}
	}
	f(0, Key{ServerName: "a.example"})
	f(1, Key{ServerName: "b.example"})
	f(1, Key{Database: "a.example", User: "b"})
	f(1, Key{})
	for _, none := range []*Table{must(New(nil)), must(New([]Rule{{SNI: []string{"a.example"}}}))} {
		if i, ok := none.Match(Key{}); ok || i != 0 {
			t.Errorf("route %d is found where there is none", i)
		}
	}
}

func TestNewRoutesFails(t *testing.T) {
	f := func(want string, list ...Rule) {
		t.Helper()
		if _, err := New(list); err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
	sni := func(names ...string) Rule { return Rule{SNI: names} }
	f(`route 1: sni "": empty`, sni(""))
	f(`route 2: sni "a.*": `+errWildcard.Error(), sni("a"), sni("a.*"))
	f(`route 1: sni "bücher.example": `+errUnicode.Error(), sni("bücher.example"))
	f(`route 1: sni "a..b": `+errNameSyntax.Error(), sni("a..b"))
	f(`route 1: sni "::1": `+errAddress.Error(), sni("::1"))
	f(`route 1: alpn "": empty`, Rule{ALPN: []string{"h2", ""}})
	long := strings.Repeat("x", 256)
	f(`route 1: alpn "`+long+`": `+errLongALPN.Error(), Rule{ALPN: []string{long}})
	f(`route 1: database "": empty`, Rule{Database: []string{""}})
	f(`route 1: user "": empty`, Rule{User: []string{""}})
	f(`route 1: user "a\x00b": `+errNUL.Error(), Rule{User: []string{"a\x00b"}})
	f("route 1: "+errNeverBothOf.Error(), Rule{SNI: []string{"a"}, Database: []string{"b"}})
	f("route 1: "+errNeverBothOf.Error(), Rule{ALPN: []string{"a"}, User: []string{"b"}})
	f("route 1: sni \"\": empty\nroute 1: alpn \"\": empty\nroute 3: sni \"\": empty",
		Rule{SNI: []string{""}, ALPN: []string{""}}, Rule{}, sni(""))

	var many []string
	for i := range maxProtocols {
		many = append(many, fmt.Sprint("p", i))
	}
	f(`route 2: alpn "more": `+errManyALPN.Error(), Rule{ALPN: many}, Rule{ALPN: []string{"p1", "more"}})
	r := must(New([]Rule{{ALPN: many[:maxProtocols-1]}, {ALPN: many}}))
	if i, ok := r.Match(Key{Protocols: offers(many[maxProtocols-1])}); !ok || i != 1 {
		t.Errorf("the last protocol: route %d, %v", i, ok)
	}
}

// walk is what match must answer: the routes one after the other.
func walk(list []Rule, k Key) (int, bool) {
	contains := func(values []string, value string) bool { return len(values) == 0 || slices.Contains(values, value) }
	return first(list, func(rule Rule) bool {
		name := len(rule.SNI) == 0 || slices.ContainsFunc(rule.SNI, func(pattern string) bool {
			_, parent, _ := strings.Cut(k.ServerName, ".")
			return pattern == k.ServerName || pattern == "*" && k.ServerName != "" || parent != "" && pattern == "*."+parent
		})
		protocol := len(rule.ALPN) == 0 || slices.ContainsFunc(slices.Collect(k.Protocols.All()), func(p string) bool {
			return slices.Contains(rule.ALPN, p)
		})
		return name && protocol && contains(rule.Database, k.Database) && contains(rule.User, k.User)
	})
}

func first(list []Rule, takes func(Rule) bool) (int, bool) {
	i := slices.IndexFunc(list, takes)
	return max(i, 0), i >= 0
}

func TestMatchAgainstWalk(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func(of ...string) (picked []string) {
		for range random.IntN(4) {
			picked = append(picked, of[random.IntN(len(of))])
		}
		return picked
	}
	names, protocols := []string{"a", "b", "a.b", "b.a", "a.b.a", "b.b.a", "a.a.b.a"}, []string{"x", "y", "z"}
	matched := 0
	for range 3000 {
		list := make([]Rule, random.IntN(12))
		for i := range list {
			if random.IntN(2) == 0 {
				list[i] = Rule{SNI: some(append(names, "*", "*.a", "*.b", "*.b.a")...), ALPN: some(protocols...)}
			} else {
				list[i] = Rule{Database: some(names...), User: some(protocols...)}
			}
		}
		r := must(New(list))
		for range 20 {
			k := Key{ServerName: append(names, "")[random.IntN(8)], Protocols: offers(some(protocols...)...)}
			if random.IntN(2) == 0 {
				k = Key{Database: names[random.IntN(7)], User: protocols[random.IntN(3)]}
			}
			i, ok := r.Match(k)
			if want, found := walk(list, k); i != want || ok != found {
				t.Fatalf("%+v: route %d, %v; want %d, %v of %+v", k, i, ok, want, found, list)
			}
			if ok {
				matched++
			}
		}
	}
	if matched < 10000 {
		t.Errorf("only %d sessions have found a route", matched)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
