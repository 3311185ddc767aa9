package sysutil

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// closing closes a descriptor with the test.
func closing(t *testing.T, fd int) int {
	t.Helper()
	t.Cleanup(func() { Close(fd) })
	return fd
}

// await waits until a descriptor is ready.
func await(t *testing.T, fd int, events int16) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds, 10_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != 1 {
			t.Fatalf("descriptor %d is not ready: %d, %v", fd, n, err)
		}
		return
	}
}

// tcpPair returns the two ends of a connection.
func tcpPair(t *testing.T) (a, b int) {
	t.Helper()
	listener := closing(t, listenAny(t, "127.0.0.1:0"))
	sa := TCPSockaddr(localAddr(t, listener))
	a, errno := Connect(&sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	await(t, listener, unix.POLLIN)
	b, peer, errno := Accept(listener)
	if errno != 0 {
		t.Fatal(errno)
	}
	if own := localAddr(t, a); peer != own {
		t.Errorf("accepted from %v, want %v", peer, own)
	}
	await(t, a, unix.POLLOUT)
	return a, b
}

func listenAny(t *testing.T, address string) int {
	t.Helper()
	fd, err := ListenTCP(netip.MustParseAddrPort(address))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func localAddr(t *testing.T, fd int) netip.AddrPort {
	t.Helper()
	local, errno := LocalAddr(fd)
	if errno != 0 {
		t.Fatal(errno)
	}
	return local
}

// Every descriptor must be CLOEXEC and NONBLOCK from birth.
func expectFlags(t *testing.T, name string, fd int) {
	t.Helper()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("%s: descriptor flags %#x, %v; want CLOEXEC", name, flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("%s: status flags %#x, %v; want NONBLOCK", name, flags, err)
	}
}

func TestDescriptorFlags(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	expectFlags(t, "connected", closing(t, a))
	expectFlags(t, "accepted", closing(t, b))
	expectFlags(t, "listening", closing(t, listenAny(t, "127.0.0.1:0")))
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	expectFlags(t, "listening on a Unix socket", closing(t, fd))
	waker, err := NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	defer waker.Close()
	expectFlags(t, "waker", waker.Fd())
	pipes := NewPipePool(NewPipeBudget(1, 64<<10))
	defer pipes.Close()
	pipe := pipes.Get()
	defer pipes.Put(pipe)
	r, w := pipe.r, pipe.w
	expectFlags(t, "pipe", r)
	expectFlags(t, "pipe", w)
	poller, err := NewPoller(1)
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	if flags, err := unix.FcntlInt(uintptr(poller.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("epoll: descriptor flags %#x, %v; want CLOEXEC", flags, err)
	}
}

// Nagle's algorithm is off on both sides of sluice.
func TestNoDelay(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	for _, fd := range []int{closing(t, a), closing(t, b)} {
		if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || v == 0 {
			t.Errorf("TCP_NODELAY is %d, %v; want it on", v, err)
		}
	}
}

func TestSendReceive(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	buf := make([]byte, 100)
	if n, errno := Recv(b, buf); n != 0 || errno != syscall.EAGAIN {
		t.Errorf("Recv of nothing: %d, %v; want EAGAIN", n, errno)
	}
	if n, errno := Send(a, []byte("hello")); n != 5 || errno != 0 {
		t.Errorf("Send: %d, %v", n, errno)
	}
	await(t, b, unix.POLLIN)
	if n, errno := Recv(b, buf); errno != 0 || string(buf[:n]) != "hello" {
		t.Errorf("Recv: %q, %v", buf[:n], errno)
	}
	if errno := CloseWrite(a); errno != 0 {
		t.Errorf("CloseWrite: %v", errno)
	}
	await(t, b, unix.POLLIN)
	if n, errno := Recv(b, buf); n != 0 || errno != 0 {
		t.Errorf("Recv at the end: %d, %v; want 0 and no error", n, errno)
	}
	if n, errno := Send(b, []byte("still open")); n != 10 || errno != 0 {
		t.Errorf("Send the other way: %d, %v", n, errno)
	}
	if n, errno := Send(a, []byte("x")); n != 0 || errno != syscall.EPIPE {
		t.Errorf("Send after CloseWrite: %d, %v; want EPIPE and no signal", n, errno)
	}
}

// A full socket takes a part, then nothing.
func TestSendUntilFull(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for {
		n, errno := Send(a, chunk)
		if errno == syscall.EAGAIN && n == 0 {
			return
		}
		if errno != 0 || n <= 0 || n > len(chunk) {
			t.Fatalf("Send: %d, %v", n, errno)
		}
	}
}

func TestReset(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, b)
	if _, errno := Send(a, []byte("read me first")); errno != 0 {
		t.Fatal(errno)
	}
	Reset(a)
	await(t, b, unix.POLLERR)
	buf := make([]byte, 100)
	if n, errno := Recv(b, buf); errno != 0 || string(buf[:n]) != "read me first" {
		t.Errorf("Recv: %q, %v; want the data before the reset", buf[:n], errno)
	}
	if n, errno := Recv(b, buf); n != 0 || errno != syscall.ECONNRESET {
		t.Errorf("Recv: %d, %v; want ECONNRESET", n, errno)
	}
}

// SO_ERROR is taken: the second look finds none.
func TestSocketError(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, b)
	if errno := SocketError(b); errno != 0 {
		t.Errorf("SocketError of a good connection: %v", errno)
	}
	Reset(a)
	await(t, b, unix.POLLERR)
	if errno := SocketError(b); errno != syscall.ECONNRESET {
		t.Errorf("SocketError: %v, want ECONNRESET", errno)
	}
	if errno := SocketError(b); errno != 0 {
		t.Errorf("SocketError again: %v, want none", errno)
	}
	if errno := SocketError(-1); errno != syscall.EBADF {
		t.Errorf("SocketError of no descriptor: %v, want EBADF", errno)
	}
}

func TestConnectFails(t *testing.T) {
	checkFiles(t)
	// Bound and not listening: nobody else can have the port.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa := TCPSockaddr(localAddr(t, fd))
	c, errno := Connect(&sa)
	if errno == 0 { // under way
		closing(t, c)
		await(t, c, unix.POLLOUT)
		errno = SocketError(c)
	}
	if errno != syscall.ECONNREFUSED {
		t.Errorf("Connect: %v, want ECONNREFUSED", errno)
	}
	none, err := UnixSockaddr(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if c, errno := Connect(&none); c != -1 || errno != syscall.ENOENT {
		t.Errorf("Connect to no file: %d, %v; want ENOENT", c, errno)
	}
	var zero Sockaddr
	if c, errno := Connect(&zero); c != -1 || errno == 0 {
		t.Errorf("Connect to no address: %d, %v; want an error", c, errno)
	}
}

func TestAcceptNothing(t *testing.T) {
	checkFiles(t)
	listener := closing(t, listenAny(t, "127.0.0.1:0"))
	if fd, _, errno := Accept(listener); fd != -1 || errno != syscall.EAGAIN {
		t.Errorf("Accept: %d, %v; want EAGAIN", fd, errno)
	}
}
