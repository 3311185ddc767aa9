package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pgNames is two Postgres servers that have nothing to do with each other, and are told apart by their names. Each has
// a certificate for its own name. The server db1.test has a database app1, the other one app2.
type pgNames struct {
	*cluster
	first, second *member
	authority     *authority // clients trust it
}

const (
	firstName, secondName = "db1.test", "db2.test"

	pgNameAccess = `
host all sluice 127.0.0.1/32 scram-sha-256
host all all    127.0.0.1/32 trust
`
)

// startPgNames makes one database cluster and a copy of it, which is quicker than two.
func startPgNames(t *testing.T) *pgNames {
	t.Helper()
	s := &pgNames{
		cluster: &cluster{t: t, password: filepath.Join(tempDir(t), "password")},
		first:   newMember(t, "db1"), second: newMember(t, "db2"),
		authority: newAuthority(t),
	}
	s.members = []*member{s.first, s.second}
	if err := os.WriteFile(s.password, []byte(checkPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, s.first.program("initdb", "--pgdata", s.first.data, "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--no-locale", "--no-sync"))
	output(t, s.first.program("cp", "--recursive", s.first.data+"/.", s.second.data))
	s.first.startAs(s.authority.issue("db1", firstName), "app1")
	s.second.startAs(s.authority.issue("db2", secondName), "app2")
	return s
}

// startAs runs a server with a certificate, a database and the users.
func (m *member) startAs(c certificate, database string) {
	m.t.Helper()
	m.write("server.crt", readFile(m.t, c.file))
	m.write("server.key", readFile(m.t, c.key))
	m.write("postgresql.conf", clusterSettings)
	m.write("pg_hba.conf", pgNameAccess)
	m.start()
	m.query("create role sluice login password '" + checkPassword + "'")
	m.query("create role bob login")
	m.query("create database " + database)
}

// pgNameConfig has a listener that refuses whom no route takes, one that does not, one that is told of its clients, and
// one that asks for no name in TLS.
const pgNameConfig = `
listeners:
  named: {bind: "127.0.0.1:0", protocol: postgres, routes: ROUTES}
  other: {bind: "127.0.0.1:0", protocol: postgres, routes: ROUTES, pool: db2}
  behind: {bind: "127.0.0.1:0", protocol: postgres, routes: ROUTES, accept_proxy: {from: [127.0.0.0/8]}}
  clear: {bind: "127.0.0.1:0", protocol: postgres, routes: [{database: [app1], pool: db1}, {user: [bob], pool: db2}]}
pools:
  db1:
    check: {type: postgres, role: any, user: sluice, password_file: PASSWORD, database: postgres, interval: 1s, timeout: 30s}
    backends: [{name: db1, address: "FIRST"}]
  db2:
    check: {type: postgres, role: primary, user: sluice, password_file: PASSWORD, database: postgres, interval: 1s, timeout: 30s,
            sslmode: verify-full, server_name: db2.test, ca_file: CA}
    backends: [{name: db2, address: "SECOND"}]
  direct:
    check: {type: off}
    backends: [{name: direct, address: "DIRECT"}]
  plain:
    queue: {max: 0}
    check: {type: off}
    backends: [{name: plain, address: "PLAIN"}]
  early:
    queue: {max: 0}
    check: {type: off}
    backends: [{name: early, address: "EARLY"}]
`

// pgNameRoutes is what most listeners know. The first route that fits is taken.
const pgNameRoutes = `[
    {sni: [db1.test], pool: db1},
    {sni: [plain.test], pool: plain},
    {sni: [early.test], pool: early},
    {sni: ["*.direct.test"], alpn: [postgresql], pool: direct},
    {sni: [db2.test, "*.db2.test"], pool: db2},
    {database: [app1], pool: db1},
    {database: [app2], user: [postgres, alice], pool: db2},
    {user: [bob], pool: db2}]`

// startSluice runs sluice in front of the servers, and of some that are strange.
func (s *pgNames) startSluice(direct *pgDirect) *rig {
	s.t.Helper()
	const early = "S\x15\x03\x03\x00\x02\x02\x28" // an alert in clear right after the "yes"
	r := startSluice(s.t, strings.NewReplacer("ROUTES", pgNameRoutes, "PASSWORD", s.password, "CA", s.authority.file,
		"FIRST", s.first.address(), "SECOND", s.second.address(), "DIRECT", direct.address(),
		"PLAIN", startPgAnswer(s.t, "N"), "EARLY", startPgAnswer(s.t, early)).Replace(pgNameConfig))
	r.untilUsable("db1", true)
	r.untilUsable("db2", true)
	return r
}

// A pgLogin is what a client of libpq says. The zero value of database and user is "postgres".
type pgLogin struct{ host, sslmode, database, user string }

func (l pgLogin) String() string {
	return fmt.Sprintf("host=%s sslmode=%s dbname=%s user=%s", l.host, l.sslmode, l.database, l.user)
}

// command returns a command of PostgreSQL that finds every host name at an address of sluice.
func (s *pgNames) command(address string, l pgLogin, name string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := pgCommand(s.t, address, name, args...)
	set := func(key, value string) {
		if value != "" {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	set("PGHOSTADDR", "127.0.0.1")
	set("PGSSLROOTCERT", s.authority.file)
	set("PGHOST", l.host)
	set("PGSSLMODE", l.sslmode)
	set("PGDATABASE", l.database)
	set("PGUSER", l.user)
	return cmd
}

// psql runs a statement, and returns what it gives, or what psql complains of.
func (s *pgNames) psql(address string, l pgLogin, statement string) (out string, err error) {
	s.t.Helper()
	text, err := s.command(address, l, "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement).Output()
	if err != nil {
		err = errors.New(strings.TrimSpace(complaint(err)))
	}
	return strings.TrimSpace(string(text)), err
}

// expectLogin checks that a client reaches a server, and whether they speak TLS.
func (s *pgNames) expectLogin(address string, l pgLogin, want *member, secure bool) {
	s.t.Helper()
	out, err := s.psql(address, l, "select inet_server_port(), ssl from pg_stat_ssl where pid = pg_backend_pid()")
	if text := fmt.Sprintf("%d|%.1s", want.port, fmt.Sprint(secure)); err != nil || out != text {
		s.t.Errorf("%v: %q, %v; want %q, which is %s", l, out, err, text, want.name)
	}
}

// expectRefused checks that a client is told why it reaches no server, and that none is bothered.
func (s *pgNames) expectRefused(address string, l pgLogin, want string) {
	s.t.Helper()
	if out, err := s.psql(address, l, "select 1"); err == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("%v: %q, %v; want a complaint of %q", l, out, err, want)
	}
}
