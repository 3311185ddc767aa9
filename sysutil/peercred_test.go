package sysutil

import (
	"os"
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
