package l4

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"sluice/pool"
)

// A connect to a port of this machine that nobody holds can get that very port for its own
// end. It is refused like any other, and leaves the port to the server.
func TestConnectMeetsItself(t *testing.T) {
	const first, last = 40000, 40009
	ownNetwork(t, first, last)
	for i, ip := range []string{"127.0.0.1", "::1"} {
		at := netip.AddrPortFrom(netip.MustParseAddr(ip), first)
		r := newRig(t, rigConfig{
			bind:     []pool.Address{{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(80+i))}},
			backends: []pool.Address{{TCP: at}},
		})
		const secret = "for the server only"
		for range 100 {
			c := r.dial()
			if _, err := c.Write([]byte(secret)); err != nil { // the loop has not seen it yet
				t.Fatal(err)
			}
			r.expectEnd(ConnectRefused)
			if _, err := r.rest(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("%s: the client sees %v, want a reset", ip, err)
			}
			c.Close()
		}
		for _, result := range r.dials {
			if result != pool.DialRefused {
				t.Errorf("%s: a connect was reported as %v", ip, result)
			}
		}
		bindPlainly(t, at)
	}
}

// bindPlainly checks that a server that does not know SO_REUSEADDR can have an address.
func bindPlainly(t *testing.T, at netip.AddrPort) {
	t.Helper()
	family, sa := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())})
	if at.Addr().Is4() {
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	fd := must(syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, sa); err != nil {
		t.Errorf("bind %v: %v", at, err)
	}
}

// Only a connect to this machine, and to a port that the kernel might choose, is looked at.
func TestReflexive(t *testing.T) {
	own := &ownPorts{low: 32768, high: 60999, addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")}}
	f := func(address string, want bool) {
		t.Helper()
		if got := newDialTarget(pool.Address{TCP: netip.MustParseAddrPort(address)}, own).reflexive; got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
	f("127.0.0.1:32768", true)
	f("127.9.9.9:60999", true)
	f("[::1]:40000", true)
	f("10.0.0.5:40000", true)
	f("[::ffff:10.0.0.5]:40000", true)
	f("127.0.0.1:5432", false)
	f("127.0.0.1:61000", false)
	f("10.0.0.6:40000", false)
	if newDialTarget(pool.Address{Unix: "/run/x"}, own).reflexive {
		t.Error("a Unix socket has no ports")
	}
}
