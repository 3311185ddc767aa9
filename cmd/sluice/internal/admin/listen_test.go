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

	"sluice/sysutil"
)

func TestSocketIsTheOwnersOnly(t *testing.T) {
	// Without a umask the file would be open to all, were it not given its mode.
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := ListenSocket(path, sysutil.SocketFile{})
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

// TestSocketForAGroup: others may be let in too, whatever the umask.
func TestSocketForAGroup(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := filepath.Join(t.TempDir(), "s.sock")
	group := os.Getgid()
	l, err := ListenSocket(path, sysutil.SocketFile{Mode: 0o660, Group: &group})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
}

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
	l, err := ListenSocket(path, sysutil.SocketFile{})
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
		l, err := ListenSocket(path, sysutil.SocketFile{})
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
	l, err := ListenSocket(live, sysutil.SocketFile{})
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
