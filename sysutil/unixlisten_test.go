package sysutil

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Of many that find a socket of a dead process one takes its place, and can be reached.
func TestListenUnixConcurrently(t *testing.T) {
	checkFiles(t)
	const rounds, starts = 30, 24
	path := filepath.Join(t.TempDir(), "socket")
	for range rounds {
		stale(t, path)
		var all sync.WaitGroup
		sockets, errs := make([]*UnixSocket, starts), make([]error, starts)
		for i := range starts {
			all.Go(func() { sockets[i], errs[i] = ListenUnix(path, SocketFile{}) })
		}
		all.Wait()
		listening := 0
		for i, s := range sockets {
			switch {
			case errs[i] == nil:
				listening++
				if sa, _ := UnixSockaddr(path); !connects(&sa) {
					t.Error("the one that listens cannot be reached")
				}
				Close(s.FD)
			case !errors.Is(errs[i], syscall.EADDRINUSE):
				t.Errorf("%v, want EADDRINUSE", errs[i])
			}
		}
		if listening != 1 {
			t.Fatalf("%d of %d listen", listening, starts)
		}
	}
}

// listenUnix is ListenUnix for who wants nothing but the descriptor.
func listenUnix(path string) (int, error) {
	s, err := ListenUnix(path, SocketFile{})
	if err != nil {
		return -1, err
	}
	return s.FD, nil
}

// stale leaves a socket file as a process that was killed does.
func stale(t *testing.T, path string) {
	t.Helper()
	os.Remove(path)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
}

func connects(sa *Sockaddr) bool {
	fd, errno := Connect(sa)
	if errno == 0 {
		Close(fd)
	}
	return errno == 0
}

// A socket has the mode and the owners it is to have, whatever the umask.
func TestSocketFile(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	user, group := os.Getuid(), os.Getgid()
	if user == 0 {
		user, group = 12345, 54321 // only root can give a file away
	}
	f := func(umask int, file SocketFile, want fs.FileMode) {
		t.Helper()
		defer syscall.Umask(syscall.Umask(umask))
		s, err := ListenUnix(path, file)
		if err != nil {
			t.Fatal(err)
		}
		defer Close(s.FD)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != fs.ModeSocket|want {
			t.Errorf("umask %o, %+v: mode %v, want %v", umask, file, info.Mode(), want)
		}
		stat := info.Sys().(*syscall.Stat_t)
		if file.User != nil && int(stat.Uid) != *file.User || file.Group != nil && int(stat.Gid) != *file.Group {
			t.Errorf("%+v: owned by %d and %d", file, stat.Uid, stat.Gid)
		}
		s.RemoveFile()
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("the file is there after RemoveFile: %v", err)
		}
	}
	f(0o022, SocketFile{}, 0o755)
	f(0o077, SocketFile{}, 0o700)
	f(0o077, SocketFile{Mode: 0o666}, 0o666)
	f(0, SocketFile{Mode: 0o600}, 0o600)
	f(0o077, SocketFile{Mode: 0o660, User: &user, Group: &group}, 0o660)
	f(0o022, SocketFile{Group: &group}, 0o755)
}

// The file of a socket that listens gets other owners and another mode, and those back with which it was made. Another
// file that has taken its place does not.
func TestOwn(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	s, err := ListenUnix(path, SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(s.FD)
	look := func() (file SocketFile) {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		user, group := int(stat.Uid), int(stat.Gid)
		return SocketFile{Mode: info.Mode().Perm(), User: &user, Group: &group}
	}
	born := look()
	user, group := os.Getuid(), os.Getgid()
	if user == 0 {
		user, group = 12345, 54321 // only root can give a file away
	}
	other := SocketFile{Mode: 0o611, User: &user, Group: &group}
	for _, step := range []struct{ file, want SocketFile }{{other, other}, {SocketFile{}, born}, {SocketFile{Mode: 0o600}, SocketFile{0o600, born.User, born.Group}}} {
		if err := s.Own(step.file); err != nil || !look().Equal(step.want) || !s.IsAt(path) {
			t.Errorf("%+v: %v, the file is now %+v, want %+v", step.file, err, look(), step.want)
		}
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	was := look()
	if err := s.Own(other); err == nil || s.IsAt(path) || !look().Equal(was) {
		t.Errorf("another file: %v, it is now %+v", err, look())
	}
	if (SocketFile{}).Equal(other) || other.Equal(SocketFile{Mode: 0o611, User: &user}) {
		t.Error("different owners are equal")
	}
}

// A socket that is not ours to connect to is no business of ours: that is another error than one that is in use.
func TestListenUnixOfAnotherUser(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	s, err := ListenUnix(path, SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(s.FD)
	defer s.RemoveFile()
	// Anybody comes as far as to the socket, and nobody but root further.
	dir := filepath.Dir(path)
	if err := errors.Join(os.Chmod(path, 0), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // what follows is for this thread only
	defer runtime.UnlockOSThread()
	if was, _ := unix.SetfsuidRetUid(12345); was == 0 { // it takes root's capabilities too
		defer unix.SetfsuidRetUid(was)
	}
	if _, err := ListenUnix(path, SocketFile{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want that it is not permitted", err)
	}
}

// What has no file cannot be somebody's.
func TestSocketFileRefused(t *testing.T) {
	checkFiles(t)
	if _, err := ListenUnix("@sluice-test-mode", SocketFile{Mode: 0o600}); err == nil {
		t.Error("a socket without a file was given a mode")
	}
}

// A process that ends leaves alone what has taken its place meanwhile.
func TestRemoveFileOfAnother(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	old, err := ListenUnix(path, SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(old.FD)
	CloseUnixBacklog(old.FD) // it takes no more: its successor finds the file stale
	successor, err := ListenUnix(path, SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(successor.FD)
	old.RemoveFile()
	if sa, _ := UnixSockaddr(path); !connects(&sa) {
		t.Error("the successor cannot be reached any more")
	}
}

// A folder that somebody has locked for good keeps nobody from starting.
func TestLockedFolder(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	unlock, err := lockFolder(path, lockPatience)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	again, err := lockFolder(path, 5*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
