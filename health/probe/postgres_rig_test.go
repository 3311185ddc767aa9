package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// postgresPrograms is where Debian has what no user is to run by name.
const postgresPrograms = "/usr/lib/postgresql/15/bin/"

// A cluster is a running Postgres server. Its user "postgres" needs no password. The user "sluice" has one (see
// password), and nothing but the right to log in; so have "tlsonly" and "clearonly", who may only come that way, and
// "inclear" and "hashed", who are asked for their password in other ways.
type cluster struct {
	t       *testing.T
	dir     string // holds data, log, and the socket
	port    int
	trusted string // the file to trust for the server's certificate, which is for 127.0.0.1 and db.test
	cmd     *exec.Cmd
	ended   chan struct{}
}

const password = `s3cret '"\ `

const hba = `local all all trust
host all,replication postgres 127.0.0.1/32 trust
hostssl all tlsonly 127.0.0.1/32 scram-sha-256
hostnossl all clearonly 127.0.0.1/32 scram-sha-256
host all inclear 127.0.0.1/32 password
host all hashed 127.0.0.1/32 md5
host all sluice,rotated 127.0.0.1/32 scram-sha-256
`

// newCluster makes and starts a primary.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := prepareCluster(t)
	c.run("initdb", "--pgdata", c.data(), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8",
		"--no-locale", "--no-sync")
	certificate, trusted := authority(t, []string{"db.test"}, "127.0.0.1")
	certificatePEM, keyPEM := pemOf(t, certificate)
	c.write("server.crt", certificatePEM)
	c.write("server.key", keyPEM)
	c.write("pg_hba.conf", []byte(hba))
	c.trusted = trusted
	c.start()
	literal := "'" + strings.ReplaceAll(password, "'", "''") + "'"
	for _, role := range []string{"sluice", "tlsonly", "clearonly", "inclear"} {
		c.exec("CREATE ROLE " + role + " LOGIN PASSWORD " + literal)
	}
	c.exec("SET password_encryption = md5; CREATE ROLE hashed LOGIN PASSWORD " + literal)
	c.exec("CREATE TABLE written (n int)")
	return c
}

