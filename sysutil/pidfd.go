package sysutil

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// PIDFile returns a pidfd of this process: it means the process also where its number means nothing or another one, in
// another namespace or later. It is CLOEXEC. See pidfd_open(2).
func PIDFile() (fd int, err error) {
	fd, err = unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return -1, fmt.Errorf("open pidfd: %w", err)
	}
	return fd, nil
}

// Exited reports whether the process of a pidfd has ended; it waits for that, up to wait. A process that has ended and
// was not waited for by its parent counts. What is no pidfd has not ended. A thread waits meanwhile.
func Exited(pidfd int, wait time.Duration) bool {
	end := time.Now().Add(wait)
	for {
		// A pidfd is readable from the end of its process on.
		set := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		left := unix.NsecToTimespec(int64(max(0, time.Until(end))))
		_, err := unix.Ppoll(set, &left, nil)
		if err != unix.EINTR {
			return err == nil && set[0].Revents&unix.POLLIN != 0
		}
	}
}
