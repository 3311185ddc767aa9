package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Clients of Postgres reach the server that they name: by the name that they ask for in TLS, which they check, or by
// database and user when they speak in clear.
func TestPgNames(t *testing.T) {
	t.Parallel()
	s := startPgNames(t)
	direct := startPgDirect(s)
	r := s.startSluice(direct)
	// Steps, not subtests: servers take seconds to make, and they share them.
	for _, step := range []func(*pgNames, *rig){
		(*pgNames).checkServerName, (*pgNames).checkStartup, (*pgNames).checkSSLModes, (*pgNames).checkNoRoute,
		(*pgNames).checkOtherPool, (*pgNames).checkGSS, (*pgNames).checkStuffed,
		(*pgNames).checkStrangeServers,
		(*pgNames).checkBench, (*pgNames).checkCancels, (*pgNames).checkGoCancels,
	} {
		step(s, r)
		r.checkCounters()
		if t.Failed() {
			return
		}
	}
	direct.check(r.address("named"))
	s.expectPolite()
	r.untilNamesLogged(map[string]string{firstName: "db1", secondName: "db2", "replica.db2.test": "db2",
		directName: "direct", "plain.test": "plain", "early.test": "early"})
}

func (s *pgNames) checkServerName(r *rig) {
	address := r.address("named")
	for _, sslmode := range []string{"require", "verify-ca", "verify-full"} {
		s.expectLogin(address, pgLogin{host: firstName, sslmode: sslmode}, s.first, true)
		s.expectLogin(address, pgLogin{host: secondName, sslmode: sslmode}, s.second, true)
	}
	s.expectLogin(address, pgLogin{host: "DB2.Test", sslmode: "verify-full"}, s.second, true)
	s.expectLogin(address, pgLogin{host: "replica.db2.test", sslmode: "require"}, s.second, true)
	// The certificate is the server's own.
	s.expectRefused(address, pgLogin{host: "replica.db2.test", sslmode: "verify-full"}, `"db2.test"`)
	output(s.t, s.command(address, pgLogin{host: firstName}, "pg_isready"))
	// What is inside of TLS is not looked at.
	s.expectLogin(address, pgLogin{host: firstName, sslmode: "verify-full", user: "bob"}, s.first, true)
	s.expectRefused(address, pgLogin{host: firstName, sslmode: "verify-full", database: "app2"},
		`database "app2" does not exist`)
}

func (s *pgNames) checkStartup(r *rig) {
	address := r.address("named")
	f := func(database, user string, want *member) {
		s.t.Helper()
		s.expectLogin(address, pgLogin{sslmode: "disable", database: database, user: user}, want, false)
	}
	f("app1", "postgres", s.first)
	f("app1", "bob", s.first)
	f("app2", "postgres", s.second)
	f("app2", "bob", s.second)
	f("postgres", "bob", s.second)
	s.expectRefused(address, pgLogin{sslmode: "disable", database: "app2", user: "alice"}, `role "alice" does not exist`)
	// Without a name in TLS, or before it, a name does not count.
	s.expectLogin(address, pgLogin{host: firstName, sslmode: "disable", database: "app2"}, s.second, false)
}

// checkSSLModes connects in the modes in which a client takes TLS or clear text, whichever it gets.
func (s *pgNames) checkSSLModes(r *rig) {
	address := r.address("named")
	s.expectLogin(address, pgLogin{host: secondName, sslmode: "prefer"}, s.second, true)
	// No route has the name, but one has the database.
	s.expectLogin(address, pgLogin{host: "db3.test", sslmode: "prefer", database: "app1"}, s.first, false)
	s.expectLogin(address, pgLogin{host: "127.0.0.1", sslmode: "prefer", database: "app1"}, s.first, false)
	s.expectLogin(address, pgLogin{host: secondName, sslmode: "allow", database: "app1"}, s.first, false)
	// No route has the database, but one has the name.
	s.expectLogin(address, pgLogin{host: secondName, sslmode: "allow"}, s.second, true)
	// No route could be found in TLS.
	address = r.address("clear")
	s.expectLogin(address, pgLogin{host: secondName, sslmode: "prefer", database: "app1"}, s.first, false)
	s.expectLogin(address, pgLogin{host: firstName, sslmode: "prefer", user: "bob"}, s.second, false)
	s.expectRefused(address, pgLogin{host: firstName, sslmode: "require", user: "bob"}, "server does not support SSL")
}

// noRoute is the sessions at a listener that no route has taken.
func noRoute(listener string) string {
	return fmt.Sprintf("sluice_sessions_ended_total{listener=%q,pool=\"\",reason=\"no_route\"}", listener)
}

