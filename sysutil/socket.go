package sysutil

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Accept takes one connection from a listening socket: its descriptor and the peer's address, which is invalid for a
// Unix socket. EAGAIN: none waits. See accept4(2).
func Accept(listener int) (fd int, peer netip.AddrPort, errno syscall.Errno) {
	var sa Sockaddr
	sa.len = uint32(len(sa.raw))
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&sa.raw)),
		uintptr(unsafe.Pointer(&sa.len)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(r), sa.AddrPort(), 0
}

// Connect opens a socket and starts to connect it. With errno zero the connection is made or under way: the socket
// becomes writable when it is decided, and SocketError tells how. On an error nothing stays open. A Unix socket whose
// backlog is full answers EAGAIN. See connect(2).
func Connect(to *Sockaddr) (fd int, errno syscall.Errno) {
	if fd, errno = newConnector(to); errno != 0 {
		return -1, errno
	}
	return connect(fd, to)
}

// ConnectFrom is Connect from an address of this machine. The kernel chooses the port when it knows where to, so that
// one port serves for every destination (IP_BIND_ADDRESS_NO_PORT in ip(7)). EADDRNOTAVAIL: no port is left for this
// destination, or the address is not of this machine.
func ConnectFrom(from, to *Sockaddr) (fd int, errno syscall.Errno) {
	if fd, errno = newConnector(to); errno != 0 {
		return -1, errno
	}
	if errno = BindAddressOnly(fd); errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&from.raw)), uintptr(from.len))
	}
	if errno != 0 {
		Close(fd)
		return -1, errno
	}
	return connect(fd, to)
}

// BindAddressOnly makes bind(2) leave the choice of a port to connect(2).
func BindAddressOnly(fd int) syscall.Errno {
	return setInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// newConnector opens a socket of the family of to.
func newConnector(to *Sockaddr) (fd int, errno syscall.Errno) {
	r, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(to.family()),
		unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	if to.isInternet() {
		SetNoDelay(int(r))
	}
	return int(r), 0
}

func connect(fd int, to *Sockaddr) (int, syscall.Errno) {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), uintptr(to.len))
	if errno != 0 && errno != unix.EINPROGRESS {
		Close(fd)
		return -1, errno
	}
	return fd, 0
}

// IsConnected reports whether the connection of a socket from Connect is made. See ENOTCONN in getpeername(2).
func IsConnected(fd int) bool {
	var sa Sockaddr
	sa.len = uint32(len(sa.raw))
	_, _, errno := unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)),
		uintptr(unsafe.Pointer(&sa.len)))
	return errno == 0
}

// SetNoDelay turns Nagle's algorithm off: a balancer must not hold back what
// the sender chose to send. Accepted sockets inherit it from the listener.
func SetNoDelay(fd int) syscall.Errno {
	return setInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

func setInt(fd, level, option int, value int32) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&value)), 4, 0)
	return errno
}

// SocketError takes and clears the pending error of a socket (SO_ERROR in socket(7)); zero means none.
func SocketError(fd int) syscall.Errno {
	var value int32
	length := uint32(4)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return syscall.Errno(value)
}

// LocalAddr returns the address a socket is bound to; invalid for a Unix socket. See getsockname(2).
func LocalAddr(fd int) (netip.AddrPort, syscall.Errno) {
	var sa Sockaddr
	if errno := sa.local(fd); errno != 0 {
		return netip.AddrPort{}, errno
	}
	return sa.AddrPort(), 0
}

// local makes sa the address that a socket is bound to.
func (sa *Sockaddr) local(fd int) syscall.Errno {
	sa.len = uint32(len(sa.raw))
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)),
		uintptr(unsafe.Pointer(&sa.len)))
	return errno
}

// Recv reads what has arrived. n == 0 with errno zero means that the peer has
// sent FIN and all before it was read. See recv(2).
func Recv(fd int, p []byte) (n int, errno syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), 0, 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Peek is Recv that leaves what it reads where it is. See MSG_PEEK in recv(2).
func Peek(fd int, p []byte) (n int, errno syscall.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), unix.MSG_PEEK, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

func read(fd int, p []byte) (n int, errno syscall.Errno) {
	r, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// Send writes as much of p as the socket takes; EAGAIN means nothing. A
// closed peer is EPIPE or ECONNRESET, never a signal. See send(2).
func Send(fd int, p []byte) (n int, errno syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// CloseWrite sends FIN after everything sent so far; reading goes on. See shutdown(2).
func CloseWrite(fd int) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return errno
}

// Close closes a descriptor. What the peer has not acknowledged yet is still delivered; unread input turns the FIN into
// a reset (RFC 2525, 2.17). The descriptor is gone whatever close(2) returns, so nothing is returned.
func Close(fd int) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// Reset closes a TCP connection with RST: the peer sees an error, not an end
// of data, and no TIME_WAIT is left. See SO_LINGER in socket(7).
func Reset(fd int) {
	linger := unix.Linger{Onoff: 1, Linger: 0}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER,
		uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
	Close(fd)
}
