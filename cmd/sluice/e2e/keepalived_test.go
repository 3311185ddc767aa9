package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// floating is the address that keepalived moves in the sample configs/keepalived.conf.
const floating = "192.0.2.10"

// A pair is two machines with keepalived and sluice, and a third with the clients, on one network.
type pair struct {
	t       *testing.T
	clients *network
	nodes   [2]*machine
}

// A machine is one of the two machines.
type machine struct {
	*network
	dir     string
	sluice  *process
	checks  string       // path of what the check has returned, a line each
	backend net.Listener // of the listener https; it answers with the node's name
}

// newPair starts both machines; the first has the higher priority.
func newPair(t *testing.T) *pair {
	t.Helper()
	name := func(suffix string) *network {
		n := &network{t: t, name: fmt.Sprintf("sluice-pair-%d-%s", os.Getpid(), suffix)}
		n.ip("netns", "add", n.name)
		t.Cleanup(func() { n.ip("netns", "delete", n.name) })
		n.inside("link", "set", "lo", "up")
		return n
	}
	p := &pair{t: t, clients: name("clients")}
	p.clients.inside("link", "add", "switch", "type", "bridge")
	p.clients.inside("addr", "add", "192.0.2.1/24", "dev", "switch")
	p.clients.inside("link", "set", "switch", "up")
	for i, own := range []string{"192.0.2.2", "192.0.2.3"} {
		n := &machine{network: name(own), dir: tempDir(t)}
		p.clients.inside("link", "add", fmt.Sprint("port", i), "type", "veth", "peer", "name", "eth0", "netns", n.name)
		p.clients.inside("link", "set", fmt.Sprint("port", i), "master", "switch", "up")
		n.inside("addr", "add", own+"/24", "dev", "eth0")
		n.inside("link", "set", "eth0", "up")
		p.nodes[i] = n
		n.serve()
		n.startSluice()
	}
	keepalived := readFile(t, "../../../configs/keepalived.conf")
	p.nodes[0].startKeepalived(keepalived)
	p.nodes[1].startKeepalived(strings.NewReplacer("priority 100", "priority 90",
		"192.0.2.2", "192.0.2.3", "192.0.2.3", "192.0.2.2").Replace(keepalived))
	return p
}

// serve answers everybody with the name of the machine.
func (n *machine) serve() {
	n.run(func() (err error) {
		n.backend, err = net.Listen("tcp", "127.0.0.1:8443")
		return err
	})
	backend := n.backend
	n.t.Cleanup(func() { backend.Close() })
	go func() {
		for {
			c, err := backend.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
					_, _ = io.WriteString(c, n.name) // the client may be gone
				}
			}()
		}
	}()
}

// command returns a command that runs in the node's network.
func (n *machine) command(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.name}, args...)...)
}

// startSluice starts one that has a pool of Postgres servers, none of which is there. What is under way when the address
// moves does not end by itself for a while: shutdown.drain is short.
func (n *machine) startSluice() {
	n.t.Helper()
	file := filepath.Join(n.dir, "sluice.yaml")
	writeFile(n.t, file, `
shutdown: {delay: 1h, drain: 1s}
admin: {listen: "127.0.0.1:9600", socket: `+filepath.Join(n.dir, "sluice.sock")+`}
listeners:
  https: {bind: ":443", pool: nodes}
  postgres: {bind: ":5432", protocol: postgres, pool: primary}
pools:
  nodes: {check: {interval: 100ms, fast_interval: 50ms, timeout: 30s}, backends: ["127.0.0.1:8443"]}
  primary: {check: {type: postgres, role: primary, user: sluice}, backends: ["127.0.0.1:5433"]}
`)
	n.sluice = start(n.t, "sluice", n.dir, n.command(sluiceProgram, "run", "-c", file))
	until(n.t, "sluice is ready for https", func() error { return n.expectReady("?listener=https", "200") })
}

// expectReady asks as the check of the sample does.
func (n *machine) expectReady(query, status string) error {
	url := "http://127.0.0.1:9600/readyz" + query
	out, err := n.command("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url).Output()
	if string(out) != status {
		return fmt.Errorf("%s answers %s (%v), want %s", url, out, err, status)
	}
	return nil
}

// startKeepalived starts it with the sample. The check's answers are noted, and all goes faster.
func (n *machine) startKeepalived(config string) {
	n.t.Helper()
	file, note := filepath.Join(n.dir, "keepalived.conf"), filepath.Join(n.dir, "note")
	n.checks = filepath.Join(n.dir, "checks")
	writeFile(n.t, n.checks, "")
	writeFile(n.t, note, "#!/bin/sh\n\"$@\"\nstatus=$?\necho $status >>"+n.checks+"\nexit $status\n")
	for path, mode := range map[string]os.FileMode{note: 0o755, n.checks: 0o666} { // for the user nobody
		if err := os.Chmod(path, mode); err != nil {
			n.t.Fatal(err)
		}
	}
	writeFile(n.t, file, strings.NewReplacer("advert_int 1", "advert_int 0.1", "interval 1", "interval 0.2", `script "`, `script "`+note+" ").Replace(config))
	start(n.t, "keepalived", n.dir, n.command(program(n.t, "keepalived"), "--dont-fork", "--log-console", "--vrrp",
		"--use-file", file, "--pid", filepath.Join(n.dir, "pid"), "--vrrp_pid", filepath.Join(n.dir, "vrrp.pid")))
}

// untilChecked waits for some more checks, all of which must answer the same.
func (n *machine) untilChecked(more int, answer string) {
	n.t.Helper()
	before := len(readLines(n.t, n.checks))
	until(n.t, "keepalived has checked", func() error {
		lines := readLines(n.t, n.checks)[before:]
		for _, line := range lines {
			if line != answer {
				n.t.Fatalf("the check of %s returns %s, want %s", n.name, line, answer)
			}
		}
		if len(lines) < more {
			return fmt.Errorf("%d times", len(lines))
		}
		return nil
	})
}

// ask connects to the floating address, and returns the name of the machine that has answered.
func (p *pair) ask() (who string, err error) {
	c, err := net.DialTimeout("tcp", floating+":443", patient)
	if err != nil {
		return "", err
	}
	defer c.Close()
	// When the address moves, what was under way is known at the wrong machine.
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "?"); err != nil {
		return "", err
	}
	name, err := io.ReadAll(c)
	return string(name), err
}

