package probe

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/pool"
)

// Checks ask from where sessions come from: a server may let in nobody else.
func TestSources(t *testing.T) {
	sources := []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1")}
	f := func(address, want string) {
		t.Helper()
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// A header makes the plain check one that the server sees.
		p, err := New(Config{Kind: TCP, ProxyVersion: 1, Sources: sources}, pool.Address{TCP: l.Addr().(*net.TCPAddr).AddrPort()})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for range 3 { // the first source is not of this machine, and is passed by
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			if _, err := p.Probe(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(patient))
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if from := c.RemoteAddr().(*net.TCPAddr).IP.String(); from != want {
				t.Errorf("%s is asked from %s, want %s", address, from, want)
			}
			c.Close()
		}
	}
	f("127.0.0.1:0", "127.0.0.2")
	f("[::1]:0", "::1")
}

// The check that the server does not see asks from there, too.
func TestKnockFromSource(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{Kind: TCP, Sources: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}
	p, err := New(c, pool.Address{TCP: l.Addr().(*net.TCPAddr).AddrPort()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if _, err := p.Probe(ctx); !Local(err) {
		t.Errorf("from an address that is not here: %v, want it to be no evidence", err)
	}
}
