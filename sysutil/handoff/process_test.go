package handoff

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A test that needs a process of its own runs this program again in a role.
const roleKey = "HANDOFF_TEST_ROLE"

var roles = map[string]func() int{
	"connect": roleConnect,
}

// startRole starts one with descriptors from 3 on. It is killed at the end of the test if it is not over.
func startRole(t *testing.T, role string, set func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), roleKey+"="+role)
	c.Stderr = os.Stderr
	if set != nil {
		set(c)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return c
}

// roleConnect sends its pidfd to the socket that it is told of and stays until the connection ends.
func roleConnect() int {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: os.Getenv("SOCKET"), Net: "unix"})
	if err == nil {
		var fd int
		if fd, err = PIDFile(); err == nil {
			err = New(c).Send(Welcome, nil, fd)
		}
		_, _ = io.Copy(io.Discard, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestPeerAndPIDFile has a process of its own say which one it is, and die.
func TestPeerAndPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	child := startRole(t, "connect", func(c *exec.Cmd) { c.Env = append(c.Env, "SOCKET="+path) })
	if err := l.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	c := New(accepted)
	defer c.Close()
	want := Peer{PID: child.Process.Pid, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if peer, err := c.Peer(); err != nil || peer != want {
		t.Errorf("%+v, %v; want %+v", peer, err, want)
	}
	m, err := c.Expect(Welcome)
	if err != nil {
		t.Fatal(err)
	}
	defer m.CloseFiles()
	pidfd := m.Files[0]
	if Exited(pidfd, 0) || Exited(pidfd, 50*time.Millisecond) || Exited(pidfd, -1) {
		t.Error("a process that lives has ended")
	}
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if Exited(pidfd, 50*time.Millisecond) {
		t.Error("a process that is stopped has ended")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if !Exited(pidfd, patient) {
		t.Error("a process that was killed lives")
	}
	_ = child.Wait() // it was killed
	if !Exited(pidfd, 0) {
		t.Error("a process that was waited for lives")
	}
	if _, err := c.Receive(); err != io.EOF {
		t.Errorf("of a process that is gone: %v", err)
	}
	c.Close()
	if _, err := c.Peer(); err == nil {
		t.Error("a connection that was closed has a peer")
	}
}

// TestExitedOfOthers has no descriptor but a pidfd say that a process has ended.
func TestExitedOfOthers(t *testing.T) {
	own, err := PIDFile()
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(own)
	if Exited(own, 0) {
		t.Error("this process has ended")
	}
	if Exited(-1, 0) || Exited(1<<20, 0) {
		t.Error("no descriptor has ended")
	}
}
