package dns

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/pool/discovery"
	"sluice/sysutil/systest"
)

// realAddress returns where a real server can listen, by UDP and TCP: an address of this machine that no client has.
func realAddress(t *testing.T) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.53.53"), uint16(systest.ReservePort(t)))
}

// run starts a server of this machine, which ends with the test or by stop.
func run(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it has nothing to lose
		_ = cmd.Wait()
		log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s says:\n%s", name, text)
		}
	})
	t.Cleanup(stop)
	return stop
}

// program returns the path of a program, which may not be on everybody's PATH.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := "/usr/sbin/" + name
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("this test needs the program %s: make deps", name)
	}
	return path
}

// An observer has the reports of a source that runs.
type observer struct {
	t       *testing.T
	reports chan discovery.Report
}

// observe runs the source of a name as a server has it, which is asked all the time.
func observe(t *testing.T, name string, server netip.AddrPort) *observer {
	t.Helper()
	c := DefaultConfig(name, 80)
	if c.AsksSRV() {
		c.Port = 0
	}
	c.Resolvers, c.MinTTL, c.MaxTTL = []netip.AddrPort{server}, 10*time.Millisecond, 30*time.Millisecond
	o := &observer{t, make(chan discovery.Report)}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		New(c).Run(ctx, func(r discovery.Report) {
			select {
			case o.reports <- r:
			case <-ctx.Done():
			}
		})
	})
	t.Cleanup(func() { cancel(); ended.Wait() })
	return o
}

// until waits for an answer as text has it, or for an error that has the text in it.
func (o *observer) until(want string) {
	o.t.Helper()
	last := ""
	for end := time.After(patience); ; {
		select {
		case r := <-o.reports:
			last = text(&answer{found: r.Found}, r.Err)
			if last == want || r.Err != nil && strings.HasPrefix(want, "error: ") && strings.Contains(last, want[7:]) {
				return
			}
		case <-end:
			o.t.Fatalf("the last answer is %.300s, want %.300s", last, want)
		}
	}
}
