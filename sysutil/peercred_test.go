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
	if _, err := PeerUser(-1); err == nil {
		t.Error("no descriptor has a user")
	}
	closing(t, pair[1])
}
