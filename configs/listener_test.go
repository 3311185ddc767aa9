package configs

import (
	"net/netip"
	"testing"

	"sluice/l4"
	"sluice/l4/clients"
	"sluice/l4/route"
	"sluice/pool"
)

// checkListener loads a listener with these settings, beside the pools web and api.
func checkListener(t *testing.T, settings string, change func(*Listener)) {
	t.Helper()
	text := "pools: {web: {backends: 10.0.0.1:80}, api: {backends: 10.0.0.2:80}}\n" +
		"listeners:\n  l:\n    bind: :443\n" + settings
	file, err := parse("good.yaml", []byte(text), noLookup)
	if err != nil {
		t.Errorf("%s:\n%v", settings, err)
		return
	}
	want := defaultListener("l")
	want.Bind = []pool.Address{everywhere(443)}
	change(&want)
	if got := file.Listeners[0]; !equal(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", settings, got, want)
	}
}

func TestRoutes(t *testing.T) {
	f := func(settings string, protocol l4.Protocol, pool string, routes ...Route) {
		t.Helper()
		checkListener(t, settings, func(l *Listener) { l.Protocol, l.Pool, l.Routes = protocol, pool, routes })
	}
	shop := Route{route.Rule{SNI: []string{"shop.example.com"}}, "web"}
	f("    protocol: tls\n    routes: {sni: shop.example.com, pool: web}", l4.ProtocolTLS, "", shop)
	f("    routes: [{pool: web, sni: [shop.example.com]}]\n    protocol: tls\n    pool: api", l4.ProtocolTLS, "api", shop)
	f("    protocol: tls\n    pool: web", l4.ProtocolTLS, "web")
	f(`    protocol: tls
    routes:
    - {sni: ["Shop.Example.com.", '*.example.com', "*"], alpn: [h2, acme-tls/1], pool: api}
    - alpn: http/1.1
      pool: web
    - {pool: api}`, l4.ProtocolTLS, "",
		Route{route.Rule{SNI: []string{"Shop.Example.com.", "*.example.com", "*"}, ALPN: []string{"h2", "acme-tls/1"}}, "api"},
		Route{route.Rule{ALPN: []string{"http/1.1"}}, "web"}, Route{Pool: "api"})
	f(`    protocol: postgres
    routes:
    - {sni: db1.example.com, pool: web}
    - {database: ["1", app], user: 'alice b', pool: api}
    pool: web`, l4.ProtocolPostgres, "web",
		Route{route.Rule{SNI: []string{"db1.example.com"}}, "web"},
		Route{route.Rule{Database: []string{"1", "app"}, User: []string{"alice b"}}, "api"})
}

func TestAccess(t *testing.T) {
	f := func(settings string, allow, deny Networks) {
		t.Helper()
		checkListener(t, "    pool: web\n"+settings, func(l *Listener) { l.Pool, l.Allow, l.Deny = "web", allow, deny })
	}
	prefixes := func(texts ...string) Networks {
		var n Networks
		for _, text := range texts {
			n.List = append(n.List, netip.MustParsePrefix(text))
		}
		return n
	}
	const denied, nobody = "testdata/networks/denied.txt", "testdata/networks/nobody.txt"
	f(`    allow: [0.0.0.0/0, ::/0]`, prefixes("0.0.0.0/0", "::/0"), Networks{})
	f(`    allow: 10.0.0.1`, prefixes("10.0.0.1/32"), Networks{})
	f(`    deny: ["2001:db8::1", "::ffff:10.0.0.1"]`, Networks{}, prefixes("2001:db8::1/128", "10.0.0.1/32"))
	f("    allow: {file: "+denied+"}\n    deny: [{file: "+nobody+"}]",
		Networks{Files: []string{denied}}, Networks{Files: []string{nobody}})
	f("    deny:\n    - 10.0.0.0/8\n    - file: "+denied+"\n    - {file: ./"+denied+"}", Networks{},
		Networks{List: prefixes("10.0.0.0/8").List, Files: []string{denied, denied}})
	// Files may hold nothing as long as somebody is left.
	f("    allow: [10.0.0.0/8, {file: "+nobody+"}]",
		Networks{List: prefixes("10.0.0.0/8").List, Files: []string{nobody}}, Networks{})
}

func TestLimits(t *testing.T) {
	f := func(settings string, most int, limits clients.Limits) {
		t.Helper()
		checkListener(t, "    pool: web\n"+settings, func(l *Listener) {
			l.Pool, l.MaxSessions, l.PerClient = "web", most, limits
		})
	}
	f("    max_sessions: 0", 0, clients.Limits{})
	f("    max_sessions: 20000\n    per_client: {sessions: 100, rate: 50/s, burst: 100}", 20000,
		clients.Limits{Sessions: 100, Rate: 50, Burst: 100})
	f("    per_client: {burst: 3, rate: 30/m}", 0, clients.Limits{Rate: 0.5, Burst: 3}) // in whatever order
	f("    per_client: {rate: '9/h'}", 0, clients.Limits{Rate: 0.0025})
	f("    per_client: {rate: 1000000/s}", 0, clients.Limits{Rate: 1e6})
	f("    per_client: {sessions: 5, ipv6_prefix: 128}", 0, clients.Limits{Sessions: 5, IPv6Prefix: 128})
	f("    per_client: {sessions: 0, rate: 0/h}", 0, clients.Limits{})
}
