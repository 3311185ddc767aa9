package e2e

import (
	"net/netip"
	"syscall"
	"testing"
)

// reservePorts is systest.ReservePort for several addresses: it returns a port that is the test's own at each of them.
func reservePorts(t *testing.T, hosts ...string) int {
	t.Helper()
	for range 100 {
		if port := tryPorts(t, hosts); port != 0 {
			return port
		}
	}
	t.Fatalf("no port is free at all of %v", hosts)
	return 0
}

// tryPorts takes any port of the first address, and returns 0 if it is in use at another one.
func tryPorts(t *testing.T, hosts []string) (port int) {
	t.Helper()
	var held []int
	for _, host := range hosts {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, fd)
		at := &syscall.SockaddrInet4{Addr: netip.MustParseAddr(host).As4(), Port: port}
		if err := syscall.Bind(fd, at); err == syscall.EADDRINUSE {
			closeAll(held)
			return 0
		} else if err != nil {
			t.Fatalf("bind to %s: %v", host, err)
		}
		// Only now, see systest.ReservePort.
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
			t.Fatal(err)
		}
		address, err := syscall.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		port = address.(*syscall.SockaddrInet4).Port
	}
	t.Cleanup(func() { closeAll(held) })
	return port
}

func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}
