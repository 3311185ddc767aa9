package sysutil

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// unixPair returns both ends of a stream.
func unixPair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range pair {
		file := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// TestPassFiles holds what is relied on of the kernel: a read may join bytes before those that carried descriptors, and
// never goes beyond them.
func TestPassFiles(t *testing.T) {
	checkFiles(t)
	near, far := unixPair(t)
	send := func(text string, files ...int) {
		t.Helper()
		if n, err := SendFiles(near, []byte(text), files); err != nil || n != len(text) {
			t.Fatal(n, err)
		}
	}
	waker, err := NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	defer waker.Close()
	send("plain ")
	send("two", waker.Fd(), waker.Fd())
	send("one", waker.Fd())
	send("after")
	for _, want := range []struct {
		text  string
		files int
	}{{"plain two", 2}, {"one", 1}, {"after", 0}} {
		b := make([]byte, 100)
		n, files, err := ReceiveFiles(far, b, []int{-1})
		if err != nil || string(b[:n]) != want.text || len(files) != want.files+1 || files[0] != -1 {
			t.Fatalf("%q with %v, %v; want %q with %d", b[:n], files, err, want.text, want.files)
		}
		for _, fd := range files[1:] {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("flags %#x, %v: not CLOEXEC", flags, err)
			}
		}
		CloseFiles(files[1:])
	}
	waker.Wake() // the sender's own is still open
	var set [1]unix.PollFd
	set[0] = unix.PollFd{Fd: int32(waker.Fd()), Events: unix.POLLIN}
	if n, err := unix.Poll(set[:], 0); n != 1 {
		t.Errorf("what was sent is gone: %v", err)
	}
}

// TestPassTooManyFiles has the kernel refuse more than MaxPassed, and nothing sent.
func TestPassTooManyFiles(t *testing.T) {
	near, far := unixPair(t)
	if n, err := SendFiles(near, []byte("x"), slices.Repeat([]int{0}, MaxPassed+1)); n != 0 || !errors.Is(err, unix.EINVAL) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := SendFiles(near, []byte("y"), slices.Repeat([]int{0}, MaxPassed)); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	b := make([]byte, 9)
	n, files, err := ReceiveFiles(far, b, nil)
	if string(b[:n]) != "y" || len(files) != MaxPassed || err != nil {
		t.Errorf("%q with %d, %v", b[:n], len(files), err)
	}
	CloseFiles(files)
}
