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
	l, err := socketListenerOf(s, path)
	if err != nil {
		s.RemoveFile()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.owner.Store(true)
	return l, nil
}

// socketListenerOf makes a listener of a socket, whose descriptor it takes over. The file is not its own yet.
func socketListenerOf(s *sysutil.UnixSocket, path string) (*socketListener, error) {
	l, err := listenerOf(s.FD, path)
	if err != nil {
		return nil, err
	}
	unix, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("the socket listens at %s, which is no path", l.Addr())
	}
	return &socketListener{UnixListener: unix, file: s}, nil
}

// listenerOf makes a listener of a descriptor, which it takes over. It must be non-blocking: package os makes it so
// otherwise, and blocking again on the way, for everybody who shares the socket.
func listenerOf(fd int, name string) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() // the listener has a descriptor of its own
	return net.FileListener(f)
}

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
