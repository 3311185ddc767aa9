package l4

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
	list := []Route{
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
	r := must(newRoutes(list))
	f := func(want int, k routeKey) {
		t.Helper()
		i, ok := r.match(k)
		if ok != (want >= 0) || ok && i != want {
			t.Errorf("%+v: %d, %v; want %d", k, i, ok, want)
		}
	}
	tls := func(want int, name string, protocols ...string) {
		t.Helper()
		f(want, routeKey{serverName: name, protocols: offers(protocols...)})
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

	f(7, routeKey{database: "shop", user: "app"})
	f(7, routeKey{database: "stock", user: "batch"})
	f(8, routeKey{database: "shop", user: "alice"})
	f(9, routeKey{database: "other", user: "app"})
	f(-1, routeKey{database: "stock", user: "alice"})
	f(-1, routeKey{database: "Shop", user: "App"})
	f(-1, routeKey{database: "app", user: "shop"})
	f(-1, routeKey{})
}

func TestMatchZeroRoute(t *testing.T) {
	r := must(newRoutes([]Route{{SNI: []string{"a.example"}}, {}, {SNI: []string{"b.example"}}}))
	f := func(want int, k routeKey) {
		t.Helper()
		if i, ok := r.match(k); !ok || i != want {
			t.Errorf("%+v: %d, %v; want %d", k, i, ok, want)
		}
	}
	f(0, routeKey{serverName: "a.example"})
	f(1, routeKey{serverName: "b.example"})
	f(1, routeKey{database: "a.example", user: "b"})
	f(1, routeKey{})
	for _, none := range []*routes{must(newRoutes(nil)), must(newRoutes([]Route{{SNI: []string{"a.example"}}}))} {
		if i, ok := none.match(routeKey{}); ok || i != 0 {
			t.Errorf("route %d is found where there is none", i)
		}
	}
}

func TestNewRoutesFails(t *testing.T) {
	f := func(want string, list ...Route) {
		t.Helper()
		if _, err := newRoutes(list); err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
	sni := func(names ...string) Route { return Route{SNI: names} }
	f(`route 1: sni "": empty`, sni(""))
	f(`route 2: sni "a.*": `+errWildcard.Error(), sni("a"), sni("a.*"))
	f(`route 1: sni "bücher.example": `+errUnicode.Error(), sni("bücher.example"))
	f(`route 1: sni "a..b": `+errNameSyntax.Error(), sni("a..b"))
	f(`route 1: sni "::1": `+errAddress.Error(), sni("::1"))
	f(`route 1: alpn "": empty`, Route{ALPN: []string{"h2", ""}})
	long := strings.Repeat("x", 256)
	f(`route 1: alpn "`+long+`": `+errLongALPN.Error(), Route{ALPN: []string{long}})
	f(`route 1: database "": empty`, Route{Database: []string{""}})
	f(`route 1: user "": empty`, Route{User: []string{""}})
	f(`route 1: user "a\x00b": `+errNUL.Error(), Route{User: []string{"a\x00b"}})
	f("route 1: "+errNeverBothOf.Error(), Route{SNI: []string{"a"}, Database: []string{"b"}})
	f("route 1: "+errNeverBothOf.Error(), Route{ALPN: []string{"a"}, User: []string{"b"}})
	f("route 1: sni \"\": empty\nroute 1: alpn \"\": empty\nroute 3: sni \"\": empty",
		Route{SNI: []string{""}, ALPN: []string{""}}, Route{}, sni(""))

	var many []string
	for i := range maxProtocols {
		many = append(many, fmt.Sprint("p", i))
	}
	f(`route 2: alpn "more": `+errManyALPN.Error(), Route{ALPN: many}, Route{ALPN: []string{"p1", "more"}})
	r := must(newRoutes([]Route{{ALPN: many[:maxProtocols-1]}, {ALPN: many}}))
	if i, ok := r.match(routeKey{protocols: offers(many[maxProtocols-1])}); !ok || i != 1 {
		t.Errorf("the last protocol: route %d, %v", i, ok)
	}
}

// walk is what match must answer: the routes one after the other.
func walk(list []Route, k routeKey) (int, bool) {
	contains := func(values []string, value string) bool { return len(values) == 0 || slices.Contains(values, value) }
	return first(list, func(route Route) bool {
		name := len(route.SNI) == 0 || slices.ContainsFunc(route.SNI, func(pattern string) bool {
			_, parent, _ := strings.Cut(k.serverName, ".")
			return pattern == k.serverName || pattern == "*" && k.serverName != "" || parent != "" && pattern == "*."+parent
		})
		protocol := len(route.ALPN) == 0 || slices.ContainsFunc(slices.Collect(k.protocols.All()), func(p string) bool {
			return slices.Contains(route.ALPN, p)
		})
		return name && protocol && contains(route.Database, k.database) && contains(route.User, k.user)
	})
}

func first(list []Route, takes func(Route) bool) (int, bool) {
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
		list := make([]Route, random.IntN(12))
		for i := range list {
			if random.IntN(2) == 0 {
				list[i] = Route{SNI: some(append(names, "*", "*.a", "*.b", "*.b.a")...), ALPN: some(protocols...)}
			} else {
				list[i] = Route{Database: some(names...), User: some(protocols...)}
			}
		}
		r := must(newRoutes(list))
		for range 20 {
			k := routeKey{serverName: append(names, "")[random.IntN(8)], protocols: offers(some(protocols...)...)}
			if random.IntN(2) == 0 {
				k = routeKey{database: names[random.IntN(7)], user: protocols[random.IntN(3)]}
			}
			i, ok := r.match(k)
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
