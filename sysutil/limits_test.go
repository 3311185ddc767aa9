package sysutil

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRaiseFileLimit(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	low := before
	low.Cur = before.Max / 2
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	if n, err := FileLimit(); err != nil || n != low.Cur {
		t.Errorf("FileLimit: %d, %v; want %d", n, err, low.Cur)
	}
	n, err := RaiseFileLimit()
	if now, _ := FileLimit(); err != nil || n != before.Max || now != n {
		t.Errorf("RaiseFileLimit: %d, %v, then %d; want %d", n, err, now, before.Max)
	}
}

func TestOpenFiles(t *testing.T) {
	count := func() int {
		t.Helper()
		n, err := OpenFiles()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	w, err := NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	if n := count(); n != before+1 {
		t.Errorf("%d open after one was opened, want %d", n, before+1)
	}
	w.Close()
	if n := count(); n != before {
		t.Errorf("%d open after it was closed, want %d", n, before)
	}
}

// The answer is compared with what the kernel does for who has the capability.
func TestHasCapability(t *testing.T) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	for c := range 41 {
		want := data[c/32].Effective&(1<<(c%32)) != 0
		if got := HasCapability(c); got != want {
			t.Errorf("HasCapability(%d) = %v, want %v", c, got, want)
		}
	}
}

func TestDefaultPipeLimit(t *testing.T) {
	files, err := FileLimit()
	if err != nil {
		t.Fatal(err)
	}
	f := func(size int) {
		t.Helper()
		n := DefaultPipeLimit(size)
		if n < 4 || n > 65536 || uint64(2*n) > max(8, files/8) {
			t.Errorf("DefaultPipeLimit(%d) = %d with %d descriptors", size, n, files)
		}
		pages, bound := softPipePages()
		if bound && n > 4 && n*size/os.Getpagesize() > pages/2 {
			t.Errorf("DefaultPipeLimit(%d) = %d with %d pages", size, n, pages)
		}
	}
	f(0)
	f(1)
	f(64 << 10)
	f(256 << 10)
	f(1 << 30)
}
