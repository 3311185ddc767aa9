package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sluice/sysutil/systest"
)

// A postgres is a server with an empty database "postgres", owned by the user "postgres", who needs no password.
type postgres struct {
	*process
	port int
}

// startPostgres makes a database cluster and serves it.
func startPostgres(t *testing.T) *postgres {
	t.Helper()
	dir, owner := tempDir(t), systest.Unprivileged(t)
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if owner != nil {
		if err := os.Chown(data, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	as := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Dir = dir // one that the user may enter
		dieWithTest(cmd, syscall.SIGQUIT)
		cmd.SysProcAttr.Credential = owner
		return cmd
	}
	output(t, as(exec.Command(program(t, "initdb"), "--pgdata", data, "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--no-locale", "--no-sync")))
	p := &postgres{port: systest.ReservePort(t)}
	p.process = start(t, "postgres", dir, as(exec.Command(program(t, "postgres"), "-D", data, "-p", strconv.Itoa(p.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=60",
		"-c", "fsync=off", "-c", "autovacuum=off", "-c", "shared_buffers=32MB", "-c", "log_error_verbosity=terse")))
	p.ending = syscall.SIGINT // cuts its sessions; SIGTERM would wait for them
	p.untilListening(p.port)
	ready := program(t, "pg_isready")
	until(t, "postgres is ready", func() error {
		return exec.Command(ready, "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "postgres", "-d", "postgres").Run()
	})
	return p
}

// address is where the server itself listens.
func (p *postgres) address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// count returns how many clients the server has, not counting who asks.
func (p *postgres) count(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(psql(t, p.address(), "disable",
		"select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// pgCommand returns a command that connects to an address as the database's user.
func pgCommand(t *testing.T, address, name string, args ...string) *exec.Cmd {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	cmd := command(t, program(t, name), args...)
	cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER=postgres", "PGDATABASE=postgres",
		"PGCONNECT_TIMEOUT=10", "PGSERVICEFILE=/dev/null", "PGPASSFILE=/dev/null", "PSQLRC=/dev/null")
	return cmd
}

// psql runs one SQL statement, or one of psql's own commands, and returns the rows without a trailing newline. sslmode
// "prefer" asks the server for TLS first, which it has not.
func psql(t *testing.T, address, sslmode, statement string) string {
	t.Helper()
	cmd := pgCommand(t, address, "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement)
	cmd.Env = append(cmd.Env, "PGSSLMODE="+sslmode)
	return strings.TrimSuffix(output(t, cmd), "\n")
}
