package sysutil

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Sockaddr is an address in the kernel's own form: IPv4, IPv6 or Unix. It
// is a plain value; the zero value is no address.
type Sockaddr struct {
	raw [unix.SizeofSockaddrUnix]byte
	len uint32
}

// TCPSockaddr returns ap in the kernel's form. An IPv4-mapped IPv6 address becomes IPv4. A zone is the name or the
// number of an interface; of one that is not there the kernel says "invalid argument" (see sin6_scope_id in ipv6(7)).
func TCPSockaddr(ap netip.AddrPort) Sockaddr {
	var sa Sockaddr
	addr := ap.Addr().Unmap()
	if addr.Is4() {
		sa.setFamily(unix.AF_INET, unix.SizeofSockaddrInet4)
		ip := addr.As4()
		copy(sa.raw[4:8], ip[:])
	} else {
		sa.setFamily(unix.AF_INET6, unix.SizeofSockaddrInet6)
		ip := addr.As16()
		copy(sa.raw[8:24], ip[:])
		if zone := addr.Zone(); zone != "" {
			binary.NativeEndian.PutUint32(sa.raw[24:28], interfaceIndex(zone))
		}
	}
	binary.BigEndian.PutUint16(sa.raw[2:4], ap.Port())
	return sa
}

// interfaceIndex returns the number of an interface, 0 when there is none. It is asked for each time: an interface that
// is made anew has another one. See netdevice(7).
func interfaceIndex(zone string) uint32 {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	request, err := unix.NewIfreq(zone)
	if err != nil {
		return 0
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0
	}
	return request.Uint32()
}

// UnixSockaddr returns the address of a Unix socket. A path is at most 107 bytes long; a leading "@" means the abstract
// namespace, which has no file. See unix(7).
func UnixSockaddr(path string) (Sockaddr, error) {
	var sa Sockaddr
	if path == "" || len(path) > len(sa.raw)-3 {
		return sa, fmt.Errorf("use unix socket path %q: must have 1 to %d bytes", path, len(sa.raw)-3)
	}
	sa.setFamily(unix.AF_UNIX, uint32(2+len(path)+1))
	copy(sa.raw[2:], path)
	if isAbstract(path) {
		sa.raw[2] = 0
		sa.len-- // every byte counts there, a final NUL too
	}
	return sa, nil
}

func isAbstract(path string) bool { return path[0] == '@' }

func (sa *Sockaddr) setFamily(family uint16, length uint32) {
	binary.NativeEndian.PutUint16(sa.raw[:2], family)
	sa.len = length
}

func (sa *Sockaddr) family() int {
	return int(binary.NativeEndian.Uint16(sa.raw[:2]))
}

// AddrPort returns the IP address and port; invalid for a Unix address. An
// IPv4-mapped IPv6 address, as a dual-stack listener sees it, becomes IPv4.
func (sa *Sockaddr) AddrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(sa.raw[2:4])
	switch sa.family() {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa.raw[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(sa.raw[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

func (sa *Sockaddr) isInternet() bool {
	return sa.family() == unix.AF_INET || sa.family() == unix.AF_INET6
}
