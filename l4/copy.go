package l4

import (
	"syscall"

	"sluice/sysutil"
)

// receive reads once from src into buf, and notes what the result says of src.
func receive(h *half, src *end, buf []byte) (int, syscall.Errno) {
	n, errno := sysutil.Recv(int(src.fd), buf)
	switch {
	case errno == syscall.EAGAIN:
		src.ready &^= readable
		return 0, 0
	case errno != 0:
		return 0, errno
	case n == 0:
		h.eof = true
	case n < len(buf):
		src.drained(h)
	}
	return n, 0
}

// drained is called after a read that returned less than it had room for: the
// receive queue was empty then. Whatever comes later is a new edge. But a FIN
// that was there before the read brings none: it is the end of the data. After
// a reset, or where short reads lie, only another read can tell.
func (src *end) drained(h *half) {
	switch src.ready & (peerClosed | failed | shortReadsLie) {
	case 0:
		src.ready &^= readable
	case peerClosed:
		h.eof = true
	}
}

// send writes as much of data as dst takes now. Less than all means that the
// socket's buffer is full; the kernel reports when it has room again, as after
// EAGAIN (epoll(7), "Possible pitfalls").
func send(dst *end, data []byte) (int, syscall.Errno) {
	n, errno := sysutil.Send(int(dst.fd), data)
	if errno == syscall.EAGAIN {
		n, errno = 0, 0
	}
	if errno == 0 && n < len(data) {
		dst.ready &^= writable
	}
	return n, errno
}

// deliver sends data, and holds on to what dst does not take.
func (l *loop) deliver(h *half, dst *end, data []byte) syscall.Errno {
	if len(data) == 0 {
		return 0
	}
	n, errno := send(dst, data)
	if errno != 0 {
		return errno
	}
	h.bytes += uint64(n)
	if n < len(data) {
		h.held = append(l.buffers.get(), data[n:]...)
	}
	return 0
}

// A bufferPool keeps a few buffers for bytes that a sink did not take. It
// belongs to one loop.
type bufferPool struct {
	free [][]byte
}

const keepBuffers = 16

func (p *bufferPool) get() []byte {
	if last := len(p.free) - 1; last >= 0 {
		buf := p.free[last]
		p.free = p.free[:last]
		return buf[:0]
	}
	return make([]byte, 0, scratchSize)
}

func (p *bufferPool) put(buf []byte) {
	if len(p.free) < keepBuffers && cap(buf) == scratchSize {
		p.free = append(p.free, buf)
	}
}
