package sysutil

import (
	"cmp"
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
	Mode  fs.FileMode `json:"mode,omitzero"` // permissions; 0 = what the umask leaves of 0777
	User  *int        `json:"user,omitzero"` // owners by number; nil = those of the process
	Group *int        `json:"group,omitzero"`
}

// Equal reports whether two of them say the same.
func (f SocketFile) Equal(other SocketFile) bool {
	return f.Mode == other.Mode && idOf(f.User) == idOf(other.User) && idOf(f.Group) == idOf(other.Group)
}

// A UnixSocket is a listening socket and the file that it is bound to.
type UnixSocket struct {
	FD       int
	path     string     // "" = there is no file, or it was removed
	dev, ino uint64     // of the file
	born     SocketFile // what bind(2) has made
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
	fd, stat, err := openPath(s.path)
	if err != nil {
		return err
	}
	defer Close(fd)
	s.dev, s.ino = stat.Dev, stat.Ino
	user, group := int(stat.Uid), int(stat.Gid)
	s.born = SocketFile{Mode: fs.FileMode(stat.Mode).Perm(), User: &user, Group: &group}
	return setOwners(fd, file)
}

// Own gives the file of a socket that listens other owners and another mode, as if it had
// been made with them. Who is connected stays.
func (s *UnixSocket) Own(file SocketFile) error {
	fd, stat, err := openPath(s.path)
	if err != nil {
		return err
	}
	defer Close(fd)
	if stat.Dev != s.dev || stat.Ino != s.ino {
		return errors.New("there is another file by now")
	}
	return setOwners(fd, SocketFile{
		Mode: cmp.Or(file.Mode, s.born.Mode), User: cmp.Or(file.User, s.born.User), Group: cmp.Or(file.Group, s.born.Group),
	})
}

// IsAt reports whether the file at path is that of the socket.
func (s *UnixSocket) IsAt(path string) bool {
	var stat unix.Stat_t
	return s.path != "" && unix.Lstat(path, &stat) == nil && stat.Dev == s.dev && stat.Ino == s.ino
}

// openPath opens what is at a path, without following a link, to be changed by its descriptor.
func openPath(path string) (fd int, stat unix.Stat_t, err error) {
	if fd, err = unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return -1, stat, os.NewSyscallError("open", err)
	}
	if err := unix.Fstat(fd, &stat); err != nil {
		Close(fd)
		return -1, stat, os.NewSyscallError("fstat", err)
	}
	return fd, stat, nil
}

// setOwners gives a file that openPath has opened its owners and mode.
func setOwners(fd int, file SocketFile) error {
	if user, group := idOf(file.User), idOf(file.Group); user >= 0 || group >= 0 {
		if err := unix.Fchownat(fd, "", user, group, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("give socket to user %d, group %d (-1 = as it is): %w", user, group, err)
		}
	}
	if file.Mode == 0 {
		return nil
	}
	// fchmod(2) refuses a descriptor of a path; this is the way that open(2) gives.
	err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), uint32(file.Mode.Perm()))
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
	if s.IsAt(s.path) {
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
