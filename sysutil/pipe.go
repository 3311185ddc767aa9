package sysutil

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Pipe carries bytes from one socket to another inside the kernel. It belongs to one goroutine.
//
// Its capacity is nominal: splice(2) moves whole socket-buffer fragments, so more bytes can lie in a pipe than
// F_GETPIPE_SZ says. Len counts what the calls returned and is the only truth.
type Pipe struct {
	r, w int
	n    int
}

// Len is the number of bytes in the pipe.
func (p *Pipe) Len() int { return p.n }

// FillFrom moves up to limit bytes from a socket into the pipe. n == 0 with errno zero means that the peer has sent
// FIN, or urgent data with a FIN behind it. EAGAIN means that the socket is empty, the pipe is full, or urgent data is
// next. Only an empty pipe, and then a read, tell these apart. EINVAL means that the kernel cannot splice from this
// socket: copy instead. See splice(2).
func (p *Pipe) FillFrom(fd, limit int) (n int, errno syscall.Errno) {
	n, errno = splice(fd, p.w, limit)
	p.n += n
	return n, errno
}

// DrainTo moves bytes from the pipe to a socket; EAGAIN means that the socket
// takes none now. The pipe must not be empty.
func (p *Pipe) DrainTo(fd int) (n int, errno syscall.Errno) {
	n, errno = splice(p.r, fd, p.n)
	p.n -= n
	return n, errno
}

// Read takes bytes out of the pipe into buf: for a sink that the kernel
// cannot splice to. EAGAIN means that the pipe is empty.
func (p *Pipe) Read(buf []byte) (n int, errno syscall.Errno) {
	n, errno = read(p.r, buf)
	p.n -= n
	return n, errno
}

func (p *Pipe) close() {
	Close(p.r)
	Close(p.w)
}

// refused, when not zero, is what splice answers instead of asking the kernel. Only RefuseSplice sets it.
var refused atomic.Uint32

// RefuseSplice makes every splice fail with errno until restore is called, so that tests of the packages above see a
// kernel that cannot splice (as with a kTLS socket or a filtered system call).
func RefuseSplice(errno syscall.Errno) (restore func()) {
	refused.Store(uint32(errno))
	return func() { refused.Store(0) }
}

// splice never asks for SPLICE_F_MORE: it would hold back the last segment of
// a message for 200 ms (golang.org/issue/10948).
func splice(from, to, limit int) (int, syscall.Errno) {
	if errno := refused.Load(); errno != 0 {
		return 0, syscall.Errno(errno)
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(limit),
			unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR { // the runtime's preemption signal, for one
			return 0, errno
		}
	}
}
