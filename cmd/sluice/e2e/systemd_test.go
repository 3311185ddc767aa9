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

	"sluice/sysutil/systest"
)

// systemd understands every line of the units in configs, and finds that the service may do little. The exposure is at
// most 2.0 of 10; what is left is the network, CAP_NET_BIND_SERVICE, and the limits below /proc/sys that sluice reads.
func TestUnits(t *testing.T) {
	t.Parallel()
	const installed, units, exposure = "/usr/local/bin/sluice", "../../../configs/", "--threshold=20"
	dir := tempDir(t)
	service, socket := filepath.Join(dir, "sluice.service"), filepath.Join(dir, "sluice.socket")
	text := readFile(t, units+"sluice.service")
	if strings.Count(text, "ExecStart="+installed+" run ") != 1 {
		t.Fatalf("the unit does not start %s", installed)
	}
	writeFile(t, service, strings.ReplaceAll(text, installed, sluiceProgram))
	writeFile(t, socket, readFile(t, units+"sluice.socket"))
	analyze := program(t, "systemd-analyze")
	for _, args := range [][]string{
		{"verify", "--man=no", service, socket},
		{"security", "--offline=true", exposure, service},
	} {
		out, err := command(t, analyze, args...).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
		}
		if args[0] == "verify" && len(out) > 0 { // what it does not know it ignores, and says so
			t.Errorf("systemd-analyze %v:\n%s", args, out)
		}
	}
	// The test would see a line that is wrong, and a service that may do more.
	writeFile(t, service, strings.Replace(text, "SystemCallFilter=", "SystemCalFilter=", 1))
	if out, _ := command(t, analyze, "verify", "--man=no", service).CombinedOutput(); !strings.Contains(string(out), "SystemCalFilter") {
		t.Errorf("a wrong key is not found: %s", out)
	}
	if err := command(t, analyze, "security", "--offline=true", exposure, service).Run(); err == nil {
		t.Error("a service that may make every system call is well locked down")
	} else if _, ok := err.(*exec.ExitError); !ok {
		t.Error(err)
	}
}

// systemd's own systemd-socket-activate starts sluice when the first client comes, who is served: one listener has the
// socket's address in its bind, another one its name.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	dir, e := tempDir(t), startCountedEcho(t)
	port, elsewhere, path := systest.ReservePort(t), systest.ReservePort(t), filepath.Join(dir, "web.sock")
	config := filepath.Join(dir, "sluice.yaml")
	writeFile(t, config, fmt.Sprintf(`
admin: {listen: "127.0.0.1:0", socket: %s}
listeners:
  here: {bind: "127.0.0.1:%d", pool: echo}
  there: {bind: "127.0.0.1:%d", pool: echo}
pools:
  echo: {check: {type: off}, backends: [%q]}
`, filepath.Join(dir, "sluice.sock"), port, elsewhere, e.address()))
	p := start(t, "sluice", dir, exec.Command(program(t, "systemd-socket-activate"), "--fdname=any:there",
		"--listen", fmt.Sprintf("127.0.0.1:%d", port), "--listen", path, sluiceProgram, "run", "-c", config))
	p.untilListening(port)
	everywhere := func() {
		for i, at := range []string{fmt.Sprintf("127.0.0.1:%d", port), path} {
			c, err := net.Dial([]string{"tcp", "unix"}[i], at)
			if err != nil {
				t.Fatal(err)
			}
			expectEcho(t, c)
			c.Close()
		}
	}
	everywhere()
	p.signal(syscall.SIGHUP)
	until(t, "the configuration is read again", func() error {
		if log := readFile(t, p.log); !strings.Contains(log, "msg=reloaded") {
			return errors.New("its log does not say so")
		}
		return nil
	})
	everywhere()
	if log := readFile(t, p.log); strings.Contains(log, "no listener takes") || systest.Listening(t, elsewhere) {
		t.Errorf("port %d is open: %t; the log has\n%s", elsewhere, systest.Listening(t, elsewhere), log)
	}
	p.signal(syscall.SIGTERM)
	if err := p.wait(); err != nil {
		t.Errorf("sluice ended with %v, want exit status 0", err)
	}
}

// Who holds the sockets, as systemd does, can start sluice anew while clients come all the time: none of them is refused
// or reset, and those who come in between wait.
func TestRestartWithSockets(t *testing.T) {
	t.Parallel()
	dir, e := tempDir(t), startCountedEcho(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	passed, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer passed.Close()
	config := filepath.Join(dir, "sluice.yaml")
	writeFile(t, config, fmt.Sprintf(`
admin: {listen: "127.0.0.1:0", socket: %s}
listeners:
  web: {bind: %q, pool: echo}
pools:
  echo: {check: {type: off}, backends: [%q]}
`, filepath.Join(dir, "sluice.sock"), l.Addr(), e.address()))
	startAgain := func() *process {
		cmd := exec.Command("sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"`, "sh", sluiceProgram, "run", "-c", config)
		cmd.ExtraFiles = []*os.File{passed}
		return start(t, "sluice", dir, cmd)
	}
	var clients sync.WaitGroup
	var served atomic.Int64
	over := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := echoOnce(l.Addr().String()); err != nil {
					t.Errorf("a client while sluice is started anew: %v", err)
					return
				}
				served.Add(1)
			}
		})
	}
	for range 4 {
		p := startAgain()
		before := served.Load()
		until(t, "clients are served", func() error {
			if n := served.Load() - before; n < 50 {
				return fmt.Errorf("%d are", n)
			}
			return nil
		})
		p.signal(syscall.SIGTERM)
		if err := p.wait(); err != nil {
			t.Errorf("sluice ended with %v, want exit status 0", err)
		}
	}
	p := startAgain()
	close(over)
	clients.Wait()
	p.stop()
}

// echoOnce is a client that connects, is answered, and goes.
func echoOnce(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "x"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

// A socket of another kind is named, and sluice does not serve without it.
func TestWrongSocket(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	path := filepath.Join(dir, "datagrams")
	p := start(t, "sluice", dir, exec.Command(program(t, "systemd-socket-activate"), "--datagram", "--fdname=web", "--listen", path,
		sluiceProgram, "run", "--listen", "127.0.0.1:0", "--backend", "127.0.0.1:1"))
	until(t, "the socket is there", func() error {
		c, err := net.Dial("unixgram", path)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.WriteString(c, "wake up")
		return err
	})
	if err := p.wait(); err == nil || p.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("sluice ended with %v, want exit status 1", err)
	}
	const want = `sluice: the service manager has passed descriptor 3 under the name "web": it is not a stream socket; ` +
		"only sockets of ListenStream= without Accept=yes can be served"
	if log := readFile(t, p.log); !strings.Contains(log, want) {
		t.Errorf("sluice says %s, want %s", log, want)
	}
}
