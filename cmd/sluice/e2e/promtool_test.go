package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

const promConfig = `
listeners:
  tls: {bind: "127.0.0.1:0", protocol: tls, pool: tls, per_client: {sessions: 100}}
pools:
  tls:
    balance: first
    check: {type: tls, interval: 500ms, timeout: 30s}
    backends:
      - {name: gone, address: "127.0.0.1:%d"}
      - {name: node, address: "127.0.0.1:%d", max_conns: 50}
`

// promtool has nothing to say of the metrics of a sluice that has had sessions, checks and failures.
func TestPromtool(t *testing.T) {
	t.Parallel()
	c := newCertificate(t, "shop.example.com")
	n := startNginx(t, "node", "ssl", c.nginx())
	r := startSluice(t, fmt.Sprintf(promConfig, systest.ReservePort(t), n.port))
	until(t, "the servers have been checked", func() error {
		_, text := r.get("/metrics")
		if !strings.Contains(text, "sluice_backend_certificate_end_timestamp_seconds{") {
			return errors.New("no certificate is known")
		}
		return nil
	})
	r.untilUsable("gone", false)
	for range 3 {
		output(t, command(t, program(t, "curl"), secureCurl(c, r.address("tls"), "/")...))
	}
	r.checkCounters()
	_, text := r.get("/metrics")
	check := command(t, program(t, "promtool"), "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if said := output(t, check); said != "" {
		t.Errorf("promtool says:\n%s", said)
	}
	for _, want := range []string{
		`sluice_backend_state\{pool="tls",backend="node",state="up"\} 1`,
		`sluice_backend_state\{pool="tls",backend="gone",state="(down|ejected)"\} 1`,
		`sluice_backend_certificate_end_timestamp_seconds\{pool="tls",backend="node"\} 1\d{9}`,
		`sluice_backend_first_byte_seconds_count\{pool="tls",backend="node"\} 3`,
		`sluice_backend_session_duration_seconds_count\{pool="tls",backend="node"\} 3`,
		`sluice_backend_max_connections\{pool="tls",backend="node"\} 50`,
		`sluice_pool_usable\{pool="tls"\} 1`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(text) {
			t.Errorf("no metric %s", want)
		}
	}
}
