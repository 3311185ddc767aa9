package l4

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"sluice/l4/clients"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// from is a header of version 1 of a client with an address.
func from(address string) []byte {
	family, to := "TCP4", "198.51.100.1"
	if netip.MustParseAddr(address).Is6() {
		family, to = "TCP6", "2001:db8:ffff::1"
	}
	return fmt.Appendf(nil, "PROXY %s %s %s 40000 443\r\n", family, address, to)
}

// expectHeaderRefused checks that a session is reset after its header, and that no backend
// heard of it.
func (r *rig) expectHeaderRefused(c conn, want Reason, addr netip.Addr) {
	r.t.Helper()
	end := r.expectEnd(want)
	if c.LocalAddr().Network() != "unix" {
		r.expectReset(c, nil)
	}
	r.turns(3)
	if end.Pool != "" || end.Backend != "" || end.Client.Addr() != addr || end.Sent+end.Received != 0 {
		r.t.Errorf("reported as %+v, want the client %v and no pool", end, addr)
	}
	if len(r.ended) != r.checked {
		r.t.Errorf("reported more than once: %+v", r.ended)
	}
}

// Who is behind a header is judged by the address in it, in whatever form and with whatever
// comes after it.
func TestDeniedAfterHeader(t *testing.T) {
	hello := hellotest.OfSize(t, 600)
	f := func(name string, header []byte, addr, denied string) {
		t.Helper()
		for _, protocol := range []Protocol{ProtocolTCP, ProtocolPostgres, ProtocolTLS} {
			t.Run(fmt.Sprint(name, ", ", protocol), func(t *testing.T) {
				config := rigConfig{accept: accepting(), protocol: protocol}
				config.listener = withAccess("", denied)
				r := newRig(t, config)
				first := map[Protocol][]byte{ProtocolTCP: []byte("data"), ProtocolPostgres: startup, ProtocolTLS: hello}[protocol]
				for _, pieces := range []int{1, 2, 7} {
					c := r.dial()
					for part := range slices.Chunk(header, (len(header)+pieces-1)/pieces) {
						r.write(c, part)
						r.step()
					}
					r.expectHeaderRefused(c, Denied, netip.MustParseAddr(addr))
				}
				c := r.dial()
				if _, err := c.Write(slices.Concat(header, first)); err != nil { // the loop stands still
					t.Fatal(err)
				}
				r.expectHeaderRefused(c, Denied, netip.MustParseAddr(addr))
				r.expectNobody(r.backend)
				if got := ended(r.srv.Stats(), "", Denied); got != 4 {
					t.Errorf("%d are counted as denied, want 4", got)
				}
			})
		}
	}
	f("v1", []byte(lineTCP4), "203.0.113.7", "203.0.113.0/24")
	f("v1, IPv6", []byte(lineTCP6), "2001:db8::7", "2001:db8::/32")
	f("v2", v2(commandProxy, familyTCP4, addresses4), "203.0.113.7", "203.0.113.7")
	f("v2, IPv6", v2(commandProxy, familyTCP6, addresses6), "2001:db8::7", "2001:db8::7/128")
	mappedHeader := v2(commandProxy, familyTCP6, addressBlock(mapped(source4), mapped(destination4)))
	f("v2, mapped", mappedHeader, "203.0.113.7", "203.0.113.0/24")
	fields := slices.Concat(field(typeUniqueID, []byte("id")), field(typeAuthority, []byte("a.example")))
	f("v2 with fields", v2(commandProxy, familyTCP4, addresses4, fields), "203.0.113.7", "203.0.113.0/24")
	f("LOCAL", v2(commandLocal, familyUnspec), "127.0.0.1", "127.0.0.0/8")
	f("LOCAL with addresses", v2(commandLocal, familyTCP4, addresses4), "127.0.0.1", "127.0.0.0/8")
	f("UNKNOWN", []byte(lineUnknown), "127.0.0.1", "127.0.0.0/8")
	f("UNSPEC", v2(commandProxy, familyUnspec), "127.0.0.1", "127.0.0.0/8")
}

// The proxy's own address is not what the lists are about, unless its header names nobody.
func TestAccessIsNotForTheProxy(t *testing.T) {
	f := func(name string, header []byte, allow, deny string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting(), listener: withAccess(allow, deny)})
			c := r.dial()
			r.write(c, header)
			r.exchange(c, r.accept(), 2)
			if len(r.ended) > 0 {
				t.Errorf("ended: %+v", r.ended)
			}
		})
	}
	f("allowed by the header", []byte(lineTCP4), "203.0.113.0/24", "")
	f("the proxy is denied", []byte(lineTCP4), "", "127.0.0.0/8 ::/0")
	f("LOCAL, what the header says is denied", v2(commandLocal, familyTCP4, addresses4), "", "203.0.113.0/24")
	unknown := []byte("PROXY UNKNOWN 203.0.113.7 203.0.113.8 1 2\r\n")
	f("UNKNOWN, what the header says is denied", unknown, "", "203.0.113.0/24")
	f("LOCAL, the proxy is allowed", v2(commandLocal, familyUnspec), "127.0.0.1", "")
}

