package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// databaseConfig is a pool of one database server. Nothing is read from a session before it is relayed, and nothing is
// put before it.
const databaseConfig = `
listeners:
  db: {bind: "127.0.0.1:0", pool: db}
pools:
  db:
    check: {interval: 500ms, timeout: 30s}
    backends: [{name: pg, address: "127.0.0.1:%d"}]
`

func startDatabase(t *testing.T) (*rig, *postgres) {
	t.Helper()
	p := startPostgres(t)
	return startSluice(t, fmt.Sprintf(databaseConfig, p.port)), p
}

// psql and pgbench work through sluice as they do without, and sluice counts the connections that the server has.
func TestDatabase(t *testing.T) {
	t.Parallel()
	r, p := startDatabase(t)
	// Steps, not subtests: a server takes seconds to make, and they share it.
	for _, step := range []func(*testing.T, *rig, *postgres, string){
		checkQuery, checkLargeResult, checkCopy, checkIdle, checkTerminated, checkPgbench, checkReconnecting,
	} {
		step(t, r, p, r.address("db"))
		r.checkCounters()
		expectClients(t, r, p, 0)
	}
}

func checkQuery(t *testing.T, _ *rig, p *postgres, address string) {
	for _, sslmode := range []string{"disable", "prefer"} {
		got := psql(t, address, sslmode, "select inet_server_addr(), inet_server_port()")
		if want := fmt.Sprintf("127.0.0.1|%d", p.port); got != want {
			t.Errorf("sslmode %s: the server is %q, want %q", sslmode, got, want)
		}
	}
	cmd := pgCommand(t, address, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "select 1/0")
	if _, err := cmd.Output(); err == nil || !strings.Contains(complaint(err), "division by zero") {
		t.Errorf("a query that fails: %v %s, want the server's error message", err, complaint(err))
	}
}

// largeQuery gives more than largeSize bytes.
const (
	largeQuery = "select g, repeat(md5(g::text), 32) from generate_series(1, 50000) g"
	largeSize  = 50_000_000
)

func checkLargeResult(t *testing.T, _ *rig, p *postgres, address string) {
	direct, through := psql(t, p.address(), "disable", largeQuery), psql(t, address, "disable", largeQuery)
	if len(direct) < largeSize {
		t.Errorf("the result has %d bytes, want at least %d", len(direct), largeSize)
	}
	if through != direct {
		t.Errorf("a result of %d bytes came through sluice as %d bytes, not the same", len(direct), len(through))
	}
}

// checkCopy takes a table out and puts it into another one, both through sluice.
func checkCopy(t *testing.T, r *rig, p *postgres, address string) {
	file := filepath.Join(tempDir(t), "table.csv")
	psql(t, p.address(), "disable", "create table source (id int, word text); create table sink (id int, word text)")
	psql(t, p.address(), "disable", "insert into source "+largeQuery)
	psql(t, address, "disable", fmt.Sprintf(`\copy source to '%s' csv`, file))
	before := r.status().backend(t, "pg").Sent
	psql(t, address, "disable", fmt.Sprintf(`\copy sink from '%s' csv`, file))
	if sent := r.status().backend(t, "pg").Sent - before; sent < largeSize {
		t.Errorf("sluice counted %d bytes sent for a COPY of at least %d", sent, largeSize)
	}
	checksum := func(table string) string {
		return psql(t, p.address(), "disable",
			"select count(*), md5(string_agg(md5(id || word), '' order by id)) from "+table)
	}
	if source, sink := checksum("source"), checksum("sink"); source != sink || !strings.HasPrefix(source, "50000|") {
		t.Errorf("the table that was taken out is %s, the one that was put in is %s", source, sink)
	}
}

