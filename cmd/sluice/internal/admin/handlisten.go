package admin

import (
	"fmt"
	"net"
	"syscall"

	"sluice/sysutil"
)

// Hand returns a descriptor of a listener, for another process: the caller closes it. Of a control socket it says which
// file it has too. The listener stays as it is. (net's own way, File, gives a descriptor whose Fd makes the socket
// blocking, which both processes would see.)
func Hand(l net.Listener) (fd int, file sysutil.SocketIdentity, err error) {
	opened, ok := l.(syscall.Conn)
	if !ok {
		return -1, file, fmt.Errorf("hand listener %s over: it has no descriptor", l.Addr())
	}
	raw, err := opened.SyscallConn()
	if err == nil {
		controlled := raw.Control(func(of uintptr) { fd, err = sysutil.Duplicate(int(of)) })
		if controlled != nil {
			err = controlled
		}
	}
	if err != nil {
		return -1, file, fmt.Errorf("hand listener %s over: %w", l.Addr(), err)
	}
	if s, ok := l.(*socketListener); ok {
		file = s.file.Identity()
	}
	return fd, file, nil
}

// Adopt makes a listener of a descriptor that another process has handed over, and takes it over, also on an error. One at
// a path is as those of ListenSocket are, but that its file stays when it is closed, until Own. path is where this process
// has the file, which is another place when each has its own file system; "" = where the socket was bound.
func Adopt(fd int, path string, file sysutil.SocketIdentity) (net.Listener, error) {
	address, bound, err := sysutil.AdoptListener(fd)
	if err != nil {
		sysutil.Close(fd)
		return nil, fmt.Errorf("adopt listener: %w", err)
	}
	if bound == "" {
		f := fileOf(fd, address.String())
		defer f.Close() // the listener has a descriptor of its own
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("adopt listener at %s: %w", address, err)
		}
		return l, nil
	}
	if path == "" {
		path = bound
	}
	l, err := socketListenerOf(sysutil.AdoptUnix(fd, path, file), path, false)
	if err != nil {
		return nil, fmt.Errorf("adopt listener at %s: %w", path, err)
	}
	return l, nil
}

// Own makes the file of a control socket this process's: it is removed when the listener is closed. Of other listeners
// there is none.
func Own(l net.Listener) { setOwner(l, true) }

// Disown leaves the file of a control socket to another process.
func Disown(l net.Listener) { setOwner(l, false) }

func setOwner(l net.Listener, owner bool) {
	if s, ok := l.(*socketListener); ok {
		s.owner.Store(owner)
	}
}
