package l4

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/l4/proxyheader"
	"sluice/pool"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func accepting() *AcceptProxy { return &AcceptProxy{From: loopback, Timeout: 5 * time.Second} }

// Every valid header names the right client and is not passed on to a backend
// that wants none; what follows it is.
func TestAcceptHeader(t *testing.T) {
	own := netip.Addr{} // the socket's own address counts
	want := map[string]netip.AddrPort{
		"v1 TCP4": source4, "v1 TCP6": source6,
		"v2 TCP4": source4, "v2 TCP6": source6,
		"v1 TCP6 of IPv4": source4, "v2 TCP6 of IPv4": source4,
		"v1 TCP6 to IPv4": source6, "v1 TCP4 to IPv6": source4,
		"v1 TCP4 to Unix": source4, "v1 TCP6 to Unix": source6,
		"v2 fields": source4, "v2 padding": source6,
		"v2 checksum": source4, "v2 checksum, IPv6": source6, "v2 longest": source4,
	}
	for name, header := range validHeaders {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting()})
			c := r.dial()
			r.write(c, append(slices.Clone(header), "after the header"...))
			s := r.accept()
			r.expect(s, []byte("after the header"))
			r.exchange(c, s, 2)
			r.exchange(s, c, 2)
			got, named := r.newest().client, want[name]
			if named.Addr() == own {
				named = c.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
			}
			if got != named {
				t.Errorf("client %v, want %v", got, named)
			}
			c.Close()
			s.Close()
			if end := r.expectEnd(ClientClosed); end.Client != named {
				t.Errorf("the record names client %v, want %v", end.Client, named)
			}
		})
	}
}

// Each byte comes in a segment of its own, and each is looked at on its own.
func TestAcceptHeaderInPieces(t *testing.T) {
	for _, name := range []string{"v1 TCP4", "v1 longest", "v2 TCP6", "v2 checksum", "v2 LOCAL", "v2 Unix"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting()})
			c := r.dial()
			header := validHeaders[name]
			for i := range header {
				r.write(c, header[i:i+1])
				r.step()
			}
			r.write(c, []byte("x"))
			s := r.accept()
			r.expect(s, []byte("x"))
			r.exchange(c, s, 3)
		})
	}
}

// A large amount of data in the same segments as the header.
func TestAcceptHeaderThenStream(t *testing.T) {
	f := func(name string, size int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting(), send: ProxyV2})
			c := r.dial()
			data := random(1, size)
			var s conn
			r.both(
				func() error { return writeAll(c, slices.Concat(validHeaders["v2 longest"], data)) },
				func() error {
					accepted, err := r.backend.Accept()
					if err != nil {
						return err
					}
					s = r.keep(accepted)
					return readAll(s, slices.Concat(validHeaders["v2 longest"], data))
				},
			)
			c.CloseWrite()
			r.expectFIN(s)
		})
	}
	f("what one read takes", headerRead-len(validHeaders["v2 longest"]))
	f("a byte more", headerRead-len(validHeaders["v2 longest"])+1)
	f("a stream", 3<<20)
}

// Header, request and FIN are all there before the connection is accepted.
func TestAcceptHeaderAndFIN(t *testing.T) {
	f := func(name, request string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting()})
			c := r.dial()
			if _, err := c.Write([]byte(lineTCP4 + request)); err != nil {
				t.Fatal(err)
			}
			c.CloseWrite()
			s := r.accept()
			r.expect(s, []byte(request))
			r.expectFIN(s)
			r.write(s, []byte("answer"))
			s.Close()
			r.expect(c, []byte("answer"))
			r.expectFIN(c)
			r.expectEnd(ClientClosed)
		})
	}
	f("request", "request")
	f("nothing else", "")
}

func TestHeaderInvalid(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting()})
	f := func(name string, header []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r.t = t
			c := r.dial()
			for len(header) > 0 {
				n := trySend(c, header)
				header = header[n:]
				r.step()
				if n == 0 {
					break // the connection is reset already
				}
			}
			end := r.expectEnd(HeaderInvalid)
			if end.Pool != "" || end.Backend != "" {
				t.Errorf("ended with %+v, want no pool and no backend", end)
			}
			if !strings.Contains(end.Detail, "byte") {
				t.Errorf("the end says %q, want the rule and the byte", end.Detail)
			}
			if data, err := r.rest(c); err == nil || len(data) > 0 {
				t.Errorf("the client read %q, %v; want a reset", data, err)
			}
		})
	}
	for name, header := range invalidHeaders {
		f(name, header)
	}
	r.t = t
	r.expectEmpty()
	if b := r.pool.Backends()[0].Stats(); b.Connects != 0 {
		t.Errorf("%d connects were made for invalid headers", b.Connects)
	}
}

