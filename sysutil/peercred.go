package sysutil

import "golang.org/x/sys/unix"

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
