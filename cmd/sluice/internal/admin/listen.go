package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
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
	f := os.NewFile(uintptr(s.FD), path)
	defer f.Close() // the listener has a descriptor of its own
	l, err := net.FileListener(f)
	if err != nil {
		s.RemoveFile()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &socketListener{Listener: l, file: s, remove: sync.OnceFunc(s.RemoveFile)}, nil
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

// A socketListener removes the socket's file when it is closed.
type socketListener struct {
	net.Listener
	file   *sysutil.UnixSocket
	remove func()
}

func (l *socketListener) Close() error {
	l.remove() // first: a successor may take the path at once
	return l.Listener.Close()
}
