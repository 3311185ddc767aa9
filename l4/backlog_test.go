package l4

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"sluice/pool"
)

// A backlog is a listening socket whose queue is full: the kernel drops every
// further SYN, so a connect to it gets no answer.
type backlog struct {
	fd      int
	address pool.Address
}

func newBacklog(t *testing.T) *backlog {
	t.Helper()
	b := &backlog{}
	b.fd, b.address = boundSocket(t)
	if err := syscall.Listen(b.fd, 0); err != nil {
		t.Fatal(err)
	}
	for queued, limit := b.queue(t); queued <= limit; queued, limit = b.queue(t) {
		c, err := net.Dial("tcp", b.address.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	return b
}

// queue returns how many connections wait to be accepted, and the limit; the
// kernel tells in tcpi_unacked and tcpi_sacked of a listening socket.
func (b *backlog) queue(t *testing.T) (queued, limit uint32) {
	t.Helper()
	info := tcpInfo(t, b.fd)
	return *(*uint32)(unsafe.Pointer(&info[24])), *(*uint32)(unsafe.Pointer(&info[28]))
}

// serve empties the queue and returns a listener that accepts what comes next.
func (b *backlog) serve(t *testing.T) net.Listener {
	t.Helper()
	for queued, _ := b.queue(t); queued > 0; queued-- {
		fd, _, err := syscall.Accept4(b.fd, syscall.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Close(fd)
	}
	file := os.NewFile(uintptr(must(syscall.Dup(b.fd))), "listener")
	defer file.Close()
	listener := must(net.FileListener(file))
	t.Cleanup(func() { listener.Close() })
	return listener
}

func tcpInfo(t *testing.T, fd int) (info [232]byte) {
	t.Helper()
	length := uint32(len(info))
	if _, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&length)), 0); errno != 0 {
		t.Fatal(errno)
	}
	return info
}

// boundSocket reserves an address on which nobody listens: a connect to it is
// refused, and no other socket can come to it.
func boundSocket(t *testing.T) (int, pool.Address) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	port := must(syscall.Getsockname(fd)).(*syscall.SockaddrInet4).Port
	return fd, pool.Address{TCP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))}
}

func refusing(t *testing.T) pool.Address {
	t.Helper()
	_, address := boundSocket(t)
	return address
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
