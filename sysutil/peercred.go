package sysutil

import "golang.org/x/sys/unix"

// PeerUser returns the user of the process that has connected a Unix socket, as it was when it did. See SO_PEERCRED in
// unix(7).
func PeerUser(fd int) (uid uint32, err error) {
	of, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return of.Uid, nil
}
