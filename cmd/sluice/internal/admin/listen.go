package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// ListenSocket opens the control socket at path. Only the owner of the process can connect to it. A socket file that
// nobody listens on any more is replaced; anything else at path is an error. Closing the listener removes the file.
func ListenSocket(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	config := net.ListenConfig{Control: ownerOnly}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, cause(err))
	}
	return l, nil
}

// ownerOnly gives a socket that is not bound yet the mode 0600. Linux makes the file with the mode of the socket's own
// inode, less the umask (unix_bind in net/unix/af_unix.c), so there is no moment at which others could connect, and the
// umask, which belongs to the whole process, stays as it is.
func ownerOnly(_, _ string, raw syscall.RawConn) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); controlErr != nil {
		return controlErr
	}
	return os.NewSyscallError("fchmod", err)
}

// removeStale removes a socket file left by a process that died. A live one answers and stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return cause(err)
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is not a socket")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return errors.New("another process, perhaps another sluice, listens there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return cause(err)
	}
	return os.Remove(path)
}

// cause returns the kernel's own error where there is one. What package net puts around it names the path once more.
func cause(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}
