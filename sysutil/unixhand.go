package sysutil

import (
	"os"

	"golang.org/x/sys/unix"
)

// A SocketIdentity says which file a Unix socket is bound to, so that another process that gets the socket knows its
// file. The zero value: it has none.
type SocketIdentity struct {
	Dev  uint64     `json:"dev,omitzero"`
	Ino  uint64     `json:"ino,omitzero"`
	Born SocketFile `json:"born,omitzero"` // what bind(2) has made: owners that are not set are these
}

// Identity returns which file the socket is bound to.
func (s *UnixSocket) Identity() SocketIdentity {
	if s.path == "" {
		return SocketIdentity{}
	}
	return SocketIdentity{Dev: s.dev, Ino: s.ino, Born: s.born}
}

// AdoptUnix makes a listening socket of another process, and the file that this process has at path, what ListenUnix has
// made there. Another file at path is left alone by all that is done with it.
func AdoptUnix(fd int, path string, file SocketIdentity) *UnixSocket {
	if file == (SocketIdentity{}) {
		path = ""
	}
	return &UnixSocket{FD: fd, path: path, dev: file.Dev, ino: file.Ino, born: file.Born}
}

// Duplicate returns another descriptor of what fd is open for. They share the status flags: neither may be made blocking
// while the other one is polled.
func Duplicate(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return n, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
}
