package admin

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSocketIsTheOwnersOnly(t *testing.T) {
	// Without a umask the file would be open to all, were it not made with the right mode.
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket has mode %v", info.Mode())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there after Close: %v", err)
	}
}

// TestSocketModeIsThereFromTheStart looks at the file between bind and listen, when it exists and nothing has had a
// chance to change it.
func TestSocketModeIsThereFromTheStart(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "s.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := ownerOnly("", "", rawFD(fd)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("after bind: %v, %v", info.Mode(), err)
	}
}

// rawFD is a descriptor as net.ListenConfig hands it to Control.
type rawFD uintptr

func (fd rawFD) Control(f func(uintptr)) error  { f(uintptr(fd)); return nil }
func (fd rawFD) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (fd rawFD) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil { // like a process that was killed
		t.Fatal(err)
	}
	l, err := ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestSocketInUseIsRefused(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		l, err := ListenSocket(path)
		if err == nil {
			_ = l.Close()
			t.Fatalf("%s could be taken", path)
		}
		if !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("error is %q, want %q and the path once", err, want)
		}
	}
	dir := t.TempDir()
	live := filepath.Join(dir, "live.sock")
	l, err := ListenSocket(live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f(live, "another process")
	if conn, err := net.Dial("unix", live); err != nil {
		t.Errorf("the one that was there is gone: %v", err)
	} else {
		_ = conn.Close()
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(file, "not a socket")
	if text, err := os.ReadFile(file); string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
	f(filepath.Join(dir, "missing", "s.sock"), "no such file or directory")
}