// newReplica makes and starts a streaming replica of c.
func (c *cluster) newReplica() *cluster {
	c.t.Helper()
	r := prepareCluster(c.t)
	r.trusted = c.trusted
	r.run("pg_basebackup", "--pgdata", r.data(), "--write-recovery-conf", "--checkpoint", "fast", "--no-sync",
		"--dbname", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", c.port))
	r.start()
	return r
}

func prepareCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice-probe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &cluster{t: t, dir: dir}
	if owner := systest.Unprivileged(t); owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	c.port = systest.ReservePort(t)
	return c
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// write puts a file into the data folder, readable by its owner only, as Postgres wants a key to be.
func (c *cluster) write(name string, content []byte) {
	c.t.Helper()
	path := filepath.Join(c.data(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if owner := systest.Unprivileged(c.t); owner != nil {
		if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// command returns a command of Postgres that ends when the test is killed.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(postgresPrograms+name, args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: systest.Unprivileged(c.t), Pdeathsig: syscall.SIGQUIT}
	return cmd
}

func (c *cluster) run(name string, args ...string) {
	c.t.Helper()
	if out, err := c.command(name, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// start runs the server until the test is over.
func (c *cluster) start() {
	c.t.Helper()
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() // the server has its own
	c.cmd = c.command("postgres", "-D", c.data(), "-p", strconv.Itoa(c.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories="+c.dir, "-c", "ssl=on", "-c", "fsync=off", "-c", "autovacuum=off",
		"-c", "shared_buffers=16MB", "-c", "wal_retrieve_retry_interval=100ms")
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended, cmd := make(chan struct{}), c.cmd
	c.ended = ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	c.t.Cleanup(func() {
		c.stop(syscall.SIGINT)
		if c.t.Failed() {
			c.t.Logf("log of the server on port %d:\n%s", c.port, c.log())
		}
	})
	until(c.t, "Postgres takes logins", func() bool {
		conn, err := c.connect()
		if err != nil {
			return false
		}
		return conn.Close(context.Background()) == nil
	})
}

// stop ends the server; SIGINT cuts its sessions, SIGQUIT is as bad as a crash.
func (c *cluster) stop(s syscall.Signal) {
	select {
	case <-c.ended:
		return
	default:
	}
	_ = c.cmd.Process.Signal(s)
	select {
	case <-c.ended:
	case <-time.After(patient):
		c.t.Errorf("the server on port %d has not ended", c.port)
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// signalAll sends s to the server and all its children.
func (c *cluster) signalAll(s syscall.Signal) {
	c.t.Helper()
	parent := c.cmd.Process.Pid
	pids := []int{parent}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", parent))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, word := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		err := syscall.Kill(pid, s)
		if err == syscall.ESRCH && pid != parent { // a child that was about to end, such as that of a connection
			continue
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) logPath() string { return filepath.Join(c.dir, "log") }

func (c *cluster) log() string {
	c.t.Helper()
	text, err := os.ReadFile(c.logPath())
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// connect logs in as the superuser.
func (c *cluster) connect() (*pgconn.PgConn, error) {
	config, err := neutralConfig()
	if err != nil {
		return nil, err
	}
	config.User, config.Database = "postgres", "postgres"
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", c.address().TCP.String())
	}
	config.RuntimeParams["application_name"] = "test"
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	return pgconn.ConnectConfig(ctx, config)
}

// exec runs SQL as the superuser and returns the first value of its last result.
func (c *cluster) exec(sql string) string {
	c.t.Helper()
	conn, err := c.connect()
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	ctx, cancel := context.WithTimeout(c.t.Context(), patient)
	defer cancel()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	if last := results[len(results)-1]; len(last.Rows) > 0 {
		return string(last.Rows[0][0])
	}
	return ""
}

// sessions returns how many sessions the probers have.
func (c *cluster) sessions() int {
	c.t.Helper()
	n, err := strconv.Atoi(c.exec("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice'"))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *cluster) address() pool.Address {
	return pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(c.port))}
}

func (c *cluster) socket() pool.Address {
	return pool.Address{Unix: filepath.Join(c.dir, ".s.PGSQL."+strconv.Itoa(c.port))}
}

// quiet runs f and checks that the server logs nothing meanwhile.
func (c *cluster) quiet(f func()) {
	c.t.Helper()
	before := len(c.log())
	f()
	until(c.t, "the probers' sessions have ended", func() bool { return c.sessions() == 0 })
	if text := c.log()[before:]; text != "" {
		c.t.Errorf("the server logged:\n%s", text)
	}
}

// as returns the configuration of a probe that logs in as a user.
func as(name, sslmode string) Config {
	return Config{Kind: Postgres, Postgres: PostgresConfig{
		User: name, PasswordFile: passwordFile, Database: "postgres", SSLMode: sslmode}}
}

// askOnce asks with a prober of its own.
func askOnce(t *testing.T, c Config, a pool.Address) (DatabaseAnswer, error) {
	t.Helper()
	p, err := New(c, a)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	answer, err := ask(t, p)
	if err != nil {
		return DatabaseAnswer{}, err
	}
	return *answer.Database, nil
}

// lostSoon runs Wait in the background and returns what it returned.
func lostSoon(t *testing.T, p Prober) <-chan bool {
	lost := make(chan bool, 1)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		lost <- p.Wait(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return lost
}

func wantLost(t *testing.T, lost <-chan bool) {
	t.Helper()
	select {
	case got := <-lost:
		if !got {
			t.Error("Wait says that nothing is lost")
		}
	case <-time.After(patient):
		t.Fatal("Wait has not noticed")
	}
}
