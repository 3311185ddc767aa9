package l4

import "syscall"

const (
	// PipeSize is the capacity in bytes that is asked for each pipe where the user may have enough of them.
	PipeSize = 1 << 20
	// spliceLimit is how much one call may move into a pipe.
	spliceLimit = 1 << 20
)

// fill moves bytes from src into a pipe lent for the purpose. It reports false
// when this has to be done by copying: no pipe is to be had now, or the kernel
// cannot splice from this socket, or only a read can tell what comes next.
// errno is the failure of src.
//
// Splice never goes past the mark of urgent data: it answers EAGAIN there for
// ever, and 0 as at the end of the data once FIN has arrived.
//
// Invariant: the pipe is empty on entry, so EAGAIN means that src is empty.
func (l *loop) fill(h *half, src *end, turn int, errno *syscall.Errno) bool {
	pipe := l.pipes.Get()
	if pipe == nil {
		return false
	}
	n, err := pipe.FillFrom(int(src.fd), min(turn, spliceLimit))
	if n > 0 {
		h.pipe = pipe
		h.note(n)
		return true
	}
	l.pipes.Put(pipe)
	switch err {
	case 0:
		return false // FIN or urgent data, which a read goes past
	case syscall.EAGAIN:
		if src.ready&shortReadsLie != 0 {
			return false
		}
		src.ready &^= readable
	case syscall.EINVAL, syscall.ENOSYS, syscall.EPERM, syscall.EOPNOTSUPP:
		h.noSplice = true
		return false
	default:
		*errno = err
	}
	return true
}

// drain moves bytes from the pipe to dst, and gives the pipe back the moment
// it is empty.
func (l *loop) drain(h *half, dst *end) syscall.Errno {
	n, errno := h.pipe.DrainTo(int(dst.fd))
	h.bytes += uint64(n)
	switch errno {
	case 0:
	case syscall.EAGAIN:
		dst.ready &^= writable
	case syscall.EINVAL, syscall.ENOSYS, syscall.EPERM, syscall.EOPNOTSUPP:
		return l.spill(h)
	default:
		return errno
	}
	if h.pipe.Len() == 0 {
		l.pipes.Put(h.pipe)
		h.pipe = nil
	}
	return 0
}

// spill takes the bytes out of a pipe that cannot be spliced to the sink, so
// that they can be sent.
func (l *loop) spill(h *half) syscall.Errno {
	h.noSplice = true
	return l.unpipe(h)
}

// unpipe takes the bytes out of a pipe and holds on to them.
func (l *loop) unpipe(h *half) syscall.Errno {
	held := make([]byte, 0, h.pipe.Len())
	for h.pipe.Len() > 0 {
		n, errno := h.pipe.Read(held[len(held):cap(held)])
		if errno != 0 {
			return errno
		}
		held = held[:len(held)+n]
	}
	l.pipes.Put(h.pipe)
	h.pipe, h.held = nil, held
	return 0
}
