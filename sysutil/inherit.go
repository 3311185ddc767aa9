package sysutil

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// AdoptListener makes a listening socket that this process was started with fit to be served: CLOEXEC, NONBLOCK and,
// for TCP, without Nagle's algorithm. It returns where the socket listens: path for a Unix socket, which has a leading
// "@" in the abstract namespace, and otherwise address, which is invalid but for its port where both families are
// meant, as for ListenTCP. On an error the descriptor is as it was, but for its flags.
func AdoptListener(fd int) (address netip.AddrPort, path string, err error) {
	if err := setFlags(fd); err != nil {
		return address, "", err
	}
	kind, err := getInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case errors.Is(err, unix.ENOTSOCK):
		return address, "", errors.New("it is not a socket")
	case err != nil:
		return address, "", err
	case kind != unix.SOCK_STREAM:
		return address, "", errors.New("it is not a stream socket")
	}
	if listens, err := getInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
		return address, "", errors.Join(errors.New("it does not listen"), err)
	}
	return listenAddr(fd)
}

// listenAddr returns where a listening socket listens.
func listenAddr(fd int) (address netip.AddrPort, path string, err error) {
	var sa Sockaddr
	if errno := sa.local(fd); errno != 0 {
		return address, "", os.NewSyscallError("getsockname", errno)
	}
	if path := sa.unixPath(); path != "" {
		return address, path, nil
	}
	if address = sa.AddrPort(); !address.IsValid() {
		return address, "", errors.New("it has neither an address of IP nor a path")
	}
	if errno := SetNoDelay(fd); errno != 0 {
		return address, "", os.NewSyscallError("setsockopt TCP_NODELAY", errno)
	}
	if sa.family() != unix.AF_INET6 {
		return address, "", nil
	}
	if index := binary.NativeEndian.Uint32(sa.raw[24:28]); index != 0 {
		return netip.AddrPortFrom(address.Addr().WithZone(zoneName(int(index))), address.Port()), "", nil
	}
	only, err := getInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	if err == nil && only == 0 && address.Addr().IsUnspecified() {
		address = netip.AddrPortFrom(netip.Addr{}, address.Port())
	}
	return address, "", err
}

// zoneName is the opposite of interfaceIndex.
func zoneName(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index) // it has gone
}

func setFlags(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return os.NewSyscallError("fcntl F_SETFD", err)
	}
	return os.NewSyscallError("fcntl F_SETFL", unix.SetNonblock(fd, true))
}

func getInt(fd, level, option int) (int, error) {
	value, err := unix.GetsockoptInt(fd, level, option)
	return value, os.NewSyscallError("getsockopt", err)
}

// unixPath returns the path of a Unix socket; "" for none and for other families.
func (sa *Sockaddr) unixPath() string {
	if sa.family() != unix.AF_UNIX || sa.len <= 2 {
		return ""
	}
	if sa.raw[2] == 0 { // abstract: every byte counts
		return "@" + string(sa.raw[3:sa.len])
	}
	return unix.ByteSliceToString(sa.raw[2:sa.len])
}

// Monotonic is the time of CLOCK_MONOTONIC, which is the same in every process and stands
// still while the machine sleeps. See clock_gettime(2).
func Monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(now.Nano())
}
