package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/pool/discovery/dns/dnstest"
)

// TestKnot: a name of an authoritative server gets more addresses and fewer, goes away and comes back, with a TTL of 0 and
// of a day; the zone is lost for a while.
func TestKnot(t *testing.T) {
	k := dnstest.StartKnot(t, dnstest.Address(t), "app.internal. 0 A 10.0.0.1")
	app := observe(t, "app.internal", k.At)
	app.until("10.0.0.1:80")
	k.Serve("app.internal. 86400 A 10.0.0.2", "app.internal. 86400 A 10.0.0.1", "app.internal. 0 AAAA fd00::1")
	app.until("10.0.0.1:80 10.0.0.2:80 [fd00::1]:80")
	k.Serve("app.internal. 0 AAAA fd00::1")
	app.until("[fd00::1]:80")
	k.Serve("app.internal. 0 TXT nothing") // NODATA
	app.until("")
	k.Serve("app.internal. 30 CNAME web.internal.", "web.internal. 30 CNAME last.internal.", "last.internal. 30 A 10.0.0.3")
	app.until("10.0.0.3:80")
	k.Lose()
	app.until("error: SERVFAIL")
	k.Serve("other.internal. 30 A 10.0.0.4") // NXDOMAIN
	app.until("")
	k.Serve("app.internal. 30 CNAME elsewhere.example.") // of which it knows nothing
	app.until("error: its alias elsewhere.example.: ask " + k.At.String() + ": REFUSED")
	var many, all []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("app.internal. 30 A 10.1.%d.%d", i/250, i%250))
		all = append(all, fmt.Sprintf("10.1.%d.%d:80", i/250, i%250))
	}
	k.Serve(many...)
	app.until(strings.Join(all, " "))
}

// TestKnotServices: SRV of an authoritative server, which sends addresses along as far as there is room.
func TestKnotServices(t *testing.T) {
	const name = "_pg._tcp.internal"
	hosts := []string{"a.internal. 30 A 10.0.0.1", "a.internal. 30 AAAA fd00::1", "b.internal. 30 A 10.0.0.2"}
	srv := func(records ...string) (all []string) {
		for _, r := range records {
			all = append(all, name+". 30 SRV "+r)
		}
		return append(all, hosts...)
	}
	k := dnstest.StartKnot(t, dnstest.Address(t), srv("0 0 5432 a.internal.")...)
	pg := observe(t, name, k.At)
	pg.until("10.0.0.1:5432 [fd00::1]:5432")
	k.Serve(srv("10 60 5432 a.internal.", "10 40 5433 b.internal.", "20 1 5432 b.internal.")...)
	pg.until("10.0.0.1:5432/60 10.0.0.2:5432/1/backup 10.0.0.2:5433/40 [fd00::1]:5432/60")
	k.Serve(srv("0 0 0 .")...)
	pg.until("")
	k.Serve(srv("0 1 5432 b.internal.", "0 2 5432 gone.internal.")...)
	pg.until("10.0.0.2:5432/1")
	var many, all []string
	for i := range 150 {
		many = append(many, fmt.Sprintf("%s. 30 SRV 0 1 5432 host-%d.internal.", name, i), fmt.Sprintf("host-%d.internal. 30 A 10.0.1.%d", i, i))
		all = append(all, fmt.Sprintf("10.0.1.%d:5432/1", i))
	}
	k.Serve(many...)
	pg.until(strings.Join(all, " "))
}

// TestKnotTTL: what a real server says of the time that an answer is good for.
func TestKnotTTL(t *testing.T) {
	k := dnstest.StartKnot(t, dnstest.Address(t), "day.internal. 86400 A 10.0.0.1", "day.internal. 40 AAAA fd00::1", "none.internal. 0 A 10.0.0.1")
	observe(t, "none.internal", k.At).until("10.0.0.1:80")
	for name, want := range map[string]time.Duration{"day.internal": 40 * time.Second, "none.internal": 0, "gone.internal": 7 * time.Second} {
		c := DefaultConfig(name, 80)
		c.Resolvers = []netip.AddrPort{k.At}
		a, err := New(c).(*source).look(t.Context(), nil)
		if err != nil || a.ttl != want {
			t.Errorf("%s: %s with TTL %v, want %v", name, text(a, err), a.ttl, want)
		}
	}
}
