package sysutil

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Waker ends another goroutine's Poller.Wait. It carries no message: that lies in the owner's inbox. See eventfd(2).
type Waker struct {
	fd int
}

// NewWaker returns a Waker; register Fd with the poller to be woken.
func NewWaker() (*Waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	return &Waker{fd: fd}, nil
}

// Fd is the descriptor that becomes readable after Wake.
func (w *Waker) Fd() int { return w.fd }

// Wake makes the descriptor readable. It cannot fail in a way that matters:
// EAGAIN means that 2^64-2 wakes are pending, so it is readable already.
func (w *Waker) Wake() {
	one := uint64(1)
	unix.RawSyscall(unix.SYS_WRITE, uintptr(w.fd), uintptr(unsafe.Pointer(&one)), 8)
}

// Clear makes the descriptor unreadable until the next Wake.
func (w *Waker) Clear() {
	var count uint64
	unix.RawSyscall(unix.SYS_READ, uintptr(w.fd), uintptr(unsafe.Pointer(&count)), 8)
}

// Close releases the descriptor.
func (w *Waker) Close() error { return unix.Close(w.fd) }
