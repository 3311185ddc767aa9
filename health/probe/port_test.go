package probe

import (
	"syscall"
	"testing"
)

// reservePort returns a port of 127.0.0.1 that belongs to the test until it is over: a program that sets SO_REUSEADDR,
// as servers do, can listen there, and nothing else gets it.
func reservePort(t *testing.T) uint16 {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	// Only now: a bind to port 0 may share a port that is in use, among sockets that allow it.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(address.(*syscall.SockaddrInet4).Port)
}

// freePorts is reservePort for n of them.
func freePorts(t *testing.T, n int) []uint16 {
	t.Helper()
	ports := make([]uint16, n)
	for i := range ports {
		ports[i] = reservePort(t)
	}
	return ports
}
