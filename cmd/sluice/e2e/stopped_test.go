package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const stoppedConfig = `
listeners:
  busy:
    bind: "127.0.0.1:0"
    pool: echo
    timeouts: {idle: 20s}
  named:
    bind: "127.0.0.1:0"
    protocol: tls
    pool: echo
    timeouts: {peek: 20s}
pools:
  echo:
    check: {interval: 1s, timeout: 1s, fall: 1}
    backends: [{name: echo, address: "ECHO"}]
`

// A process that is stopped for longer than any of its timeouts, as a debugger, the freezer of cgroups or the move of a
// virtual machine does, ends nobody whose bytes came meanwhile, and takes no server down.
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	const sessions = 600 // more than a loop hears of in one batch of events
	r := startSluice(t, strings.ReplaceAll(stoppedConfig, "ECHO", startCountedEcho(t).address()))
	dial := func(listener string) func() (net.Conn, error) {
		address := r.address(listener) // asked once: that takes a process
		return func() (net.Conn, error) { return tryDial("127.0.0.1", address, "") }
	}
	busy, named := dialMany(t, sessions, dial("busy")), dialMany(t, 50, dial("named"))
	until(t, "all are there", func() error { return r.open(sessions + len(named)) })
	r.signal(syscall.SIGSTOP)
	until(t, "sluice has stopped", func() error { return r.inState('T') })
	for i, c := range busy {
		fmt.Fprintf(c, "%08d", i)
	}
	for _, c := range named {
		io.WriteString(c, "no hello, so the listener's own pool") // decided by its first byte
	}
	time.Sleep(23 * time.Second) // this is the stop, not a wait for something
	r.signal(syscall.SIGCONT)
	for i, c := range busy {
		expectReply(t, c, fmt.Sprintf("%08d", i))
	}
	for _, c := range named {
		expectReply(t, c, "no hello, so the listener's own pool")
	}
	for _, e := range r.status().Ended {
		if strings.HasSuffix(e.Reason, "_timeout") {
			t.Errorf("%d sessions ended with %s", e.Count, e.Reason)
		}
	}
	for _, l := range r.logLines() {
		if l.Msg == "backend down" {
			t.Errorf("a backend was taken down: %+v", l)
		}
	}
	for _, c := range append(busy, named...) {
		c.Close()
	}
}

// dialMany opens connections, many at a time. They are closed when the test is over.
func dialMany(t *testing.T, n int, dial func() (net.Conn, error)) []net.Conn {
	t.Helper()
	conns, errs := make([]net.Conn, n), make([]error, n)
	var all sync.WaitGroup
	for first := range dialers {
		all.Go(func() {
			for i := first; i < n; i += dialers {
				conns[i], errs[i] = dial()
			}
		})
	}
	all.Wait()
	for i, c := range conns {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		t.Cleanup(func() { c.Close() })
	}
	return conns
}

const dialers = 20

// open returns an error unless there are so many sessions.
func (r *rig) open(want int) error {
	n := 0
	for _, l := range r.status().Loops {
		n += l.Sessions
	}
	if n != want {
		return fmt.Errorf("%d sessions, want %d", n, want)
	}
	return nil
}

// inState returns an error unless the process is in a state of proc(5).
func (p *process) inState(state byte) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	if after == "" || after[0] != state {
		return fmt.Errorf("state %q, want %q", after, state)
	}
	return nil
}

func expectReply(t *testing.T, c net.Conn, text string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patient))
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got[:n], err, text)
	}
}
