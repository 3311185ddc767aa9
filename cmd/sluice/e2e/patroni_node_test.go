package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// A patroniNode is one Patroni and the server that it runs, at an address of its own.
type patroniNode struct {
	*process // the Patroni that runs now or ran last
	t        *testing.T
	name     string
	host     string
	port     int // of Postgres
	rest     int // of Patroni's REST API
	dir      string
	config   string // path of Patroni's configuration
	owner    *syscall.Credential
}

func newPatroniNode(t *testing.T, name, host string, port, rest, etcd int) *patroniNode {
	t.Helper()
	n := &patroniNode{t: t, name: name, host: host, port: port, rest: rest, owner: systest.Unprivileged(t)}
	var err error
	if n.dir, err = filepath.EvalSymlinks(tempDir(t)); err != nil { // as the kernel has it, for family
		t.Fatal(err)
	}
	n.own(n.dir)
	cert, bin := newCertificate(t, name+".example.com"), filepath.Dir(program(t, "postgres"))
	n.write("server.crt", readFile(t, cert.file))
	n.write("server.key", readFile(t, cert.key))
	n.config = n.write("patroni.yml", fmt.Sprintf(patroniConfig, name, host, port, rest, etcd, n.dir, bin))
	return n
}

// own gives a file of the test to the node.
func (n *patroniNode) own(path string) {
	n.t.Helper()
	if n.owner == nil {
		return
	}
	if err := os.Chown(path, int(n.owner.Uid), int(n.owner.Gid)); err != nil {
		n.t.Fatal(err)
	}
}

// write puts a file that nobody else may read into the node's directory.
func (n *patroniNode) write(name, text string) (path string) {
	n.t.Helper()
	path = filepath.Join(n.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.own(path)
	return path
}

// data is the data directory, the working directory of every process of the server.
func (n *patroniNode) data() string { return filepath.Join(n.dir, "data") }

// address is where the server itself listens.
func (n *patroniNode) address() string { return fmt.Sprintf("%s:%d", n.host, n.port) }

// start runs Patroni, also again after its end, which makes and starts the server. When the test is killed, Patroni is
// asked to end, and stops the server first, which is not its child.
func (n *patroniNode) start() {
	n.t.Helper()
	cmd := exec.Command(program(n.t, "patroni"), n.config)
	cmd.Dir = n.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: n.owner, Pdeathsig: syscall.SIGTERM}
	n.process = start(n.t, n.name, n.dir, cmd)
	n.t.Cleanup(n.end) // before the end of process, which would take its time
}

// family returns the processes of the node that run: Patroni, the server, and what they have started. All of them, and
// no others, work in the node's directories. A process that has ended has no directory any more, even while nobody has
// asked how it ended.
func (n *patroniNode) family() (ids []int) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd") // fails only for a pattern that is malformed
	for _, link := range links {
		dir, err := os.Readlink(link)
		if err != nil || dir != n.dir && dir != n.data() {
			continue
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(link))) // they are digits
		ids = append(ids, id)
	}
	return ids
}

// crash ends the node as a power failure does: nobody has time to say anything to anybody.
func (n *patroniNode) crash() {
	n.t.Helper()
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		n.signalFamily(s)
	}
	n.untilGone()
	n.wait()
}

func (n *patroniNode) signalFamily(s syscall.Signal) {
	n.t.Helper()
	for _, id := range n.family() {
		if err := syscall.Kill(id, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			n.t.Errorf("send %v to process %d of %s: %v", s, id, n.name, err)
		}
	}
}

func (n *patroniNode) untilGone() {
	n.t.Helper()
	until(n.t, n.name+" has ended", func() error {
		if ids := n.family(); len(ids) > 0 {
			return fmt.Errorf("%d processes run", len(ids))
		}
		return nil
	})
}

// end ends what runs of the node, without a word to the other nodes. The server is given the time to free its shared
// memory, which would stay for good.
func (n *patroniNode) end() {
	if n.process != nil && n.running() {
		n.kill() // so that it does not start the server again
	}
	if id, err := n.postmaster(); err != nil {
		n.t.Error(err)
	} else if slices.Contains(n.family(), id) {
		_ = syscall.Kill(id, syscall.SIGQUIT) // it may have ended just now
	}
	for deadline := time.Now().Add(patient / 3); len(n.family()) > 0 && time.Now().Before(deadline); {
		time.Sleep(pollEvery)
	}
	n.signalFamily(syscall.SIGKILL)
	n.untilGone()
}

// postmaster returns the process id of the server, 0 when it has not said one.
func (n *patroniNode) postmaster() (int, error) {
	text, err := os.ReadFile(filepath.Join(n.data(), "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(line)
}

// query runs one statement at the server itself.
func (n *patroniNode) query(statement string) string {
	n.t.Helper()
	return psql(n.t, n.address(), "disable", statement)
}
