package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// Everyday ends, of which an operator wants to hear nothing.

const probedConfig = `
listeners:
  tcp: {bind: "127.0.0.1:0", pool: node, accept_proxy: {from: [127.0.0.0/8], timeout: 5s}}
  tls: {bind: "127.0.0.1:0", protocol: tls, pool: node, accept_proxy: {from: [127.0.0.0/8], timeout: 5s}}
  postgres: {bind: "127.0.0.1:0", protocol: postgres, pool: node, accept_proxy: {from: [127.0.0.0/8], timeout: 5s}}
pools:
  node:
    check: {type: "off"}
    backends: [{name: node, address: "127.0.0.1:%d"}]
`

const proberConfig = `
frontend unused
	bind 127.0.0.1:%d
	default_backend sluice
backend sluice
	default-server check inter 100ms check-send-proxy send-proxy-v2
	server tcp %s
	server tls %s
	server postgres %s
`

// An HAProxy that checks sluice connects, sends its header and resets. (Without a header its kernel resets before the
// connection is made.)
func TestHAProxyProbes(t *testing.T) {
	t.Parallel()
	n := startNginx(t, "node", "")
	r := startSluice(t, fmt.Sprintf(probedConfig, n.port))
	port := systest.ReservePort(t)
	prober := startHAProxy(t, "prober", port, fmt.Sprintf(proberConfig, port, r.address("tcp"), r.address("tls"),
		r.address("postgres")))
	until(t, "there were probes of each listener", func() error {
		for _, l := range r.status().Listeners {
			if l.Accepts < 8 {
				return fmt.Errorf("%s has had %d", l.Name, l.Accepts)
			}
		}
		return nil
	})
	prober.stop()
	r.expectAllClean()
}

// Clients and servers of TLS go without waiting for each other's goodbye.
func TestTLSEndsClean(t *testing.T) {
	t.Parallel()
	r, nodes, c := startTLS(t, "off")
	address := r.address("tls")
	for range 15 {
		checkCurl(t, c, address, nodes[0].name, "off")
		checkCurl(t, c, address, nodes[1].name, "off")
		checkOpenSSL(t, c, address, "-tls1_3")
		checkOpenSSL(t, c, address, "-tls1_2")
	}
	r.expectNearlyClean()
}

// pgbench that logs in for each transaction, with TLS, through a listener that knows Postgres and one that does not.
func TestPgbenchLogsInClean(t *testing.T) {
	t.Parallel()
	s := startPgNames(t)
	r := startSluice(t, fmt.Sprintf(`
listeners:
  tcp: {bind: "127.0.0.1:0", pool: db}
  postgres: {bind: "127.0.0.1:0", protocol: postgres, pool: db}
pools:
  db:
    check: {type: "off"}
    backends: [{name: db, address: "127.0.0.1:%d"}]
`, s.first.port))
	script := tempDir(t) + "/one.sql"
	writeFile(t, script, "select 1;\n")
	for _, listener := range []string{"tcp", "postgres"} {
		cmd := pgCommand(t, r.address(listener), "pgbench", "-n", "-C", "-c", "2", "-t", "20", "-f", script)
		cmd.Env = append(cmd.Env, "PGSSLMODE=require")
		output(t, cmd)
	}
	r.expectNearlyClean()
}

// expectAllClean checks, when every session has ended, that none was a failure.
func (r *rig) expectAllClean() {
	r.t.Helper()
	r.checkCounters() // from here on nothing comes any more
	r.expectClean(r.status().accepts())
	r.expectFewWarnings(0)
}

// expectNearlyClean is expectAllClean for TLS, where both sides may close at the same moment: one with something unread,
// so that its kernel resets, and the other one's FIN comes too late to tell. That is rare.
func (r *rig) expectNearlyClean() {
	r.t.Helper()
	r.checkCounters()
	r.expectFewWarnings(int(r.status().accepts()) / 4)
}

// expectFewWarnings checks how many lines of the log are warnings.
func (r *rig) expectFewWarnings(most int) {
	r.t.Helper()
	var warnings []string
	for _, line := range readLines(r.t, r.log) {
		if strings.Contains(line, `"level":"WARN"`) {
			warnings = append(warnings, line)
		}
	}
	if len(warnings) > most {
		r.t.Errorf("%d warnings, want at most %d: %s", len(warnings), most, strings.Join(warnings, "\n"))
	}
}
