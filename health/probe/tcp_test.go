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
	"sluice/sysutil/systest"
)

func silent(net.Conn) error { return nil }

// TestTCPNeverAccepted: what accepts sees nothing of a probe, however many there were; but for the odd one after which
// this process was held up for longer than the kernel delays an ACK.
func TestTCPNeverAccepted(t *testing.T) {
	const probes, heldUp = 50, 5
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := newProber(t, Config{}, pool.Address{TCP: l.Addr().(*net.TCPAddr).AddrPort()})
		for range probes {
			if _, err := ask(t, p); err != nil {
				t.Fatal(err)
			}
		}
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(patient))
		seen := 0
		for ; ; seen++ { // in the order in which connections were made
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if conn.RemoteAddr().String() == client.LocalAddr().String() {
				break
			}
		}
		if seen > heldUp {
			t.Errorf("%s: %d of %d probes were accepted", host, seen, probes)
		}
	}
}

// TestTCPSelfConnect: a connection that ends where it began is no sign of a server.
func TestTCPSelfConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	for _, version := range []uint8{0, 1} {
		p := &tcpProber{dialer: &dialer{address: pool.Address{TCP: own.AddrPort()}, version: version}}
		p.dialer.net.LocalAddr = own // what the kernel does by chance, with any port that it hands out
		_, err = ask(t, p)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v, want a refusal", err)
		}
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
	a := pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(systest.ReservePort(t)))}
	_, err := ask(t, newProber(t, Config{}, a))
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
	if took := time.Since(started); took > patient/2 {
		t.Errorf("took %v with a timeout of 100 ms", took)
	}
}

// takes reports whether a connect succeeds soon.
func takes(t *testing.T, a pool.Address) bool {
	t.Helper()
	conn, err := net.DialTimeout("tcp", a.TCP.String(), 500*time.Millisecond)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return err == nil
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
		taken := takes(t, a)
		if !taken { // a busy machine may be that slow once
			taken = takes(t, a)
		}
		if !taken {
			return a
		}
	}
	t.Fatal("the backlog never fills up")
	return a
}
