package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A serviceManager is what systemd is to a service: the other end of its datagram socket.
type serviceManager struct {
	t    *testing.T
	path string
	said chan string
}

func newServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	path := filepath.Join(tempDir(t), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m := &serviceManager{t, path, make(chan string, 1<<16)}
	go m.listen(c)
	return m
}

// listen reads all the time: the kernel keeps ten datagrams.
func (m *serviceManager) listen(c *net.UnixConn) {
	text := make([]byte, 4096)
	for {
		n, err := c.Read(text)
		if err != nil { // the test is over
			return
		}
		m.said <- string(text[:n])
	}
}

// next returns the next thing that it is told, without signs of life when these are not wanted.
func (m *serviceManager) next(signs bool) string {
	m.t.Helper()
	for deadline := time.After(patient); ; {
		select {
		case said := <-m.said:
			if signs || said != "WATCHDOG=1\n" {
				return said
			}
		case <-deadline:
			m.t.Fatalf("the service manager is told nothing")
		}
	}
}

// expect waits for what begins like this. How many sessions there are is told now and then.
func (m *serviceManager) expect(start string) {
	m.t.Helper()
	got := m.next(false)
	for strings.HasPrefix(got, "STATUS=") {
		got = m.next(false)
	}
	if !strings.HasPrefix(got, start) {
		m.t.Fatalf("the service manager is told %q, want %q", got, start)
	}
}

// The service manager is told when sluice serves, that it lives, and what it does at the end.
func TestNotify(t *testing.T) {
	t.Parallel()
	m, e := newServiceManager(t), startCountedEcho(t)
	r := startSluiceBy(t, "shutdown: {delay: 1h}\n"+fmt.Sprintf(limitedConfig, 10, e.address()),
		"env", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=100000")
	m.expect("READY=1\nSTATUS=serving, 0 sessions open\n")
	for range 3 {
		if got := m.next(true); got != "WATCHDOG=1\n" && !strings.HasPrefix(got, "STATUS=") {
			t.Errorf("the service manager is told %q", got)
		}
	}
	r.signal(syscall.SIGHUP)
	for _, want := range []string{"RELOADING=1\nMONOTONIC_USEC=", "READY=1\nSTATUS=serving, 0 sessions open\n"} {
		m.expect(want)
	}
	c := served(t, "127.0.0.1", r.address("limited"), "")
	r.signal(syscall.SIGTERM)
	m.expect("STOPPING=1\nSTATUS=leaving, connections are still taken, 1 session open\n")
	r.signal(syscall.SIGTERM)
	m.expect("STOPPING=1\nSTATUS=draining, 1 session open\n")
	if got := m.next(true); got != "WATCHDOG=1\n" && !strings.HasPrefix(got, "STATUS=draining, ") {
		t.Errorf("while it drains, the service manager is told %q", got)
	}
	c.Close()
	if err := r.wait(); err != nil {
		t.Errorf("sluice ended with %v, want exit status 0", err)
	}
}
