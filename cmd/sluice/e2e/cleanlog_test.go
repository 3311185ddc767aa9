package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	probing = 20 * time.Second // how long logs are watched, at least
	// enoughProbes is how many requests a server has seen by then, at least.
	enoughProbes = 60
)

// A probed is a pool of one nginx that is checked in one way.
type probed struct {
	node, header, check string // the header is what send_proxy says
}

// everyProbe is each kind of check that nginx can answer, with and without a PROXY header, at a node that wants it so.
var everyProbe = []probed{
	{"plain", "off", "type: tcp"},
	{"plain", "off", "type: http"},
	{"plain", "off", "type: http, method: HEAD, status: 200"},
	{"plain", "off", `type: expect, steps: [{send: "GET / HTTP/1.0\r\n\r\n", expect_regex: "^HTTP/1.1 200 "}]`},
	{"tls", "off", "type: tcp"},
	{"tls", "off", "type: tls"},
	{"tls", "off", "type: tls, server_name: shop.example.com, ca_file: CA"},
	{"tls", "off", "type: http, tls: true, server_name: shop.example.com, ca_file: CA, body: tls"},
	{"proxy", "v1", "type: tcp"},
	{"proxy", "v2", "type: tcp"},
	{"proxy", "v1", "type: http"},
	{"proxy", "v2", "type: http"},
	{"proxy", "v2", `type: expect, steps: [{send: "GET / HTTP/1.0\r\n\r\n", expect_regex: "^HTTP/1.1 200 "}]`},
	{"tlsproxy", "v1", "type: tls"},
	{"tlsproxy", "v2", "type: tls"},
	{"tlsproxy", "v2", "type: tcp"},
	{"tlsproxy", "v2", "type: http, tls: true"},
}

// postgresProbes are pools that ask the servers of a cluster in the same way, and so share their probes, and one that
// does no more than connect. A probe that takes longer than the interval is joined by another one, on a connection of its
// own, as it should be; a machine that runs all the tests at once is not slower than this interval.
const postgresProbes = `
  primary:
    check: {type: postgres, role: primary, fast_interval: 5s, CHECK}
    backends: [MEMBERS]
  replicas:
    check: {type: postgres, role: prefer_replica, max_lag: 10s, fast_interval: 5s, CHECK}
    backends: [MEMBERS]
  tcp:
    check: {type: tcp, interval: 250ms, timeout: 30s}
    backends: [MEMBERS]
`

const probedPool = `
  %[1]s:
    send_proxy: %[2]s
    check: {interval: 250ms, timeout: 30s, %[3]s}
    backends: [{name: %[1]s, address: "127.0.0.1:%[4]d"}]
`

// Nobody finds a trace of probes in the logs of servers that are asked again and again.
func TestCleanLogs(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t, "shop.example.com")
	nodes := map[string]*node{
		"plain":    startNginx(t, "plain", ""),
		"tls":      startNginx(t, "tls", "ssl", cert.nginx()),
		"proxy":    startNginx(t, "proxy", "proxy_protocol"),
		"tlsproxy": startNginx(t, "tlsproxy", "ssl proxy_protocol", cert.nginx()),
	}
	c := startCluster(t)
	before := make(map[*member]int)
	for _, m := range c.members {
		before[m] = len(readLines(t, m.log))
	}
	r := startSluice(t, strings.ReplaceAll(c.config(cleanConfig(nodes, cert)), " interval: 1s", " interval: 5s"))
	time.Sleep(probing) // nothing is waited for: the time is what is tested
	for _, n := range nodes {
		n.untilAsked(enoughProbes)
	}
	for _, p := range r.status().Pools {
		for _, b := range p.Backends {
			if !b.Up && p.Name != "primary" && p.Name != "replicas" {
				t.Errorf("%s of pool %s is down", b.Name, p.Name)
			}
		}
	}
	if got := r.usable("primary"); len(got) != 1 || got[0] != "pg1" {
		t.Errorf("the primary is %v", got)
	}
	r.checkCounters()
	r.signal(syscall.SIGTERM)
	if err := r.wait(); err != nil {
		t.Errorf("sluice ended with %v", err)
	}
	for _, n := range nodes {
		n.expectOnlyProbes()
	}
	for _, m := range c.members {
		m.expectOneProbe(before[m])
	}
}

// cleanConfig has a pool for every probe.
func cleanConfig(nodes map[string]*node, cert certificate) string {
	listeners, pools := "listeners:\n", "pools:"+strings.TrimSuffix(postgresProbes, "\n")+"\n"
	listen := func(pool string) { listeners += fmt.Sprintf("  %s: {bind: \"127.0.0.1:0\", pool: %[1]s}\n", pool) }
	for _, pool := range []string{"primary", "replicas", "tcp"} {
		listen(pool)
	}
	for i, p := range everyProbe {
		name := fmt.Sprintf("%s%d", p.node, i)
		listen(name)
		check := strings.Replace(p.check, "CA", fmt.Sprintf("%q", cert.file), 1)
		pools += fmt.Sprintf(probedPool, name, p.header, check, nodes[p.node].port)
	}
	return listeners + pools
}

// untilAsked waits until a node has answered so many requests.
func (n *node) untilAsked(want int) {
	n.t.Helper()
	until(n.t, n.name+" is asked", func() error {
		if asked := len(readLines(n.t, filepath.Join(n.dir, "access.log"))); asked < want {
			return fmt.Errorf("it was, %d times", asked)
		}
		return nil
	})
}

// expectOnlyProbes checks that a node had nothing to complain of.
func (n *node) expectOnlyProbes() {
	n.t.Helper()
	for _, line := range readLines(n.t, filepath.Join(n.dir, "error.log")) {
		if !strings.Contains(line, " [info] ") && !strings.Contains(line, " [notice] ") {
			n.t.Errorf("%s complains: %s", n.name, line)
		}
	}
}

// politeLine is what a server says of a connection that began and ended as it should, and of itself. What it says of a
// client has the client's address.
var politeLine = regexp.MustCompile(
	`client= LOG:  |LOG:  (connection received|connection authenticated|connection authorized|disconnection): `)

// heldUp is what a server says of a plain check in which this machine stood still between the connect and the reset: the
// connection was made then. mostHeldUp is how many of some 80 checks that may be.
const (
	heldUp     = "user=[unknown] client="
	mostHeldUp = 20
)

// expectOneProbe checks what a server has said, from a line on, while it was asked over one connection all the time.
func (m *member) expectOneProbe(from int) {
	m.t.Helper()
	var logins, goodbyes, cut int
	var impolite []string
	until(m.t, "all connections have ended at "+m.name, func() error {
		logins, goodbyes, cut, impolite = 0, 0, 0, nil
		for _, line := range readLines(m.t, m.log)[from:] {
			switch {
			case strings.Contains(line, heldUp) && strings.Contains(line, "Connection reset by peer"):
				cut++
			case !politeLine.MatchString(line):
				impolite = append(impolite, line)
			case strings.Contains(line, "connection authorized: user=sluice "):
				logins++
			case strings.Contains(line, "disconnection: ") && strings.Contains(line, " user=sluice "):
				goodbyes++
			}
		}
		if goodbyes != logins {
			return fmt.Errorf("%d of %d have", goodbyes, logins)
		}
		return nil
	})
	if logins != 1 {
		m.t.Errorf("sluice has logged in %d times at %s, want once", logins, m.name)
	}
	if cut > mostHeldUp {
		m.t.Errorf("%s complains %d times of connections that were reset", m.name, cut)
	}
	for _, line := range impolite {
		m.t.Errorf("%s complains: %s", m.name, line)
	}
}
