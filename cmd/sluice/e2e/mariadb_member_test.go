package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sluice/sysutil/systest"
)

// mariaDBs are a primary and two replicas, db1 to db3.
type mariaDBs struct {
	t        *testing.T
	members  []*mariaDB
	password string // path of a file with the password of the user "sluice", who may see the state of replication
}

// mariaDB is one of them. Its user "root" needs no password on the socket.
type mariaDB struct {
	*process
	t     *testing.T
	name  string
	id    int
	dir   string
	port  int
	owner *syscall.Credential
}

const mariaUsers = `CREATE USER sluice@'%' IDENTIFIED BY 'correct horse battery staple';
GRANT BINLOG MONITOR, SLAVE MONITOR ON *.* TO sluice@'%';
CREATE USER app@'%' IDENTIFIED BY 'app';
GRANT ALL ON app.* TO app@'%';
CREATE USER repl@'%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
CREATE DATABASE app;
CREATE TABLE app.written (n int);
RESET MASTER`

func startMariaDBs(t *testing.T) *mariaDBs {
	t.Helper()
	c := &mariaDBs{t: t, password: filepath.Join(tempDir(t), "password")}
	if err := os.WriteFile(c.password, []byte(checkPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= 3; id++ {
		m := &mariaDB{t: t, name: fmt.Sprint("db", id), id: id, dir: tempDir(t), port: systest.ReservePort(t), owner: systest.Unprivileged(t)}
		if id == 1 {
			output(t, command(t, program(t, "mariadb-install-db"), "--no-defaults", "--datadir="+m.data(), "--skip-test-db",
				"--auth-root-authentication-method=normal", "--innodb-flush-method=nosync"))
		} else {
			output(t, command(t, "/bin/cp", "-a", c.members[0].data(), m.dir))
		}
		if m.owner != nil { // MariaDB refuses to be root
			output(t, command(t, "/bin/chown", "-R", fmt.Sprintf("%d:%d", m.owner.Uid, m.owner.Gid), m.dir))
		}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		m.start()
		m.exec(mariaUsers)
	}
	for _, m := range c.members[1:] {
		m.follow(c.members[0])
	}
	return c
}

// config fills in what a configuration says of these servers.
func (c *mariaDBs) config(text string) string {
	var backends []string
	for _, m := range c.members {
		backends = append(backends, fmt.Sprintf("{name: %s, address: \"127.0.0.1:%d\"}", m.name, m.port))
	}
	return strings.NewReplacer("MEMBERS", strings.Join(backends, ", "), "CHECK",
		fmt.Sprintf("user: sluice, password_file: %q, interval: 1s, timeout: 30s", c.password)).Replace(text)
}

// client returns a command that runs SQL through sluice.
func (c *mariaDBs) client(address, sql string) *exec.Cmd {
	c.t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		c.t.Fatal(err)
	}
	return command(c.t, program(c.t, "mariadb"), "--no-defaults", "-N", "-B", "-h", host, "-P", port, "-u", "app",
		"--password=app", "-e", sql)
}

// ask runs SQL through sluice and returns what it prints.
func (c *mariaDBs) ask(address, sql string) string {
	c.t.Helper()
	return strings.TrimSpace(output(c.t, c.client(address, sql)))
}

func (m *mariaDB) data() string     { return filepath.Join(m.dir, "data") }
func (m *mariaDB) socket() string   { return filepath.Join(m.dir, "socket") }
func (m *mariaDB) errorLog() string { return filepath.Join(m.dir, "error.log") }

// start runs the server, also again after its end, and waits until it takes logins.
func (m *mariaDB) start() {
	m.t.Helper()
	cmd := exec.Command(program(m.t, "mariadbd"), "--no-defaults", "--datadir="+m.data(), "--log-error="+m.errorLog(),
		"--socket="+m.socket(), "--pid-file="+filepath.Join(m.dir, "pid"), "--bind-address=127.0.0.1",
		"--port="+strconv.Itoa(m.port), "--server-id="+strconv.Itoa(m.id), "--log-bin=bin", "--log-slave-updates",
		"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M", "--skip-name-resolve")
	dieWithTest(cmd, syscall.SIGKILL)
	cmd.SysProcAttr.Credential = m.owner
	m.process = start(m.t, m.name, m.dir, cmd)
	until(m.t, m.name+" takes logins", func() error { return m.root("SELECT 1").Run() })
}

func (m *mariaDB) root(sql string) *exec.Cmd {
	return command(m.t, program(m.t, "mariadb"), "--no-defaults", "-N", "-B", "-u", "root", "-S", m.socket(), "-e", sql)
}

// exec runs SQL at the server itself and returns what it prints.
func (m *mariaDB) exec(sql string) string {
	m.t.Helper()
	return strings.TrimSpace(output(m.t, m.root(sql)))
}

// follow makes the server a replica of another one.
func (m *mariaDB) follow(source *mariaDB) {
	m.t.Helper()
	m.exec(fmt.Sprintf("STOP SLAVE; SET GLOBAL read_only = 1; CHANGE MASTER TO master_host = '127.0.0.1', master_port = %d, "+
		"master_user = 'repl', master_password = 'repl', master_connect_retry = 1, master_use_gtid = slave_pos; START SLAVE",
		source.port))
}
