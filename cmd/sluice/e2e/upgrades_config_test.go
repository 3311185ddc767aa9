package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// upgradesConfig is read again all the time, in two forms: see upgradesRig.expand. The listeners and pools down to stuck have
// as many sessions at every moment.
const upgradesConfig = rigHead + `
listeners:
  tcp: {bind: "$tcp", pool: tcp}
  unix: {bind: "unix:$dir/unix.sock", pool: unix}
  told: {bind: "$told", pool: told, accept_proxy: {from: [127.0.0.0/8], timeout: 1h}}
  tls:
    bind: "$tls"
    protocol: tls
    timeouts: {peek: 1h}
    routes: [{sni: a.test, pool: tls-a}, {sni: b.test, pool: tls-b}]
  half: {bind: "$half", pool: half}
  bulk: {bind: "$bulk", pool: bulk}
  few: {bind: "$few", pool: few}
  stuck: {bind: "$stuck", pool: stuck}
  pg:
    bind: "$pg"
    protocol: postgres
    timeouts: {peek: 90s}
    routes: [{sni: db1.test, pool: pg-tls}, {database: [postgres], pool: pg}]
  $short: {bind: ["$t0", "unix:$dir/short.sock"], pool: short}
  short-told: {bind: "$t1", pool: short-told, accept_proxy: {from: [127.0.0.0/8], timeout: 90s}}
  short-tls: {bind: "$t2", protocol: tls, timeouts: {peek: 90s}, routes: [{sni: a.test, pool: short-tls}]}
pools:
  tcp: {check: {type: off}, backends: [{name: tcp, address: "$peers"}]}
  unix: {check: {type: off}, backends: [{name: unix, address: "unix:$dir/peers.sock"}]}
  told: {check: {type: off}, send_proxy: v2, backends: [{name: told, address: "$toldpeers"}]}
  tls-a: {check: {type: off}, backends: [{name: tls-a, address: "$tlspeers"}]}
  tls-b: {check: {type: off}, backends: [{name: tls-b, address: "$tlspeers"}]}
  half: {check: {type: off}, backends: [{name: half, address: "$peers"}]}
  bulk: {check: {type: off}, backends: [{name: bulk, address: "$peers"}]}
  few:
    check: {type: off}
    queue: {max: 100, timeout: 1h}
    backends: [{name: few, address: "$peers", max_conns: 20}]
  stuck:
    check: {type: off}
    timeouts: {connect: 1h, dead_peer: 1h}
    backends: [{name: stuck, address: "$far"}]
  pg: {check: {interval: 500ms, timeout: 30s}, timeouts: {connect: 90s}, backends: [{name: pg, address: "$server"}]}
  pg-tls: {check: {type: off}, timeouts: {connect: 90s}, backends: [{name: pg-tls, address: "$server"}]}
  short: {check: {interval: 300ms, timeout: 30s}, backends: [{name: short, address: "$peers"}$more]}
  short-told: {check: {type: off}, send_proxy: v2, backends: [{name: short-told, address: "$toldpeers"}]}
  short-tls: {check: {type: off}, backends: [{name: short-tls, address: "$tlspeers"}]}
`

// An upgradesPlan is how often there is an upgrade, and beneath how many sessions.
type upgradesPlan struct {
	upgrades             int
	tcp, unix, told, tls int // sessions that are sent back what they say
	hesitant             int // sessions of told, and of tls, of which half a header or hello has come
	bulk                 int
	halves               int // half of them closed by the client, the others by the server
	few, queued, stuck   int
	bench                int // clients of each pgbench
}

// upgradesPlanOf returns the plan of the variable SLUICE_UPGRADES: "full" is that of make upgrades.
func upgradesPlanOf(t *testing.T) upgradesPlan {
	plan := upgradesPlan{
		upgrades: 10, tcp: 1200, unix: 300, told: 250, tls: 250, hesitant: 5, bulk: 20, halves: 100, few: 20, queued: 50, stuck: 20,
		bench: 20,
	}
	switch how := os.Getenv("SLUICE_UPGRADES"); how {
	case "":
	case "full":
		plan.upgrades = 50
	default:
		t.Fatalf("SLUICE_UPGRADES=%s: want full, or nothing", how)
	}
	return plan
}

// An upgradesRig is a sluice beneath which processes follow each other, between clients and servers of all kinds.
type upgradesRig struct {
	*upgradable
	plan     upgradesPlan
	dir      string
	values   map[string]string // of $NAMES in the configuration
	peers    *upgradesPeers
	far      *network
	pg       *pgNames
	constant upgradesCount // while nothing ends
}

func startUpgrades(t *testing.T) *upgradesRig {
	t.Helper()
	dir := tempDir(t)
	r := &upgradesRig{
		plan: upgradesPlanOf(t), dir: dir, values: map[string]string{"dir": dir},
		upgradable: &upgradable{pidFile: filepath.Join(dir, "pid")},
	}
	for _, name := range []string{"tcp", "told", "tls", "half", "bulk", "few", "stuck", "pg", "t0", "t1", "t2"} {
		r.values[name] = fmt.Sprintf("127.0.0.1:%d", systest.ReservePort(t))
	}
	r.startPeers(t)
	r.startDatabase(t)
	r.run(t, dir, r.expand(0))
	return r
}

// expand puts values into the configuration. With every other one a listener has another name, and a pool has another backend.
func (r *upgradesRig) expand(turn int) string {
	short, more := "short", ""
	if turn%2 == 1 {
		short, more = "brief", fmt.Sprintf(`, {name: other, address: "%s"}`, r.values["peers"])
	}
	return os.Expand(upgradesConfig, func(name string) string {
		switch name {
		case "short":
			return short
		case "more":
			return more
		}
		return r.values[name]
	})
}

// changes reports whether a series comes and goes with the configuration.
func changes(series string) bool {
	for _, of := range []string{`listener="short"`, `listener="brief"`, `backend="other"`} {
		if strings.Contains(series, of) {
			return true
		}
	}
	return false
}

// startDatabase runs a Postgres that speaks TLS too.
func (r *upgradesRig) startDatabase(t *testing.T) {
	t.Helper()
	s := &pgNames{cluster: &cluster{t: t}, first: newMember(t, "db1"), authority: newAuthority(t)}
	output(t, s.first.program("initdb", "--pgdata", s.first.data, "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--no-locale", "--no-sync"))
	s.first.startAs(s.authority.issue("db1", firstName), "app1")
	r.pg, r.values["server"] = s, s.first.address()
	for _, database := range []string{"postgres", "app1"} {
		output(t, s.command(s.first.address(), pgLogin{database: database}, "pgbench", "-i", "-q", "-s", "2"))
	}
}
