package sysutil

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// backlog asks for the longest queue of connections not yet accepted; the
// kernel lowers it to net.core.somaxconn. See listen(2).
const backlog = 65535

// ListenTCP returns a listening socket on ap. An invalid address stands for every address of both families; "::" means
// IPv6 only, so that "0.0.0.0" and "::" can be bound side by side. Port 0 lets the kernel choose.
//
// Sockets accepted from it inherit TCP_NODELAY.
func ListenTCP(ap netip.AddrPort) (int, error) { return listenAt(ap, false) }

// ListenFreebind is ListenTCP for an address that this machine may not have yet,
// such as a floating one. See IP_FREEBIND in ip(7).
func ListenFreebind(ap netip.AddrPort) (int, error) { return listenAt(ap, true) }

func listenAt(ap netip.AddrPort, free bool) (int, error) {
	if zone := ap.Addr().Zone(); zone != "" && interfaceIndex(zone) == 0 {
		return -1, fmt.Errorf("no interface %s on this machine", zone)
	}
	if ap.Addr().IsValid() {
		return listenTCP(TCPSockaddr(ap), true, free)
	}
	fd, err := listenTCP(TCPSockaddr(netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port())), false, free)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return listenTCP(TCPSockaddr(netip.AddrPortFrom(netip.IPv4Unspecified(), ap.Port())), false, free)
	}
	return fd, err
}

func listenTCP(sa Sockaddr, v6only, free bool) (_ int, err error) {
	fd, err := streamSocket(sa.family())
	if err != nil {
		return -1, err
	}
	defer closeOnError(fd, &err)
	// A restart must not wait for the TIME_WAIT of the old process's connections; see SO_REUSEADDR in socket(7).
	if errno := setInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); errno != 0 {
		return -1, os.NewSyscallError("setsockopt SO_REUSEADDR", errno)
	}
	if sa.family() == unix.AF_INET6 {
		if errno := setInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, boolInt(v6only)); errno != 0 {
			return -1, os.NewSyscallError("setsockopt IPV6_V6ONLY", errno)
		}
	}
	if free {
		if errno := setFreebind(fd, sa.family()); errno != 0 {
			return -1, os.NewSyscallError("setsockopt IP_FREEBIND", errno)
		}
	}
	if errno := SetNoDelay(fd); errno != 0 {
		return -1, os.NewSyscallError("setsockopt TCP_NODELAY", errno)
	}
	return fd, bindAndListen(fd, &sa)
}

func setFreebind(fd, family int) syscall.Errno {
	if family == unix.AF_INET6 {
		return setInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	}
	return setInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
}

func streamSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

func bindAndListen(fd int, sa *Sockaddr) error {
	if errno := bind(fd, sa); errno != 0 {
		return os.NewSyscallError("bind", errno)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, backlog))
}

func closeOnError(fd int, err *error) {
	if *err != nil {
		Close(fd)
	}
}

func boolInt(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func bind(fd int, sa *Sockaddr) syscall.Errno {
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.len))
	return errno
}
