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

// A member is one server of a cluster. It may end and start again, and be primary at one time and replica at another.
type member struct {
	postgres
	t     *testing.T
	name  string
	dir   string // of its log
	data  string
	owner *syscall.Credential
}

func newMember(t *testing.T, name string) *member {
	t.Helper()
	m := &member{postgres: postgres{port: systest.ReservePort(t)}, t: t, name: name, dir: tempDir(t), owner: systest.Unprivileged(t)}
	m.data = filepath.Join(m.dir, "data")
	if err := os.Mkdir(m.data, 0o700); err != nil {
		t.Fatal(err)
	}
	m.own(m.data)
	return m
}

// own gives a file of the test to the server.
func (m *member) own(path string) {
	m.t.Helper()
	if m.owner == nil {
		return
	}
	if err := os.Chown(path, int(m.owner.Uid), int(m.owner.Gid)); err != nil {
		m.t.Fatal(err)
	}
}

// write puts a file into the data directory.
func (m *member) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.data, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.own(path)
}

// program returns a command of PostgreSQL that runs as the server's user.
func (m *member) program(name string, args ...string) *exec.Cmd {
	m.t.Helper()
	cmd := exec.Command(program(m.t, name), args...)
	cmd.Dir = m.dir // one that the user may enter
	dieWithTest(cmd, syscall.SIGQUIT)
	cmd.SysProcAttr.Credential = m.owner
	return cmd
}

// start runs the server, also again after its end, and waits until it answers queries.
func (m *member) start() {
	m.t.Helper()
	m.process = start(m.t, m.name, m.dir, m.program("postgres",
		"-D", m.data, "-p", strconv.Itoa(m.port), "-c", "cluster_name="+m.name))
	m.ending = syscall.SIGINT // a fast shutdown: it does not wait for sessions
	m.untilListening(m.port)
	until(m.t, m.name+" is ready", func() error { return m.program("pg_isready", "-d", m.conninfo()).Run() })
}

// query runs one statement at the server itself.
func (m *member) query(statement string) string {
	m.t.Helper()
	return psql(m.t, m.address(), "disable", statement)
}

// family returns the process ids of the server and its children.
func (m *member) family() []int {
	m.t.Helper()
	postmaster := m.cmd.Process.Pid
	ids := []int{postmaster}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // fails only for a pattern that is malformed
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the process has ended
		}
		// See proc_pid_stat(5): id, name in parentheses, state, id of the parent.
		_, rest, _ := cutLast(string(text), ")")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(postmaster) {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(file))) // they are digits
			ids = append(ids, id)
		}
	}
	return ids
}

// signalFamily sends a signal to every process of the server. A child may have ended meanwhile.
func (m *member) signalFamily(s syscall.Signal) {
	m.t.Helper()
	for _, id := range m.family() {
		if err := syscall.Kill(id, s); err != nil && err != syscall.ESRCH {
			m.t.Fatalf("send %v to process %d of %s: %v", s, id, m.name, err)
		}
	}
}

// crash kills every process of the server. One that is just born sees that the postmaster is gone, and ends too.
func (m *member) crash() {
	m.t.Helper()
	m.signalFamily(syscall.SIGKILL)
	m.wait()
}

// freeze stops every process of the server: it keeps its connections, and the kernel even accepts new ones, but nobody
// answers. The function it returns lets the server go on. That also happens when the test ends, in whatever way: a
// shell waits for the end of a pipe of which the test has the other end.
func (m *member) freeze() (thaw func()) {
	m.t.Helper()
	m.signal(syscall.SIGSTOP) // so that no child is born that is missed
	m.signalFamily(syscall.SIGSTOP)
	ids := strings.Fields(strings.Trim(fmt.Sprint(m.family()), "[]"))
	guard := exec.Command("/bin/sh", append([]string{"-c", `read -r _; kill -CONT "$@"`, "sh"}, ids...)...)
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not ended by what ends the test, such as Ctrl-C
	pipe, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		m.signalFamily(syscall.SIGCONT)
		m.t.Fatal(err)
	}
	thawed := false
	thaw = func() {
		if !thawed {
			thawed = true
			pipe.Close()
			_ = guard.Wait() // fails when a process has ended meanwhile
		}
	}
	m.t.Cleanup(thaw)
	return thaw
}

// shutDown ends the server as an operator does who switches over: its sessions are cut, replicas get everything.
func (m *member) shutDown() {
	m.t.Helper()
	m.signal(syscall.SIGINT)
	if err := m.wait(); err != nil {
		m.t.Fatalf("%s ended with %v", m.name, err)
	}
}

// promote makes a replica a primary. It returns when it is one.
func (m *member) promote() {
	m.t.Helper()
	if got := m.query("select pg_promote(true, 600)"); got != "t" {
		m.t.Fatalf("%s is not promoted", m.name)
	}
}

// conninfo is how others connect to m.
func (m *member) conninfo() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable", m.port)
}

// copyOf makes m, which is new, a replica.
func (m *member) copyOf(primary *member) {
	m.t.Helper()
	output(m.t, m.program("pg_basebackup", "-D", m.data, "-d", primary.conninfo(), "-R", "-c", "fast", "--no-sync"))
}

// follow makes a replica that runs follow another primary.
func (m *member) follow(primary *member) {
	m.t.Helper()
	m.query(fmt.Sprintf("alter system set primary_conninfo = '%s'", primary.conninfo()))
	m.query("select pg_reload_conf()")
}

// rejoin starts a former primary again as a replica, without what only it had.
func (m *member) rejoin(primary *member) {
	m.t.Helper()
	primary.query("checkpoint") // before it, the control file has the timeline from before the promotion
	output(m.t, m.program("pg_rewind", "-D", m.data, "--source-server", primary.conninfo(), "-R", "--no-sync"))
	m.start()
}

// received is the end of what a replica has got from its primary, in bytes.
func (m *member) received() int {
	m.t.Helper()
	n, err := strconv.Atoi(m.query("select coalesce(pg_last_wal_receive_lsn(), '0/0') - '0/0'"))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// logins returns how many connections of a program the server has let in since it was made.
func (m *member) logins(application string) (n int) {
	m.t.Helper()
	for _, line := range readLines(m.t, m.log) {
		// "connection authorized: user=u database=d application_name=a SSL enabled (...)"
		name := " application_name=" + application + " "
		if strings.Contains(line, "connection authorized:") && strings.Contains(line+" ", name) {
			n++
		}
	}
	return n
}
