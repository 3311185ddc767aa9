package systest

import (
	"syscall"
	"testing"
)

// ReservePort returns a port of 127.0.0.1 that belongs to the test until it is over. A program that sets SO_REUSEADDR,
// as servers do, can listen there, again and again; while none does, connects are refused. Nothing else gets the port,
// neither a bind to port 0 nor a connect that needs a local port.
func ReservePort(t testing.TB) int {
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
	return address.(*syscall.SockaddrInet4).Port
}