// checkIdle holds sessions open that say nothing, in and outside a transaction, while their numbers are compared.
func checkIdle(t *testing.T, r *rig, p *postgres, address string) {
	var sessions []*psqlSession
	for i := range 10 {
		sessions = append(sessions, openPsql(t, address))
		if i%2 == 0 {
			sessions[i].ask("begin; select 1;", "1")
		}
		sessions[i].ask(fmt.Sprintf("select %d + 1;", i), strconv.Itoa(i+1))
	}
	expectClients(t, r, p, len(sessions))
	for i, s := range sessions {
		s.ask("select 'still here';", "still here")
		if i%3 == 0 {
			s.close()
		}
	}
	expectClients(t, r, p, 6)
	for _, s := range sessions {
		s.close()
	}
}

// checkTerminated cuts a session at the server: what the server says last arrives before the end.
func checkTerminated(t *testing.T, _ *rig, _ *postgres, address string) {
	cmd := pgCommand(t, address, "psql", "-X", "-v", "ON_ERROR_STOP=1",
		"-c", "select pg_terminate_backend(pg_backend_pid())")
	const last = "FATAL:  terminating connection due to administrator command"
	if _, err := cmd.Output(); err == nil || !strings.Contains(complaint(err), last) {
		t.Errorf("a session that is cut: %v %s, want %q", err, complaint(err), last)
	}
}

// expectClients waits until sluice and the server agree on a number of connections.
func expectClients(t *testing.T, r *rig, p *postgres, want int) {
	t.Helper()
	until(t, fmt.Sprintf("sluice and the server both have %d connections", want), func() error {
		active, count := r.status().backend(t, "pg").Active, p.count(t)
		if active != want || count != want {
			return fmt.Errorf("sluice has %d, the server has %d", active, count)
		}
		return nil
	})
}

func checkPgbench(t *testing.T, r *rig, p *postgres, address string) {
	output(t, pgCommand(t, address, "pgbench", "-i", "-q", "-s", "2"))
	bench := startPgbench(t, address, "-c", "16", "-T", "5")
	expectClients(t, r, p, 16)
	bench.finish(t)
	if n := psql(t, p.address(), "disable", "select count(*) from pgbench_history"); n != strconv.Itoa(bench.processed) {
		t.Errorf("pgbench processed %d transactions, the server has %s of them", bench.processed, n)
	}
}

// checkReconnecting opens a connection for each transaction.
func checkReconnecting(t *testing.T, r *rig, _ *postgres, address string) {
	before := r.status().accepts()
	bench := startPgbench(t, address, "-C", "-S", "-c", "4", "-t", "50")
	bench.finish(t)
	if bench.processed != 200 {
		t.Errorf("pgbench processed %d transactions, want 200", bench.processed)
	}
	if n := r.status().accepts() - before; n < 200 {
		t.Errorf("%d sessions were accepted, want one for each of 200 transactions", n)
	}
}

// A pgbench is a run of pgbench on tables that it has made before.
type pgbench struct {
	cmd       *exec.Cmd
	out       strings.Builder
	processed int // transactions
}

func startPgbench(t *testing.T, address string, args ...string) *pgbench {
	t.Helper()
	b := &pgbench{cmd: pgCommand(t, address, "pgbench", append([]string{"-n"}, args...)...)}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	benchProcessed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	benchFailed    = regexp.MustCompile(`number of failed transactions: 0 \(`)
)

// finish waits for the end of the run, in which no transaction may have failed.
func (b *pgbench) finish(t *testing.T) {
	t.Helper()
	if err := b.processedWell(b.cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d transactions", b.processed)
}

// processedWell reads what a run that has ended says, with err or without: no transaction may have failed.
func (b *pgbench) processedWell(err error) error {
	out := b.out.String()
	processed := benchProcessed.FindStringSubmatch(out)
	if err != nil || processed == nil || !benchFailed.MatchString(out) || strings.Contains(out, "error") {
		return fmt.Errorf("pgbench: %v\n%s", err, out)
	}
	b.processed, _ = strconv.Atoi(processed[1]) // they are digits
	return nil
}