// What is still to come of a long header is bounded.
func TestHeaderMemory(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting()})
	c := r.dial()
	header := v2(commandProxy, familyTCP4, addresses4, field(typeCustom, make([]byte, 4000)))
	for part := range slices.Chunk(header[:len(header)-1], 100) {
		r.write(c, part)
		r.step()
	}
	r.until("all but one byte was read", func() bool {
		s := r.newest()
		return s != nil && s.opening != nil && len(s.opening.input) == len(header)-1
	})
	if n := cap(r.newest().opening.input); n > 2*proxyheader.MaxV2 {
		t.Errorf("%d bytes are kept for a header, want at most %d", n, 2*proxyheader.MaxV2)
	}
	r.write(c, header[len(header)-1:])
	r.accept()
	r.until("the session relays", func() bool { return r.newest().state == stateRelaying })
	if r.newest().opening != nil {
		t.Error("the header is kept while relaying")
	}
}

func TestHeaderTimeout(t *testing.T) {
	f := func(name, sent string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting()})
			c := r.dial()
			r.until("the header is awaited", func() bool { return r.newest() != nil })
			for i := range sent { // bytes do not move the deadline
				r.now += time.Second / 2
				r.write(c, []byte(sent[i:i+1]))
				r.settle()
			}
			r.now += 5*time.Second - time.Duration(len(sent))*time.Second/2 - time.Millisecond
			r.settle()
			if len(r.ended) > 0 {
				t.Fatalf("ended early: %+v", r.ended[0])
			}
			r.now += time.Millisecond + tick
			r.expectEnd(HeaderTimeout)
			r.expectReset(c, nil)
			r.expectEmpty()
		})
	}
	f("nothing", "")
	f("a part", "PROXY TC")
}

// The time for the header is over when it is there.
func TestHeaderTimeoutEnds(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting()})
	c := r.dial()
	r.write(c, []byte(lineTCP4))
	s := r.accept()
	r.now += time.Hour
	r.exchange(c, s, 3)
}

func TestClientLeavesBeforeHeader(t *testing.T) {
	f := func(name, sent string, want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting()})
			c := r.dial()
			if _, err := c.Write([]byte(sent)); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "reset") {
				reset(c)
			} else {
				c.CloseWrite()
			}
			r.expectEnd(want)
			r.expectEmpty()
		})
	}
	f("a port check", "", ClientClosed)
	f("FIN in the middle", "PROXY TCP4 ", HeaderInvalid)
	f("FIN in the middle of v2", signature, HeaderInvalid)
	f("reset", "", ClientClosed)
	f("reset in the middle", "PROXY TCP4 ", ClientReset)
}

// A header from a peer that is not trusted is not even read.
func TestHeaderUntrusted(t *testing.T) {
	others := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")}
	r := newRig(t, rigConfig{accept: &AcceptProxy{From: others}})
	c := r.dial()
	c.Write([]byte(lineTCP4))
	r.expectEnd(HeaderUntrusted)
	if data, err := r.rest(c); err == nil {
		t.Errorf("the client read %q and a FIN, want a reset", data)
	}
	r.expectEmpty()
}

func TestTrusts(t *testing.T) {
	f := func(peer string, from string, want bool) {
		t.Helper()
		accept := AcceptProxy{From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix(from)}}
		addr := netip.Addr{}
		if peer != "" {
			addr = netip.MustParseAddr(peer)
		}
		if got := accept.trusts(addr); got != want {
			t.Errorf("trusts(%s) from %s = %v, want %v", peer, from, got, want)
		}
	}
	f("10.1.2.3", "10.0.0.0/8", true)
	f("11.1.2.3", "10.0.0.0/8", false)
	f("2001:db8::1", "2001:db8::/32", true)
	f("2001:db9::1", "2001:db8::/32", false)
	f("2001:db8::1", "0.0.0.0/0", false)
	f("10.1.2.3", "::/0", false)
	f("10.1.2.3", "::ffff:10.0.0.0/104", true)
	f("11.1.2.3", "::ffff:10.0.0.0/104", false)
	f("10.1.2.3", "::ffff:0:0/96", true)
	f("", "10.0.0.0/8", true) // a Unix socket
}

// A peer on a Unix socket may send a header that names a TCP client.
func TestAcceptHeaderOnUnixSocket(t *testing.T) {
	f := func(header string, want netip.AddrPort) {
		t.Helper()
		t.Run(header[:10], func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "front")
			r := newRig(t, rigConfig{bind: []pool.Address{{Unix: path}}, accept: accepting()})
			c := r.dial()
			r.write(c, []byte(header))
			s := r.accept()
			r.exchange(c, s, 2)
			if got := r.newest().client; got != want {
				t.Errorf("client %v, want %v", got, want)
			}
		})
	}
	f(lineTCP6, source6)
	f(lineUnknown, netip.AddrPort{})
}

// source_hash and the like see the real client.
func TestReserveByRealClient(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting(), send: ProxyV1})
	c := r.dial()
	r.write(c, []byte(lineTCP4))
	r.expect(r.accept(), []byte(lineTCP4))
	if r.newest().client != source4 {
		t.Errorf("client %v, want %v", r.newest().client, source4)
	}
}
