package sysutil

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A Peer is a process at the other end of a Unix socket.
type Peer struct {
	PID      int // 0 if the process is none of this one's namespace
	UID, GID uint32
}

// PeerProcess returns who has connected a Unix socket, as it was when it did. To the one who connects, the peer is who
// called listen(2). See SO_PEERCRED in unix(7).
func PeerProcess(fd int) (Peer, error) {
	of, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	return Peer{PID: int(of.Pid), UID: of.Uid, GID: of.Gid}, nil
}

// PeerUser returns the user of PeerProcess.
func PeerUser(fd int) (uid uint32, err error) {
	peer, err := PeerProcess(fd)
	return peer.UID, err
}

// PeerPIDFile returns a pidfd, CLOEXEC, of the process that has connected a Unix socket: of none other that has its number
// by now. Before Linux 6.5 the kernel cannot say so (SO_PEERPIDFD), and it is of the process that has the number.
func PeerPIDFile(fd int) (pidfd int, err error) {
	if pidfd, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
		return pidfd, nil
	}
	peer, err := PeerProcess(fd)
	if err == nil {
		pidfd, err = unix.PidfdOpen(peer.PID, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("open pidfd of the peer: %w", err)
	}
	return pidfd, nil
}
