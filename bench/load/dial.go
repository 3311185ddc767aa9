package load

import (
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"sluice/sysutil"
)

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT: bind(2) fixes the address only and connect(2) chooses the port, so
// that a port in TIME_WAIT with one destination is free for another. Package syscall does not name it.
const ipBindAddressNoPort = 24

// A dialer opens client connections to one address. With sources it spreads them over 127.0.0.2 and the addresses after
// it, because all ports of one address to one destination are used up after 28,000 short connections.
type dialer struct {
	to      sysutil.Sockaddr
	target  netip.AddrPort
	sources int
	next    atomic.Uint32
}

func newDialer(target netip.AddrPort, sources int) *dialer {
	return &dialer{to: sysutil.TCPSockaddr(target), target: target, sources: sources}
}

// dial starts a connection; the socket becomes writable when it is decided.
func (d *dialer) dial() (fd int, err error) {
	if d.sources == 0 {
		fd, errno := sysutil.Connect(&d.to)
		if errno != 0 {
			return -1, os.NewSyscallError("connect", errno)
		}
		return fd, nil
	}
	n := d.next.Add(1) % uint32(d.sources)
	return d.dialFrom([4]byte{127, 0, 0, byte(2 + n)})
}

func (d *dialer) dialFrom(source [4]byte) (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			sysutil.Close(fd)
		}
	}()
	sysutil.SetNoDelay(fd)
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1); err != nil {
		return fd, os.NewSyscallError("setsockopt IP_BIND_ADDRESS_NO_PORT", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: source}); err != nil {
		return fd, os.NewSyscallError("bind", err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Addr: d.target.Addr().As4(), Port: int(d.target.Port())})
	if err != nil && err != syscall.EINPROGRESS {
		return fd, os.NewSyscallError("connect", err)
	}
	return fd, nil
}
