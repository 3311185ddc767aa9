package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// refusalConfig is one server, for which nobody waits.
const refusalConfig = `
listeners:
  db: {bind: "127.0.0.1:0", protocol: postgres, pool: db}
pools:
  db:
    queue: {max: 0}
    check: {interval: 200ms, fast_interval: 100ms, fall: 1, timeout: 30s}
    backends: [{name: pg, address: "127.0.0.1:%d"}]
`

// What psql says when there is no server. Where servers do not encrypt, whoever would go on in clear is told why; where
// they do, the names of user and database do not go on the network in clear for that.
func TestPsqlIsToldWhy(t *testing.T) {
	const (
		why     = `no server of pool "db" can take this session`
		unknown = "server sent an error response during SSL exchange"
		none    = "server does not support SSL, but SSL was required"
	)
	f := func(name string, port int, stop func(), want map[string]string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := startSluice(t, fmt.Sprintf(refusalConfig, port))
			r.untilUsable("pg", true)
			psql(t, r.address("db"), "prefer", "select 1") // from which sluice knows what the server says
			stop()
			r.untilUsable("pg", false)
			for sslmode, message := range want {
				cmd := pgCommand(t, r.address("db"), "psql", "-X", "-c", "select 1")
				cmd.Env = append(cmd.Env, "PGSSLMODE="+sslmode)
				if _, err := cmd.Output(); err == nil || !strings.Contains(complaint(err), message) {
					t.Errorf("sslmode %s: psql says %q, want %q", sslmode, complaint(err), message)
				}
			}
			for _, s := range r.sessions() {
				if s.Reason != "no_backend" && s.Backend == "" {
					t.Errorf("a session without a server ended with %s", s.Reason)
				}
			}
		})
	}
	clear := startPostgres(t)
	f("without TLS", clear.port, clear.stop, map[string]string{
		"disable": why, "allow": why, "prefer": why, "require": none, "verify-ca": none,
	})
	encrypting := newMember(t, "pg")
	initPrimary(t, encrypting)
	encrypting.start()
	f("with TLS", encrypting.port, encrypting.stop, map[string]string{
		"disable": why, "allow": why, "prefer": unknown, "require": unknown,
	})
}
