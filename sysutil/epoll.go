package sysutil

import (
	"fmt"
	"math"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ready is a set of readiness bits as epoll reports them.
type Ready uint32

// The bits of Ready that matter here. See epoll_ctl(2).
const (
	Readable Ready = unix.EPOLLIN
	Writable Ready = unix.EPOLLOUT
	// Urgent: urgent data is in the stream, at which reads stop short.
	Urgent Ready = unix.EPOLLPRI
	// PeerClosed: the peer has sent FIN; what it sent before is still to be read.
	PeerClosed Ready = unix.EPOLLRDHUP
	// HungUp: both directions are shut down, by a reset or by two FINs.
	HungUp Ready = unix.EPOLLHUP
	// Failed: the socket holds an error (SO_ERROR).
	Failed Ready = unix.EPOLLERR
)

// An Event says that the descriptor registered with Token became ready.
type Event struct {
	Token uint64
	Ready Ready
}

// A Poller is one epoll instance. Wait is for one goroutine; the other methods may be called from any.
type Poller struct {
	fd  int
	raw []unix.EpollEvent
}

// heldWait is how long Wait waits without telling the Go scheduler. A loop with work has its next event sooner; if
// every such pause were announced, the runtime would take the loop's P away every 10 ms, and its monitor thread would
// poll at 20 us intervals: measured, a tenth to a fifth of the CPU of a bulk stream. The price is a P that does nothing
// for that long when the work ends.
const heldWait = 4 * time.Millisecond

// NewPoller returns a Poller that takes at most batch events from the kernel at a time.
func NewPoller(batch int) (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &Poller{fd: fd, raw: make([]unix.EpollEvent, batch)}, nil
}

// AddConnecting registers a socket once for its whole life: edge-triggered, both directions, and the peer's FIN. Only a
// stream whose sink is full needs a further epoll_ctl: see IgnoreInput.
func (p *Poller) AddConnecting(fd int, token uint64) syscall.Errno {
	return p.control(unix.EPOLL_CTL_ADD, fd, token, sessionEvents|inputEvents)
}

// AddConnected is AddConnecting for a socket that can be written to already. It is not told so, which would be an event
// for every connection. Before anybody waits for it to become writable, Heed must be called.
func (p *Poller) AddConnected(fd int, token uint64) syscall.Errno {
	return p.control(unix.EPOLL_CTL_ADD, fd, token, (sessionEvents|inputEvents)&^unix.EPOLLOUT)
}

const (
	sessionEvents = unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	inputEvents   = unix.EPOLLIN | unix.EPOLLPRI
)

// IgnoreInput stops events for data that arrives at a session's socket; everything else is still reported. See EPOLL_CTL_MOD in epoll_ctl(2).
func (p *Poller) IgnoreInput(fd int, token uint64) syscall.Errno {
	return p.control(unix.EPOLL_CTL_MOD, fd, token, sessionEvents)
}

// Heed asks for all events, after IgnoreInput or AddConnected. What the socket is ready for already is reported.
func (p *Poller) Heed(fd int, token uint64) syscall.Errno {
	return p.control(unix.EPOLL_CTL_MOD, fd, token, sessionEvents|inputEvents)
}

// AddListener registers a listening socket that several pollers share. It is level-triggered, so that a loop may leave
// connections in the queue, and EPOLLEXCLUSIVE, so that a connection does not wake every loop (epoll_ctl(2)): it wakes one,
// those first that were registered first. AddReadable registers one that is woken for every connection, whoever else is.
func (p *Poller) AddListener(fd int, token uint64) syscall.Errno {
	return p.control(unix.EPOLL_CTL_ADD, fd, token, unix.EPOLLIN|unix.EPOLLEXCLUSIVE)
}

// AddReadable registers fd, level-triggered, for reading.
func (p *Poller) AddReadable(fd int, token uint64) syscall.Errno {
	return p.control(unix.EPOLL_CTL_ADD, fd, token, unix.EPOLLIN)
}

func (p *Poller) control(operation, fd int, token uint64, events uint32) syscall.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), uintptr(operation), uintptr(fd),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
	return errno
}

// Remove forgets fd. Closing a descriptor that was never duplicated does the same, so sessions do not call it.
func (p *Poller) Remove(fd int) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_DEL, uintptr(fd), 0, 0, 0)
	return errno
}

// Wait fills dst with the events at hand and returns their number. With none at hand it waits up to timeout: negative
// waits for ever, zero not at all. A signal ends the wait early with no event. See epoll_wait(2).
func (p *Poller) Wait(dst []Event, timeout time.Duration) (int, error) {
	limit := min(len(dst), len(p.raw))
	held := timeout
	if timeout < 0 || timeout > heldWait {
		held = heldWait
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p.raw))),
		uintptr(limit), uintptr(milliseconds(held)), 0, 0)
	if n == 0 && errno == 0 && held != timeout {
		// The scheduler is told: other goroutines get the P.
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p.raw))),
			uintptr(limit), uintptr(milliseconds(max(timeout-held, -1))), 0, 0)
	}
	if errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, fmt.Errorf("wait for epoll: %w", errno)
	}
	p.take(dst[:n])
	return int(n), nil
}

// ReadyNow returns what two sockets are ready for at this moment, whatever a Poller has told of them. A negative
// descriptor is ready for nothing. See poll(2), whose bits are those of epoll.
func ReadyNow(a, b int32) (ready [2]Ready) {
	fds := [2]unix.PollFd{{Fd: a, Events: pollEvents}, {Fd: b, Events: pollEvents}}
	var none unix.Timespec
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), uintptr(len(fds)),
			uintptr(unsafe.Pointer(&none)), 0, 0, 0)
		if errno != unix.EINTR {
			return [2]Ready{Ready(uint16(fds[0].Revents)), Ready(uint16(fds[1].Revents))}
		}
	}
}

const pollEvents = unix.POLLIN | unix.POLLPRI | unix.POLLOUT | unix.POLLRDHUP

// take copies the events that the kernel has just put into raw.
func (p *Poller) take(dst []Event) {
	for i := range dst {
		raw := &p.raw[i]
		dst[i] = Event{
			Token: uint64(uint32(raw.Fd)) | uint64(uint32(raw.Pad))<<32,
			Ready: Ready(raw.Events),
		}
	}
}

// Close releases the epoll instance.
func (p *Poller) Close() error {
	return unix.Close(p.fd)
}

// milliseconds rounds up, so that a timer is not asked for before it is due.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(min((d+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
}
