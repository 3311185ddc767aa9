package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"sluice/sysutil"
)

// ListenSocket opens the control socket at path. file says who may connect; without a mode only the owner may. A socket
// file that nobody listens on any more is replaced; anything else at path is an error. Closing the listener removes the
// file.
func ListenSocket(path string, file sysutil.SocketFile) (net.Listener, error) {
	s, err := sysutil.ListenUnix(path, ownersOnly(file))
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.New("another process, perhaps another sluice, listens there")
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := socketListenerOf(s, path, true)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// socketListenerOf makes a listener of a Unix socket, whose descriptor it takes over; owner: and its file.
func socketListenerOf(s *sysutil.UnixSocket, path string, owner bool) (*socketListener, error) {
	f := fileOf(s.FD, path)
	defer f.Close() // the listener has a descriptor of its own
	made, err := net.FileListener(f)
	if err != nil {
		if owner {
			s.RemoveFile()
		}
		return nil, err
	}
	l := &socketListener{UnixListener: made.(*net.UnixListener), file: s}
	l.owner.Store(owner)
	return l, nil
}

// fileOf makes a file of a socket, for package net. The socket must be non-blocking: package os makes it so otherwise, and
// blocking again on the way, for everybody who shares it.
func fileOf(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }

// ownersOnly lets the owner alone connect where nothing else is said.
func ownersOnly(file sysutil.SocketFile) sysutil.SocketFile {
	if file.Mode == 0 {
		file.Mode = 0o600
	}
	return file
}

// SetOwners changes who may connect to a socket of ListenSocket.
func SetOwners(l net.Listener, file sysutil.SocketFile) error {
	s, ok := l.(*socketListener)
	if !ok {
		return fmt.Errorf("set owners of %s: it is no control socket", l.Addr())
	}
	return s.file.Own(ownersOnly(file))
}

// A socketListener removes the socket's file when it is closed, if that is its own.
type socketListener struct {
	*net.UnixListener
	file  *sysutil.UnixSocket
	owner atomic.Bool // of the file; see Own
}

func (l *socketListener) Close() error {
	if l.owner.CompareAndSwap(true, false) {
		l.file.RemoveFile() // first: a successor may take the path at once
	}
	return l.UnixListener.Close()
}
