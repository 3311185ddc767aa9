package health

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// check runs one TCP check of an address.
func check(t *testing.T, a pool.Address, timeout time.Duration) error {
	t.Helper()
	p, err := pool.New(pool.Config{Name: "test", Backends: []pool.BackendConfig{{Name: "a", Address: a, Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return newTCPChecker().Check(ctx, p.Backends()[0])
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func tcpAddress(l net.Listener) pool.Address {
	return pool.Address{TCP: l.Addr().(*net.TCPAddr).AddrPort()}
}

func TestTCPOpen(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	if err := check(t, tcpAddress(l), 5*time.Second); err != nil {
		t.Fatalf("open: %v", err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// EOF is a FIN; a reset would be ECONNRESET.
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "EOF" {
		t.Errorf("the backend read %d bytes, %v, want a clean end", n, err)
	}
}

func TestTCPUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, "unix", path)
	if err := check(t, pool.Address{Unix: path}, 5*time.Second); err != nil {
		t.Errorf("open: %v", err)
	}
	_ = l.Close()
	if err := check(t, pool.Address{Unix: path}, 5*time.Second); err == nil {
		t.Error("closed: no error")
	}
}

func TestTCPRefused(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	a := tcpAddress(l)
	_ = l.Close()
	if err := check(t, a, 5*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
}

func TestTCPSilent(t *testing.T) {
	started := time.Now()
	err := check(t, silentAddress(t), 100*time.Millisecond)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("silent: %v, want a timeout", err)
	}
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("took %v with a timeout of 100 ms", took)
	}
}

// silentAddress returns an address that answers no SYN: its socket has a backlog of none, and that is taken. (The
// kernel drops SYNs then; see listen(2) and tcp_abort_on_overflow in tcp(7).)
func silentAddress(t *testing.T) pool.Address {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(name.(*syscall.SockaddrInet4).Port)
	a := pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
	for range 16 {
		conn, err := net.DialTimeout("tcp", a.TCP.String(), 500*time.Millisecond)
		if err != nil {
			return a
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the backlog never fills up")
	return a
}