// A peer that may not send a header is refused for that, not by its address.
func TestUntrustedBeforeDenied(t *testing.T) {
	accept := &AcceptProxy{From: prefixes("127.0.0.2")}
	r := newRig(t, rigConfig{accept: accept, listener: func(l *ListenerConfig) {
		l.Deny, l.PerClient = prefixes("127.0.0.0/8"), clients.Limits{Sessions: 1, Rate: 0.001, Burst: 1}
	}})
	for range 3 {
		c := r.dial()
		r.expectEnd(HeaderUntrusted)
		r.expectReset(c, nil)
	}
	c := r.dialAs("127.0.0.2")
	r.write(c, from("203.0.113.7"))
	r.exchange(c, r.accept(), 2)
}

// The limits count the clients of the headers: IPv4 addresses, and IPv6 networks of 64 bits.
func TestClientLimitAfterHeader(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting(), listener: limited(clients.Limits{Sessions: 2})})
	admitted := func(header []byte) (ends [2]conn) {
		t.Helper()
		ends[client] = r.dial()
		r.write(ends[client], header)
		ends[server] = r.accept()
		r.exchange(ends[client], ends[server], 2)
		return ends
	}
	refused := func(address string) {
		t.Helper()
		c := r.dial()
		if _, err := c.Write(append(from(address), "more"...)); err != nil {
			t.Fatal(err)
		}
		r.expectHeaderRefused(c, ClientLimit, netip.MustParseAddr(address))
	}
	first := admitted(from("203.0.113.7"))
	admitted(v2(commandProxy, familyTCP6, addressBlock(mapped(source4), mapped(destination4)))) // the same client
	refused("203.0.113.7")
	admitted(from("203.0.113.8"))

	network := admitted(from("2001:db8:1:2::1"))
	admitted(from("2001:db8:1:2:ffff:ffff:ffff:ffff"))
	refused("2001:db8:1:2:3:4:5:6")
	admitted(from("2001:db8:1:3::1"))
	refused("2001:db8:1:2::1")

	// Headers that name nobody are the proxy's own sessions.
	admitted(v2(commandLocal, familyTCP4, addresses4))
	admitted([]byte(lineUnknown))
	c := r.dial()
	r.write(c, []byte(lineUnknown))
	r.expectHeaderRefused(c, ClientLimit, netip.MustParseAddr("127.0.0.1"))

	if stats := r.srv.Stats().Listeners[0].Clients; stats.Sessions != 8 || stats.Busy != 5 {
		t.Errorf("stats %+v, want 8 sessions of 5 clients", stats)
	}
	r.leave(first)
	admitted(from("203.0.113.7"))
	refused("203.0.113.7")
	r.leave(network)
	admitted(from("2001:db8:1:2:9::9"))
	refused("2001:db8:1:2::1")
}

func TestRateLimitedAfterHeader(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting(), listener: limited(clients.Limits{Rate: 1.0 / 60, Burst: 1})})
	f := func(address string, want Reason) {
		t.Helper()
		c := r.dial()
		r.write(c, from(address))
		if want != noReason {
			r.expectHeaderRefused(c, want, netip.MustParseAddr(address))
			return
		}
		r.leave([2]conn{c, r.accept()})
	}
	f("203.0.113.7", noReason)
	f("203.0.113.7", RateLimited)
	f("203.0.113.8", noReason)
	f("2001:db8::1", noReason)
	f("2001:db8::2", RateLimited)
	// What never had a header is nobody's.
	for range 3 {
		c := r.dial()
		r.write(c, []byte("PROXY nonsense\r\n"))
		r.expectEnd(HeaderInvalid)
		r.expectReset(c, nil)
	}
	f("203.0.113.9", noReason)
}

// A header that comes over a Unix socket names a client all the same.
func TestUnixProxyNamesClients(t *testing.T) {
	bind := []pool.Address{{Unix: filepath.Join(t.TempDir(), "front")}}
	r := newRig(t, rigConfig{bind: bind, accept: &AcceptProxy{}, listener: func(l *ListenerConfig) {
		l.Deny, l.PerClient = prefixes("203.0.113.9"), clients.Limits{Sessions: 1}
	}})
	open := func(header []byte) conn {
		t.Helper()
		c := r.dial()
		r.write(c, header)
		return c
	}
	r.expectHeaderRefused(open(from("203.0.113.9")), Denied, netip.MustParseAddr("203.0.113.9"))
	c := open(from("203.0.113.7"))
	r.exchange(c, r.accept(), 2)
	r.expectHeaderRefused(open(from("203.0.113.7")), ClientLimit, netip.MustParseAddr("203.0.113.7"))
	for range 2 { // nobody's: neither the header nor the socket has an address
		c = open(v2(commandLocal, familyUnspec))
		r.exchange(c, r.accept(), 2)
	}
	c = open(v2(commandProxy, familyUnix, pathsUnix))
	r.exchange(c, r.accept(), 2)
}

// While its header is awaited a session is nobody's, so a client cannot be kept out by others
// that send none.
func TestHeaderlessSessionsAreNobodys(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting(), listener: limited(clients.Limits{Sessions: 1})})
	for range 5 {
		r.dial()
	}
	r.until("all wait for their header", func() bool { return r.srv.Stats().Listeners[0].Sessions == 5 })
	if stats := r.srv.Stats().Listeners[0].Clients; stats.Sessions != 0 {
		t.Errorf("stats %+v, want no client", stats)
	}
	local := v2(commandLocal, familyUnspec)
	r.write(r.dialled[0], local)
	r.exchange(r.dialled[0], r.accept(), 2)
	r.write(r.dialled[1], local)
	r.expectHeaderRefused(r.dialled[1], ClientLimit, r.dialled[1].LocalAddr().(*net.TCPAddr).AddrPort().Addr())
}
