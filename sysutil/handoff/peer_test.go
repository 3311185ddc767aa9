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

	"sluice/sysutil"
)

// A seen is what a process sees of itself and of the one that it speaks with.
type seen struct {
	Own  int  `json:"own"`
	Peer Peer `json:"peer"`
	Dead bool `json:"dead"`
}

// roleConnect tells the socket that it is told of what it sees, with its pidfd. It is sent one of another process, and says
// when that has ended. It stays until the connection ends.
func roleConnect() int {
	if err := connect(); err != io.EOF {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func connect() error {
	socket, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: os.Getenv("SOCKET"), Net: "unix"})
	if err != nil {
		return err
	}
	c := New(socket)
	peer, err := c.Peer()
	if err != nil {
		return err
	}
	fd, err := sysutil.PIDFile()
	if err != nil {
		return err
	}
	if err := c.Send(Welcome, seen{Own: os.Getpid(), Peer: peer}, fd); err != nil {
		return err
	}
	m, err := c.Expect(Welcome)
	if err != nil {
		return err
	}
	if err := c.Send(Ack, seen{Dead: sysutil.Exited(m.Files[0], 0)}); err != nil {
		return err
	}
	if err := c.Send(Ack, seen{Dead: sysutil.Exited(m.Files[0], patient)}); err != nil {
		return err
	}
	_, err = c.Receive()
	return err
}

// TestPeerAndPIDFile has a process say which one it is, see another one die, and die.
func TestPeerAndPIDFile(t *testing.T) {
	testPeer(t, nil, func(child int) (own, peer int) { return child, os.Getpid() })
}

// TestPIDNamespace does it with a process that is number 1 in a namespace of its own, which has no number for this one.
func TestPIDNamespace(t *testing.T) {
	apart := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID} // needs root
	testPeer(t, apart, func(int) (own, peer int) { return 1, 0 })
}

// startConnected starts a process that connects to this one.
func startConnected(t *testing.T, how *syscall.SysProcAttr) (*exec.Cmd, *Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	child := startRole(t, "connect", func(c *exec.Cmd) { c.Env, c.SysProcAttr = append(c.Env, "SOCKET="+path), how })
	if err := l.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return child, New(accepted)
}

func testPeer(t *testing.T, how *syscall.SysProcAttr, numbers func(child int) (own, peer int)) {
	t.Helper()
	child, c := startConnected(t, how)
	want := Peer{PID: child.Process.Pid, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if peer, err := c.Peer(); err != nil || peer != want {
		t.Errorf("%+v, %v; want %+v", peer, err, want)
	}
	m, err := c.Expect(Welcome)
	if err != nil {
		t.Fatal(err)
	}
	defer m.CloseFiles()
	var told seen
	if err := m.Decode(&told); err != nil {
		t.Fatal(err)
	}
	own, peer := numbers(child.Process.Pid)
	want.PID = peer
	if told != (seen{Own: own, Peer: want}) {
		t.Errorf("it sees %+v; want %d and %+v", told, own, want)
	}
	checkTellsDeath(t, c)
	checkDies(t, child, m.Files[0])
	if _, err := c.Receive(); err != io.EOF {
		t.Errorf("of a process that is gone: %v", err)
	}
	c.Close()
	if _, err := c.Peer(); err == nil {
		t.Error("a connection that was closed has a peer")
	}
}

// checkTellsDeath gives the process at the other end a pidfd of one that is killed then.
func checkTellsDeath(t *testing.T, c *Conn) {
	t.Helper()
	var pidfd int
	other := exec.Command("sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	defer syscall.Close(pidfd)
	if err := c.Send(Welcome, nil, pidfd); err != nil {
		t.Fatal(err)
	}
	for _, dead := range []bool{false, true} {
		m, err := c.Expect(Ack)
		if err != nil {
			t.Fatal(err)
		}
		var told seen
		if err := m.Decode(&told); err != nil || told.Dead != dead {
			t.Errorf("to the other process it has ended: %v, %v; want %v", told.Dead, err, dead)
		}
		_ = other.Process.Kill() // an error only if it is dead, which the other process says or does not
	}
}

// checkDies stops and kills a process.
func checkDies(t *testing.T, child *exec.Cmd, pidfd int) {
	t.Helper()
	if sysutil.Exited(pidfd, 0) || sysutil.Exited(pidfd, 50*time.Millisecond) || sysutil.Exited(pidfd, -1) {
		t.Error("a process that lives has ended")
	}
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if sysutil.Exited(pidfd, 50*time.Millisecond) {
		t.Error("a process that is stopped has ended")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if !sysutil.Exited(pidfd, patient) {
		t.Error("a process that was killed lives")
	}
	_ = child.Wait() // it was killed
	if !sysutil.Exited(pidfd, 0) {
		t.Error("a process that was waited for lives")
	}
}

// TestExitedOfOthers has no descriptor but a pidfd say that a process has ended.
func TestExitedOfOthers(t *testing.T) {
	own, err := sysutil.PIDFile()
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(own)
	if sysutil.Exited(own, 0) {
		t.Error("this process has ended")
	}
	if sysutil.Exited(-1, 0) || sysutil.Exited(1<<20, 0) {
		t.Error("no descriptor has ended")
	}
}
