package probe

import (
	"errors"
	"syscall"
)

// Local reports whether a probe failed for want of something on this machine: descriptors, memory, a local port. A
// balancer at its limits must not take that for the death of every backend.
func Local(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
