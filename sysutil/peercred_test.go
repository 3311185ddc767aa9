package sysutil

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPeerUser(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := PeerUser(closing(t, pair[0]))
	if err != nil || uid != uint32(os.Getuid()) {
		t.Errorf("the user is %d, %v; want %d", uid, err, os.Getuid())
	}
	want := Peer{PID: os.Getpid(), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if peer, err := PeerProcess(pair[1]); err != nil || peer != want {
		t.Errorf("the peer is %+v, %v; want %+v", peer, err, want)
	}
	if _, err := PeerUser(-1); err == nil {
		t.Error("no descriptor has a user")
	}
	closing(t, pair[1])
}

// The pidfd of a peer says when it has ended, whoever has the socket by then.
func TestPeerPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listening, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, listening)
	if err := errors.Join(unix.Bind(listening, &unix.SockaddrUnix{Name: path}), unix.Listen(listening, 1)); err != nil {
		t.Fatal(err)
	}
	dialed, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, dialed)
	if err := unix.Connect(dialed, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	pidfd, err := PeerPIDFile(dialed)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, pidfd)
	if flags, err := unix.FcntlInt(uintptr(pidfd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: not CLOEXEC", flags, err)
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil || Exited(pidfd, 0) {
		t.Errorf("signal to this process by the pidfd of its own peer: %v", err)
	}
	if fd, err := PeerPIDFile(-1); err == nil || fd != -1 {
		t.Errorf("no descriptor has the peer %d", fd)
	}
}
