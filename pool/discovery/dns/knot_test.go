package dns

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A knot is a Knot DNS with one zone, internal. It knows nothing else, and asks nobody.
type knot struct {
	t   *testing.T
	dir string
	at  netip.AddrPort
}

func startKnot(t *testing.T, records ...string) *knot {
	t.Helper()
	k := &knot{t, t.TempDir(), realAddress(t)}
	conf := fmt.Sprintf(`
server:
  rundir: %[1]s
  listen: %[2]s@%[3]d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: %[1]s
control:
  listen: %[1]s/knot.sock
zone:
  - domain: internal
    storage: %[1]s
    file: zone
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
`, k.dir, k.at.Addr(), k.at.Port())
	at(t, filepath.Join(k.dir, "conf"), conf)
	k.write(records)
	run(t, "knotd", "-c", filepath.Join(k.dir, "conf"))
	return k
}

func (k *knot) write(records []string) {
	text := "internal. 7 SOA ns.internal. root.internal. 1 1 1 1 9\ninternal. 30 NS ns.internal.\nns.internal. 30 A 127.0.0.1\n"
	at(k.t, filepath.Join(k.dir, "zone"), text+strings.Join(records, "\n")+"\n")
}

// serve changes the zone.
func (k *knot) serve(records ...string) {
	k.t.Helper()
	k.write(records)
	k.control("zone-reload", "internal")
}

// lose lets the zone expire: the server says SERVFAIL.
func (k *knot) lose() {
	k.t.Helper()
	if err := os.Remove(filepath.Join(k.dir, "zone")); err != nil {
		k.t.Fatal(err)
	}
	k.control("-f", "zone-purge", "internal")
}

func (k *knot) control(args ...string) {
	k.t.Helper()
	args = append([]string{"-b", "-s", filepath.Join(k.dir, "knot.sock")}, args...)
	if out, err := exec.Command(program(k.t, "knotc"), args...).CombinedOutput(); err != nil {
		k.t.Fatalf("knotc %q: %v: %s", args, err, out)
	}
}

// TestKnot: a name of an authoritative server gets more addresses and fewer, goes away and comes back, with a TTL of 0 and
// of a day; the zone is lost for a while.
func TestKnot(t *testing.T) {
	k := startKnot(t, "app.internal. 0 A 10.0.0.1")
	app := observe(t, "app.internal", k.at)
	app.until("10.0.0.1:80")
	k.serve("app.internal. 86400 A 10.0.0.2", "app.internal. 86400 A 10.0.0.1", "app.internal. 0 AAAA fd00::1")
	app.until("10.0.0.1:80 10.0.0.2:80 [fd00::1]:80")
	k.serve("app.internal. 0 AAAA fd00::1")
	app.until("[fd00::1]:80")
	k.serve("app.internal. 0 TXT nothing") // NODATA
	app.until("")
	k.serve("app.internal. 30 CNAME web.internal.", "web.internal. 30 CNAME last.internal.", "last.internal. 30 A 10.0.0.3")
	app.until("10.0.0.3:80")
	k.lose()
	app.until("error: SERVFAIL")
	k.serve("other.internal. 30 A 10.0.0.4") // NXDOMAIN
	app.until("")
	k.serve("app.internal. 30 CNAME elsewhere.example.") // of which it knows nothing
	app.until("error: its alias elsewhere.example.: ask " + k.at.String() + ": REFUSED")
	var many, all []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("app.internal. 30 A 10.1.%d.%d", i/250, i%250))
		all = append(all, fmt.Sprintf("10.1.%d.%d:80", i/250, i%250))
	}
	k.serve(many...)
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
	k := startKnot(t, srv("0 0 5432 a.internal.")...)
	pg := observe(t, name, k.at)
	pg.until("10.0.0.1:5432 [fd00::1]:5432")
	k.serve(srv("10 60 5432 a.internal.", "10 40 5433 b.internal.", "20 1 5432 b.internal.")...)
	pg.until("10.0.0.1:5432/60 10.0.0.2:5432/1/backup 10.0.0.2:5433/40 [fd00::1]:5432/60")
	k.serve(srv("0 0 0 .")...)
	pg.until("")
	k.serve(srv("0 1 5432 b.internal.", "0 2 5432 gone.internal.")...)
	pg.until("10.0.0.2:5432/1")
	var many, all []string
	for i := range 150 {
		many = append(many, fmt.Sprintf("%s. 30 SRV 0 1 5432 host-%d.internal.", name, i), fmt.Sprintf("host-%d.internal. 30 A 10.0.1.%d", i, i))
		all = append(all, fmt.Sprintf("10.0.1.%d:5432/1", i))
	}
	k.serve(many...)
	pg.until(strings.Join(all, " "))
}

// TestKnotTTL: what a real server says of the time that an answer is good for.
func TestKnotTTL(t *testing.T) {
	k := startKnot(t, "day.internal. 86400 A 10.0.0.1", "day.internal. 40 AAAA fd00::1", "none.internal. 0 A 10.0.0.1")
	observe(t, "none.internal", k.at).until("10.0.0.1:80")
	for name, want := range map[string]time.Duration{"day.internal": 40 * time.Second, "none.internal": 0, "gone.internal": 7 * time.Second} {
		c := DefaultConfig(name, 80)
		c.Resolvers = []netip.AddrPort{k.at}
		a, err := New(c).(*source).look(t.Context(), nil)
		if err != nil || a.ttl != want {
			t.Errorf("%s: %s with TTL %v, want %v", name, text(a, err), a.ttl, want)
		}
	}
}
