package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"sluice/cmd/sluice/internal/takeover"
	"sluice/l4"
	"sluice/pool"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

// The process before leaves when it has handed over its sockets and nothing else. If it is dead the new one serves; if it
// lives it goes on, and nobody notices that there was another one.
func TestUpgradeOldLeaves(t *testing.T) {
	t.Parallel()
	for _, dead := range []bool{true, false} {
		t.Run(fmt.Sprintf("dead=%t", dead), func(t *testing.T) {
			dir, e := tempDir(t), startCountedEcho(t)
			web, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer web.Close()
			old, config := filepath.Join(dir, "old.sock"), filepath.Join(dir, "sluice.yaml")
			door, err := net.Listen("unix", old)
			if err != nil {
				t.Fatal(err)
			}
			defer door.Close()
			writeFile(t, config, fmt.Sprintf("listeners: {web: {bind: %q, pool: all}}\npools: {all: {check: {type: off}, backends: [%q]}}\n",
				web.Addr(), e.address()))
			p := start(t, "sluice", dir, exec.Command(sluiceProgram, "run", "-c", config, "--admin", "", "--socket",
				filepath.Join(dir, "new.sock"), "--take-over", old))

			before := exec.Command("sleep", "1000")
			dieWithTest(before, syscall.SIGKILL)
			if err := before.Start(); err != nil {
				t.Fatal(err)
			}
			leave := func() {
				_ = before.Process.Kill()
				_ = before.Wait() // it was killed
			}
			handSockets(t, door, web, before.Process.Pid, func() {
				if dead {
					leave()
				}
			})
			c, err := net.Dial("tcp", web.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if dead {
				expectEcho(t, c)
				c.Close()
				p.signal(syscall.SIGTERM)
				if err := p.wait(); err != nil {
					t.Errorf("the new process ended with %v, want exit status 0", err)
				}
				return
			}
			if err := p.wait(); err == nil || p.cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("the new process ended with %v, want exit status 1", err)
			}
			leave()
			served, err := web.Accept() // the test is the process before
			if err != nil {
				t.Fatal(err)
			}
			served.Close()
		})
	}
}

// handSockets is the process before until the other one is ready. Then it closes the connection.
func handSockets(t *testing.T, door, web net.Listener, pid int, last func()) {
	t.Helper()
	asked, err := door.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadRequest(bufio.NewReader(asked)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(asked, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sluice-handoff\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	conn := handoff.New(asked.(*net.UnixConn))
	defer conn.Close()
	const pidfdOpen = 434 // pidfd_open(2): the number is the same on every architecture
	pidfd, _, errno := syscall.Syscall(pidfdOpen, uintptr(pid), 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer sysutil.Close(int(pidfd))
	step := func(expected, then handoff.Kind, body any, files ...int) {
		t.Helper()
		if _, err := conn.Expect(expected); err != nil {
			t.Fatal(err)
		}
		if then == 0 {
			return
		}
		if err := conn.Send(then, body, files...); err != nil {
			t.Fatal(err)
		}
	}
	step(handoff.Hello, handoff.Welcome, takeover.Version{Major: handoff.Major, Version: "test"}, int(pidfd))
	at := pool.Address{TCP: netip.MustParseAddrPort(web.Addr().String())}
	raw, err := web.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	controlled := raw.Control(func(fd uintptr) {
		step(handoff.Take, handoff.State, takeover.State{Sockets: []l4.HandedSocket{{Listener: "web", Address: at, Bound: at}}}, int(fd))
	})
	if controlled != nil {
		t.Fatal(controlled)
	}
	step(handoff.Ready, 0, nil)
	last()
}