func (s *pgNames) checkNoRoute(r *rig) {
	address, before := r.address("named"), r.metrics()[noRoute("named")]
	connects := r.connects()
	for _, sslmode := range []string{"require", "verify-full"} {
		s.expectRefused(address, pgLogin{host: "db3.test", sslmode: sslmode}, "unrecognized name")
	}
	s.expectRefused(address, pgLogin{host: "127.0.0.1", sslmode: "require"}, "unrecognized name")
	s.expectRefused(address, pgLogin{host: "a.b.db2.test", sslmode: "require"}, "unrecognized name")
	const told = `FATAL:  no route for database "app3" and user "postgres"`
	s.expectRefused(address, pgLogin{host: firstName, sslmode: "disable", database: "app3"}, told)
	s.expectRefused(address, pgLogin{sslmode: "prefer", database: "app3"}, told) // asks for TLS first
	_, err := pgconn.Connect(s.t.Context(), clientConninfo(address, "disable"))
	if e := (*pgconn.PgError)(nil); !errors.As(err, &e) || e.Code != "3D000" || e.Severity != "FATAL" {
		s.t.Errorf("a start-up that has no route ends with %v, want FATAL 3D000", err)
	}
	const refused = 4 + 1 + 2 + 1
	r.checkCounters()
	r.expectMetric(noRoute("named"), uint64(before)+refused)
	for _, line := range r.sessions() {
		if line.Reason == "no_route" && (line.Pool != "" || line.Backend != "" || line.Level != "WARN") {
			s.t.Errorf("a session without a route is logged with %+v", line)
		}
	}
	s.untilNameLogged(r, "db3.test")
	s.untilNameLogged(r, "a.b.db2.test")
	if got := r.connects(); got != connects {
		s.t.Errorf("%d connects were made for sessions without a route", got-connects)
	}
}

// untilNameLogged asks for a name that no route has until a session is logged with it. Of many refusals in a second
// only some have a line; that none is forgotten is checked when sluice has ended, see checkRefused.
func (s *pgNames) untilNameLogged(r *rig, name string) {
	s.t.Helper()
	until(s.t, "a session without a route is logged with the name "+name, func() error {
		for _, line := range r.sessions() {
			if line.Reason == "no_route" && line.ServerName == name {
				return nil
			}
		}
		s.expectRefused(r.address("named"), pgLogin{host: name, sslmode: "require"}, "unrecognized name")
		return errors.New("none is")
	})
}

// untilNamesLogged waits until sessions with each server name are logged, and checks that they are with its pool.
func (r *rig) untilNamesLogged(pools map[string]string) {
	r.t.Helper()
	until(r.t, "sessions are logged with their names", func() error {
		seen := make(map[string]bool)
		for _, line := range r.sessions() {
			if want, ok := pools[line.ServerName]; ok && line.Reason != "no_route" {
				seen[line.ServerName] = true
				if line.Pool != want {
					r.t.Fatalf("a session for %s is logged with %+v", line.ServerName, line)
				}
			}
		}
		if len(seen) != len(pools) {
			return fmt.Errorf("only %v are, want %v", seen, pools)
		}
		return nil
	})
}

// connects is how often sluice has connected to the two servers.
func (r *rig) connects() uint64 {
	r.t.Helper()
	s := r.status()
	return s.backend(r.t, "db1").Connects + s.backend(r.t, "db2").Connects
}

// checkOtherPool takes the listener that has a pool for whom no route takes.
func (s *pgNames) checkOtherPool(r *rig) {
	address := r.address("other")
	s.expectLogin(address, pgLogin{host: firstName, sslmode: "verify-full"}, s.first, true)
	s.expectLogin(address, pgLogin{host: "db3.test", sslmode: "verify-ca"}, s.second, true)
	s.expectLogin(address, pgLogin{host: "127.0.0.1", sslmode: "require"}, s.second, true)
	s.expectLogin(address, pgLogin{sslmode: "disable", database: "app1"}, s.first, false)
	s.expectLogin(address, pgLogin{sslmode: "disable"}, s.second, false)
	s.expectRefused(address, pgLogin{sslmode: "disable", database: "app3"}, `database "app3" does not exist`)
	if r.metrics()[noRoute("other")] != 0 {
		s.t.Error("a listener with a pool has refused a session for want of a route")
	}
}

// checkBench has pgbench work at both servers at once: with TLS all the time, and with a connection, encrypted or not,
// for each transaction.
func (s *pgNames) checkBench(r *rig) {
	address := r.address("named")
	one := pgLogin{host: firstName, sslmode: "verify-full"}
	two := pgLogin{host: secondName, sslmode: "verify-full"}
	clear := pgLogin{sslmode: "disable", database: "app1"}
	for _, l := range []pgLogin{one, two, clear} {
		output(s.t, s.command(address, l, "pgbench", "-i", "-q"))
	}
	accepted := r.status().accepts()
	runs := []*pgbench{
		s.startBench(address, one, "-c", "6", "-T", "2"),
		s.startBench(address, two, "-C", "-c", "4", "-t", "25"),
		s.startBench(address, clear, "-C", "-S", "-c", "4", "-t", "25"),
	}
	for _, run := range runs {
		run.finish(s.t)
	}
	if n := r.status().accepts() - accepted; n < 6+100+100 {
		s.t.Errorf("%d sessions were accepted, want one for each client, or for each transaction with -C", n)
	}
	for i, m := range s.members {
		if n := m.query("select count(*) from pgbench_history"); n != strconv.Itoa(runs[i].processed) {
			s.t.Errorf("pgbench processed %d transactions, %s has %s of them", runs[i].processed, m.name, n)
		}
	}
}

func (s *pgNames) startBench(address string, l pgLogin, args ...string) *pgbench {
	s.t.Helper()
	b := &pgbench{cmd: s.command(address, l, "pgbench", append([]string{"-n"}, args...)...)}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// connect connects a program in Go, which says the name of the host in TLS as libpq does.
func (s *pgNames) connect(address string, l pgLogin) *pgconn.PgConn {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(address) // it is one of sluice's
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=postgres dbname=%s sslmode=%s sslrootcert='%s'",
		l.host, port, l.database, l.sslmode, s.authority.file))
	if err != nil {
		s.t.Fatal(err)
	}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	ctx, cancel := context.WithTimeout(s.t.Context(), patient)
	defer cancel()
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close(context.Background()) })
	return c
}