// untilAt waits until a node has the floating address, as clients see it.
func (p *pair) untilAt(n *machine) {
	p.t.Helper()
	until(p.t, "the address is at "+n.name, func() error {
		return p.clients.visiting(func() error {
			who, err := p.ask()
			if err == nil && who != n.name {
				err = fmt.Errorf("%s answers", who)
			}
			return err
		})
	})
}

// visiting calls f on a thread that is in the network, and returns its error.
func (n *network) visiting(f func() error) error {
	failed := make(chan error, 1)
	go n.enter(f, failed)
	return <-failed
}

// A load is clients that connect, are answered, and connect again, all the time.
type load struct {
	running          sync.WaitGroup
	over             atomic.Bool
	answers          [2]atomic.Int64 // of each node
	refused, failed  atomic.Int64
	firstFailure     atomic.Pointer[error]
	clientsAtOneTime int
}

func (p *pair) startLoad(clients int) *load {
	l := &load{clientsAtOneTime: clients}
	for range clients {
		l.running.Go(func() {
			_ = p.clients.visiting(func() error { // what went wrong is counted
				for !l.over.Load() {
					l.count(p)
				}
				return nil
			})
		})
	}
	p.t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.over.Store(true)
	l.running.Wait()
}

// count makes one connection.
func (l *load) count(p *pair) {
	who, err := p.ask()
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		l.refused.Add(1)
	case err != nil:
		l.failed.Add(1)
		l.firstFailure.CompareAndSwap(nil, &err)
	case who == p.nodes[0].name:
		l.answers[0].Add(1)
	case who == p.nodes[1].name:
		l.answers[1].Add(1)
	}
}

// untilMore waits until a node has answered some more clients.
func (l *load) untilMore(t *testing.T, node int, more int64) {
	t.Helper()
	before := l.answers[node].Load()
	until(t, "clients are answered", func() error {
		if n := l.answers[node].Load() - before; n < more {
			return fmt.Errorf("%d by node %d", n, node)
		}
		return nil
	})
}

// keepalived with configs/keepalived.conf: the address stays while the pool of another listener is down, moves when its
// own listener cannot serve, and comes back. Who takes the machine that has it out of service refuses nobody.
func TestKeepalived(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	first, second := p.nodes[0], p.nodes[1]
	p.untilAt(first)
	until(t, "the pool of Postgres servers is not ready", func() error { return first.expectReady("", "503") })
	first.untilChecked(3, "0")
	p.untilAt(first)

	first.backend.Close()
	p.untilAt(second)
	if err := first.expectReady("?listener=https", "503"); err != nil {
		t.Error(err)
	}
	first.serve()
	p.untilAt(first)

	l := p.startLoad(4)
	l.untilMore(t, 0, 100)
	first.leave()
	l.untilMore(t, 0, 20) // it serves as before until the address has moved
	l.untilMore(t, 1, 100)
	first.end()
	l.untilMore(t, 1, 100)
	l.stop()
	if n := l.refused.Load(); n > 0 {
		t.Errorf("%d connections were refused", n)
	}
	if n := l.failed.Load(); n > 2*int64(l.clientsAtOneTime) {
		t.Errorf("%d connections failed, more than were under way when the address moved: %v", n, *l.firstFailure.Load())
	}
	t.Logf("%d and %d clients were answered, %d were under way when the address moved, 0 were refused", l.answers[0].Load(),
		l.answers[1].Load(), l.failed.Load())
	second.leave()
	second.end()
}

// leave asks sluice to end, and waits until it is about to.
func (n *machine) leave() {
	n.t.Helper()
	n.sluice.signal(syscall.SIGTERM)
	until(n.t, "sluice leaves", func() error {
		if log := readFile(n.t, n.sluice.log); !strings.Contains(log, "leaving: connections are still taken") {
			return errors.New("its log does not say so")
		}
		return nil
	})
}

// end ends the delay, as if it were over.
func (n *machine) end() {
	n.t.Helper()
	n.sluice.signal(syscall.SIGTERM)
	if err := n.sluice.wait(); err != nil {
		n.t.Errorf("sluice ended with %v, want exit status 0", err)
	}
}
