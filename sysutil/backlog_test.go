package sysutil

import (
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// queued returns a listening TCP socket at which two connects have been made: one that
// waits in the queue, and one whose handshake ends when its client sends something.
func queued(t *testing.T) (listener int, waits, begun int, to Sockaddr) {
	t.Helper()
	listener, err := ListenTCP(at("127.0.0.1", 0))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, listener)
	to = TCPSockaddr(localAddr(t, listener))
	waits = connected(t, &to)
	if errno := setInt(listener, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60); errno != 0 {
		t.Fatal(errno)
	}
	return listener, waits, connected(t, &to), to
}

func connected(t *testing.T, to *Sockaddr) int {
	t.Helper()
	fd, errno := Connect(to)
	if errno != 0 {
		t.Fatal(errno)
	}
	closing(t, fd)
	await(t, fd, unix.POLLOUT)
	if errno := SocketError(fd); errno != 0 {
		t.Fatal(errno)
	}
	return fd
}

// expectHeard takes a connection from the queue and checks that it receives.
func expectHeard(t *testing.T, listener, client int) (fd int) {
	t.Helper()
	await(t, listener, unix.POLLIN)
	fd, _, errno := Accept(listener)
	if errno != 0 {
		t.Fatal(errno)
	}
	closing(t, fd)
	Unfilter(fd)
	Send(client, []byte("x"))
	await(t, fd, unix.POLLIN)
	if n, errno := Recv(fd, make([]byte, 8)); n == 0 || errno != 0 {
		t.Errorf("received %d bytes, %v", n, errno)
	}
	return fd
}

func expectQueueEmpty(t *testing.T, listener int) {
	t.Helper()
	if _, _, errno := Accept(listener); errno != unix.EAGAIN && errno != unix.EINVAL {
		t.Errorf("accept: %v, want nothing to accept", errno)
	}
}

// No handshake begins, and the one that is under way ends.
func TestRefuseHandshakes(t *testing.T) {
	checkFiles(t)
	listener, waits, begun, to := queued(t)
	if errno := RefuseHandshakes(listener); errno != 0 {
		t.Fatal(errno)
	}
	late, errno := Connect(&to)
	if errno != 0 {
		t.Fatal(errno)
	}
	closing(t, late)
	expectHeard(t, listener, waits)
	if _, errno := Send(begun, []byte("x")); errno != 0 {
		t.Fatal(errno)
	}
	fd := expectHeard(t, listener, begun)
	if errno := Unfilter(fd); errno != unix.ENOENT {
		t.Errorf("the filter is still there: %v", errno)
	}
	if IsConnected(late) {
		t.Error("a connect that came later is made")
	}
	expectQueueEmpty(t, listener)
}

// Nothing comes into the queue, and what is there stays.
func TestCloseBacklog(t *testing.T) {
	checkFiles(t)
	listener, waits, begun, to := queued(t)
	if errno := CloseBacklog(listener); errno != 0 {
		t.Fatal(errno)
	}
	Settle()
	late, errno := Connect(&to)
	if errno != 0 {
		t.Fatal(errno)
	}
	closing(t, late)
	if _, errno := Send(begun, []byte("x")); errno != 0 {
		t.Fatal(errno)
	}
	expectHeard(t, listener, waits)
	expectQueueEmpty(t, listener)
	if IsConnected(late) {
		t.Error("a connect that came later is made")
	}
}

func TestCloseUnixBacklog(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, listener)
	to, err := UnixSockaddr(path)
	if err != nil {
		t.Fatal(err)
	}
	waits := connected(t, &to)
	if errno := CloseUnixBacklog(listener); errno != 0 {
		t.Fatal(errno)
	}
	if fd, errno := Connect(&to); errno != syscall.ECONNREFUSED {
		t.Errorf("connect: %d, %v; want it refused", fd, errno)
	}
	expectHeard(t, listener, waits)
	expectQueueEmpty(t, listener)
}
