package probe

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// mariaDB is a running server. Its user "root" needs no password on the socket. The users "sluice", "tlsonly" and
// "nobody" may come from anywhere; the first two have the password of passwordFile, "tlsonly" must come with TLS, and
// nobody but "sluice" may see the state of replication.
type mariaDB struct {
	t    *testing.T
	dir  string
	ca   string // file with the authority of the server's certificate, which is for 127.0.0.1 and db.test
	id   int
	port uint16
	cmd  *exec.Cmd
	done chan struct{}
}

const mariaUsers = `CREATE USER sluice@'%%' IDENTIFIED BY '%[1]s', nobody@'%%';
CREATE USER tlsonly@'%%' IDENTIFIED BY '%[1]s' REQUIRE SSL;
GRANT BINLOG MONITOR, SLAVE MONITOR ON *.* TO sluice@'%%';
CREATE USER repl@'%%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'%%';
INSTALL SONAME 'auth_ed25519';
CREATE USER curve@'%%' IDENTIFIED VIA ed25519 USING PASSWORD('secret');
CREATE DATABASE app;
CREATE TABLE app.written (n int);
RESET MASTER;
`

// installMariaDB makes a folder of data for all servers of these tests.
var installMariaDB = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", fmt.Sprintf("sluice-mariadb-%d-", os.Getpid()))
	if err != nil {
		return "", err
	}
	out, err := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+filepath.Join(dir, "data"), "--skip-test-db",
		"--auth-root-authentication-method=normal", "--innodb-flush-method=nosync").CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return dir, nil
})

// removeMariaDB removes that folder if there is one.
func removeMariaDB() {
	if made, _ := filepath.Glob(filepath.Join(os.TempDir(), fmt.Sprintf("sluice-mariadb-%d-*", os.Getpid()))); len(made) == 1 {
		_ = os.RemoveAll(made[0])
	}
}

// newMariaDB makes and starts a server without anything in its binary log.
func newMariaDB(t *testing.T, id int, options ...string) *mariaDB {
	t.Helper()
	template, err := installMariaDB()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sluice-probe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &mariaDB{t: t, dir: dir, id: id, port: freePorts(t, 1)[0]}
	m.run("cp", "-a", filepath.Join(template, "data"), dir)
	var certificate tls.Certificate
	certificate, m.ca = authority(t, []string{"db.test"}, "127.0.0.1")
	certificatePEM, keyPEM := pemOf(t, certificate)
	for name, content := range map[string][]byte{"certificate": certificatePEM, "key": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if owner := systest.Unprivileged(t); owner != nil { // MariaDB refuses to be root
		m.run("chown", "-R", fmt.Sprintf("%d:%d", owner.Uid, owner.Gid), dir)
	}
	m.start(options...)
	password, err := ReadPassword(passwordFile)
	if err != nil {
		t.Fatal(err)
	}
	m.exec(fmt.Sprintf(mariaUsers, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)))
	return m
}

func (m *mariaDB) run(name string, args ...string) {
	m.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// start runs the server until the test is over.
func (m *mariaDB) start(options ...string) {
	m.t.Helper()
	args := append([]string{"--no-defaults", "--datadir=" + filepath.Join(m.dir, "data"), "--log-error=" + m.logPath(),
		"--socket=" + m.socket().Unix, "--pid-file=" + filepath.Join(m.dir, "pid"), "--bind-address=127.0.0.1",
		fmt.Sprintf("--port=%d", m.port), fmt.Sprintf("--server-id=%d", m.id), "--log-bin=bin", "--log-slave-updates",
		"--ssl-cert=" + filepath.Join(m.dir, "certificate"), "--ssl-key=" + filepath.Join(m.dir, "key"),
		"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M", "--slave-net-timeout=5"}, options...)
	m.cmd = exec.Command("/usr/sbin/mariadbd", args...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: systest.Unprivileged(m.t), Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	cmd, done := m.cmd, make(chan struct{})
	m.done = done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	m.t.Cleanup(func() {
		m.stop(syscall.SIGTERM)
		if m.t.Failed() {
			m.t.Logf("log of server %d:\n%s", m.id, m.log())
		}
	})
	until(m.t, "MariaDB takes logins", func() bool { return m.client("SELECT 1").Run() == nil })
}

func (m *mariaDB) stop(s syscall.Signal) {
	_ = m.cmd.Process.Signal(s)
	select {
	case <-m.done:
	case <-time.After(patient):
		_ = m.cmd.Process.Kill()
		<-m.done
	}
}

func (m *mariaDB) client(sql string) *exec.Cmd {
	return exec.Command("mariadb", "--no-defaults", "-N", "-B", "-u", "root", "-S", m.socket().Unix, "-e", sql)
}

// exec runs SQL as root and returns what it prints.
func (m *mariaDB) exec(sql string) string {
	m.t.Helper()
	out, err := m.client(sql).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// follow makes the server a replica.
func (m *mariaDB) follow(source *mariaDB) {
	m.t.Helper()
	m.exec(fmt.Sprintf("SET GLOBAL read_only = 1; CHANGE MASTER TO master_host = '127.0.0.1', master_port = %d, "+
		"master_user = 'repl', master_password = 'repl', master_connect_retry = 1, master_use_gtid = slave_pos; START SLAVE",
		source.port))
}

// sessions returns how many sessions a user has.
func (m *mariaDB) sessions(user string) int {
	m.t.Helper()
	n, err := strconv.Atoi(m.exec("SELECT count(*) FROM information_schema.processlist WHERE user = '" + user + "'"))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// quiet runs f and checks that the server logs nothing meanwhile.
func (m *mariaDB) quiet(f func()) {
	m.t.Helper()
	before := len(m.log())
	f()
	for _, user := range []string{"sluice", "tlsonly", "nobody"} {
		until(m.t, "the probers' sessions have ended", func() bool { return m.sessions(user) == 0 })
	}
	if text := m.log()[before:]; text != "" {
		m.t.Errorf("the server logged:\n%s", text)
	}
}

func (m *mariaDB) logPath() string { return filepath.Join(m.dir, "error.log") }

func (m *mariaDB) log() string {
	m.t.Helper()
	text, err := os.ReadFile(m.logPath())
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *mariaDB) address() pool.Address {
	return pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), m.port)}
}

func (m *mariaDB) socket() pool.Address { return pool.Address{Unix: filepath.Join(m.dir, "socket")} }

// mysqlAs returns the configuration of a probe that logs in as a user, with the password unless he has none.
func mysqlAs(user, sslmode string) Config {
	c := Config{Kind: MySQL, MySQL: MySQLConfig{User: user, SSLMode: sslmode, Replication: true}}
	if !slices.Contains([]string{"nobody", "root"}, user) {
		c.MySQL.PasswordFile = passwordFile
	}
	return c
}
