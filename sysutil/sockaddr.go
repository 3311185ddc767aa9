package sysutil

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Sockaddr is an address in the kernel's own form: IPv4, IPv6 or Unix. It
// is a plain value; the zero value is no address.
type Sockaddr struct {
	raw [unix.SizeofSockaddrUnix]byte
	len uint32
}

// TCPSockaddr returns ap in the kernel's form. An IPv4-mapped IPv6 address
// becomes IPv4. A zone is ignored: sluice is configured with addresses, not with
// links.
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
	}
	binary.BigEndian.PutUint16(sa.raw[2:4], ap.Port())
	return sa
}

// UnixSockaddr returns the address of a Unix socket. A path is at most 107
// bytes long; a leading "@" means the abstract namespace, which has no file.
// See unix(7).
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
