package sysutil

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetDeadPeer makes a TCP connection fail with ETIMEDOUT when its peer acknowledges nothing for so long: neither data
// that was sent to it (TCP_USER_TIMEOUT) nor, while nothing is, keepalives, of which three are sent at least. The
// timeout is 5 s or more. See tcp(7).
func SetDeadPeer(fd int, timeout time.Duration) syscall.Errno {
	const longest = 32767 // seconds: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL
	seconds := int32(min(timeout/time.Second, 5*longest))
	for _, option := range [...]struct {
		level, name int
		value       int32
	}{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		// The last keepalive goes unanswered when the time is over: probes at 2/5, 3/5, 4/5 and 5/5 of it.
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, min(max(seconds*2/5, 1), longest)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(seconds/5, 1)},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int32(min(timeout.Milliseconds(), 1<<31-1))},
	} {
		if errno := setInt(fd, option.level, option.name, option.value); errno != 0 {
			return errno
		}
	}
	return 0
}

// SetUserTimeout sets only the bound on data that is not acknowledged, or lifts it with 0.
//
// The kernel counts a peer that answers but has closed its window, because whoever reads there takes a break, as one
// that does not answer (tcp_probe_timer). Whoever wants to keep such a peer has to lift the bound.
func SetUserTimeout(fd int, timeout time.Duration) syscall.Errno {
	return setInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int32(min(timeout.Milliseconds(), 1<<31-1)))
}

// Delivery is how the peer of a TCP connection takes what it is sent.
type Delivery struct {
	Owed       int           // bytes it has yet to acknowledge, those that wait for its window included
	Unanswered int           // retransmissions and window probes since it last answered
	Silent     time.Duration // since it last answered anything
}

// Owed returns how many bytes given to a socket its peer has yet to take: on TCP to acknowledge, a FIN that was sent
// counting as one (SIOCOUTQ in tcp(7)); on a Unix socket to read, with what the kernel needs to hold them.
func Owed(fd int) (int, syscall.Errno) {
	var queued int32
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&queued)))
	return int(queued), errno
}

// DeliveryOf returns the state of a connection. The other figures are zero when
// nothing is owed. See SIOCOUTQ and TCP_INFO in tcp(7).
func DeliveryOf(fd int) (d Delivery, errno syscall.Errno) {
	queued, errno := Owed(fd)
	if errno != 0 || queued == 0 {
		return Delivery{}, errno
	}
	var info unix.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return Delivery{
		Owed: queued, Unanswered: int(info.Retransmits) + int(info.Probes),
		Silent: time.Duration(info.Last_ack_recv) * time.Millisecond,
	}, errno
}
