package probe

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

func silent(net.Conn) error { return nil }

func TestTCPOpen(t *testing.T) {
	a, reports := serve(t, nil, silent)
	if _, err := ask(t, newProber(t, Config{}, a)); err != nil {
		t.Fatal(err)
	}
	if r := report(t, reports); r.err != nil || len(r.first) != 0 {
		t.Errorf("the server saw %q and %v, want a FIN and no byte", r.first, r.err)
	}
}

func TestTCPUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	a, reports := serve(t, l, silent)
	p := newProber(t, Config{}, a)
	if _, err := ask(t, p); err != nil {
		t.Error(err)
	}
	report(t, reports)
	_ = l.Close()
	if _, err := ask(t, p); err == nil {
		t.Error("closed: no error")
	}
}

func TestTCPRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := pool.Address{TCP: l.Addr().(*net.TCPAddr).AddrPort()}
	_ = l.Close()
	_, err = ask(t, newProber(t, Config{}, a))
	if !errors.Is(err, syscall.ECONNREFUSED) || Unavailable(err) || Local(err) {
		t.Errorf("%v (unavailable %t, local %t)", err, Unavailable(err), Local(err))
	}
	wantError(t, err, a.String(), "connection refused")
}

func TestTCPSilent(t *testing.T) {
	p := newProber(t, Config{}, silentAddress(t))
	started := time.Now()
	_, err := askWithin(t, p, 100*time.Millisecond)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v, want a timeout", err)
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
