package sysutil

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A SocketFile says who may connect to a Unix socket that has a file. The zero
// value: whom the umask lets, and the process's own user and group.
type SocketFile struct {
	Mode        fs.FileMode // permissions; 0 = what the umask leaves of 0777
	User, Group *int        // owners by number; nil = those of the process
}

// A UnixSocket is a listening socket and the file that it is bound to.
type UnixSocket struct {
	FD       int
	path     string // "" = there is no file, or it was removed
	dev, ino uint64 // of the file
}

// ListenUnix returns a listening socket at path. A socket file that nobody listens on any more is replaced; anything
// else at path is an error. Of many that try this at once one succeeds. Nobody can connect before the file has the
// owners and the mode that are asked for: until listen(2) every connect is refused.
func ListenUnix(path string, file SocketFile) (_ *UnixSocket, err error) {
	sa, err := UnixSockaddr(path)
	if err != nil {
		return nil, err
	}
	fd, err := streamSocket(unix.AF_UNIX)
	if err != nil {
		return nil, err
	}
	defer closeOnError(fd, &err)
	if isAbstract(path) {
		if file != (SocketFile{}) {
			return nil, errors.New("an abstract socket has no file: no mode, user and group can be set")
		}
		return &UnixSocket{FD: fd}, bindAndListen(fd, &sa)
	}
	unlock, err := lockFolder(path, lockPatience)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStaleSocket(path, &sa); err != nil {
		return nil, err
	}
	if errno := bind(fd, &sa); errno != 0 {
		return nil, os.NewSyscallError("bind", errno)
	}
	s := &UnixSocket{FD: fd, path: path}
	if err = s.own(file); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return s, nil
}

// own gives the file its owners and mode, and notes which one it is. It goes by a
// descriptor: what is at the path may be exchanged by others who may write there.
func (s *UnixSocket) own(file SocketFile) error {
	fd, err := unix.Open(s.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	s.dev, s.ino = stat.Dev, stat.Ino
	if user, group := idOf(file.User), idOf(file.Group); user >= 0 || group >= 0 {
		if err := unix.Fchownat(fd, "", user, group, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("give socket to user %d, group %d (-1 = as it is): %w", user, group, err)
		}
	}
	if file.Mode == 0 {
		return nil
	}
	// fchmod(2) refuses a descriptor of a path; this is the way that open(2) gives.
	err = unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), uint32(file.Mode.Perm()))
	return os.NewSyscallError("chmod", err)
}

// idOf returns -1 for none, as chown(2) has it.
func idOf(id *int) int {
	if id == nil {
		return -1
	}
	return *id
}

// RemoveFile removes the socket's file, unless something else is there by now. The
// socket must still be open: its file's number is not given to another before.
func (s *UnixSocket) RemoveFile() {
	if s.path == "" {
		return
	}
	if unlock, err := lockFolder(s.path, lockPatience); err == nil {
		defer unlock()
	}
	var stat unix.Stat_t
	if unix.Lstat(s.path, &stat) == nil && stat.Dev == s.dev && stat.Ino == s.ino {
		os.Remove(s.path)
	}
	s.path = ""
}

// removeStaleSocket removes a socket file left by a process that died. A live one answers the connect and stays.
func removeStaleSocket(path string, sa *Sockaddr) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Unwrap(err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.New("there is a file that is not a socket")
	}
	fd, errno := Connect(sa)
	if errno == 0 {
		Close(fd)
	}
	switch errno {
	case unix.ECONNREFUSED:
		return os.Remove(path)
	case unix.EACCES: // it is somebody else's
		return os.NewSyscallError("connect", errno)
	}
	return os.NewSyscallError("bind", unix.EADDRINUSE)
}

// lockPatience is far longer than anybody needs between the look at a stale socket and
// listen(2), also on a machine that has much to do.
const lockPatience = 10 * time.Second

// lockFolder keeps other processes that do the same from looking at a socket of path's folder meanwhile: a socket that
// is bound and does not listen yet looks like a stale one, and bind(2) does not replace a file. The lock is on the
// folder itself, so it leaves nothing behind. Whoever may read a folder can lock it, so who holds it too long is
// ignored, and so is a file system without locks: flock(2).
func lockFolder(path string, patience time.Duration) (unlock func(), err error) {
	fd, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) { // one may write into it all the same
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if busy := errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR); !busy || time.Now().After(end) {
			return func() { Close(fd) }, nil
		}
	}
}
