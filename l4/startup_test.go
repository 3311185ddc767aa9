package l4

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice/l4/tlshello"
	"sluice/pool"
)

// A say is a part of a dialogue: what one side sends and the other receives.
type say struct {
	from side
	data []byte
}

var clientHello = random(7, 517)

func init() { copy(clientHello, "\x16\x03\x01\x02\x00") }

// Whatever is agreed on at the start, each side gets what the other one said,
// byte by byte, over one connection to the backend.
func TestStartup(t *testing.T) {
	f := func(name string, login bool, dialogue ...say) {
		t.Helper()
		for _, send := range []ProxyVersion{ProxyOff, ProxyV1, ProxyV2} {
			t.Run(name+"/"+send.String(), func(t *testing.T) {
				r := newPostgresRig(t, rigConfig{send: send})
				ends := [2]conn{client: r.dial()}
				for _, say := range dialogue {
					r.write(ends[say.from], say.data)
					if ends[server] == nil {
						ends[server] = r.accept()
						r.expect(ends[server], r.headerFor(ends[client], send))
					}
					r.expect(ends[say.from.other()], say.data)
				}
				s := r.expectState(stateRelaying)
				if s.opening != nil || (s.login != nil) != login {
					t.Errorf("opening %v, login %v, want none and %v", s.opening, s.login, login)
				}
				r.streamBothWays(ends, 1<<20)
				r.expectNothing(ends[:]...)
				r.finishStartup(ends, dialogue, send)
			})
		}
	}
	c := func(data ...[]byte) say { return say{client, slices.Concat(data...)} }
	s := func(data ...[]byte) say { return say{server, slices.Concat(data...)} }
	yes, no, gss := []byte("S"), []byte("N"), []byte("G")
	key := cancelKey(1, 4)

	f("clear", true, c(startup), s(loginAnswer(key)))
	f("clear, empty", true, c(packet(version30)), s(fatal("08P01")))
	f("clear, longest", true, c(packet(version30, random(1, 9992))), s(loginAnswer(key)))
	f("clear, password", true, c(startup), s(askPassword), c([]byte("p\x00\x00\x00\x08pass")), s(loginAnswer(key)))
	f("clear, negotiation", true, c(packet(version32, []byte("user\x00a\x00\x00"))),
		s(backendMessage('v', make([]byte, 8)), loginAnswer(cancelKey(1, 256))))
	f("refused", true, c(startup), s(fatal("28P01")))
	f("version 2 error", true, c(startup), s([]byte("EFATAL:  the database system is starting up\n\x00")))
	f("TLS", false, c(sslRequest), s(yes), c(clientHello), s(random(1, 3000)))
	f("no TLS", true, c(sslRequest), s(no), c(startup), s(loginAnswer(key)))
	f("no TLS, and more that nobody knows", false, c(sslRequest), s(no, []byte("N")), c(startup), s(random(1, 100)))
	f("TLS refused with an error", false, c(sslRequest), s(fatal("0A000")))
	f("GSS", false, c(gssRequest), s(gss), c(random(2, 100)), s(random(1, 100)))
	f("no GSS, TLS", false, c(gssRequest), s(no), c(sslRequest), s(yes), c(clientHello), s(random(1, 100)))
	f("no GSS, no TLS", true, c(gssRequest), s(no), c(sslRequest), s(no), c(startup), s(loginAnswer(key)))
	f("no TLS, no GSS", true, c(sslRequest), s(no), c(gssRequest), s(no), c(startup), s(loginAnswer(key)))
	f("no GSS, clear", true, c(gssRequest), s(no), c(startup), s(loginAnswer(key)))
	f("direct TLS", false, c(clientHello), s(random(1, 3000)), c(random(3, 80)))
	f("direct TLS, small", false, c([]byte("\x16\x03\x01")), c(random(3, 80)), s(random(1, 80)))
	f("not the protocol", true, c(startup), s([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")))
}

// finishStartup ends a session of a dialogue and a megabyte each way, and checks
// every counter.
func (r *rig) finishStartup(ends [2]conn, dialogue []say, send ProxyVersion) {
	r.t.Helper()
	want := [2]uint64{client: uint64(len(r.headerFor(ends[client], send)) + 1<<20), server: 1 << 20}
	for _, say := range dialogue {
		want[say.from] += uint64(len(say.data))
	}
	ends[server].Close()
	r.expectFIN(ends[client])
	ends[client].Close()
	end := r.expectEnd(ServerClosed)
	if end.Sent != want[client] || end.Received != want[server] || end.Retries != 0 || end.Backend != "b0" {
		r.t.Errorf("ended with %+v, want %d bytes sent and %d received", end, want[client], want[server])
	}
	b := r.pool.Backends()[0].Stats()
	if b.Sent != want[client] || b.Received != want[server] || b.Connects != 1 {
		r.t.Errorf("backend %+v, want %d bytes sent and %d received", b, want[client], want[server])
	}
	r.expectEmpty()
}

// No backend is asked before the packet is complete, wherever it is cut.
func TestPacketInPieces(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	f := func(name string, data, answer []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r.t = t
			for cut := 1; cut < len(data); cut++ {
				before := r.pool.Backends()[0].Stats().Connects
				ends := [2]conn{client: r.dial()}
				r.write(ends[client], data[:cut])
				r.until("the part is read", func() bool { return r.newest() != nil && len(r.newest().input()) == cut })
				if n := r.pool.Backends()[0].Stats(); n.Connects != before || n.Active != 0 {
					t.Fatalf("cut at %d: a backend was asked", cut)
				}
				r.write(ends[client], data[cut:])
				ends[server] = r.accept()
				r.expect(ends[server], data)
				r.write(ends[server], answer)
				r.expect(ends[client], answer)
				r.leave(ends)
			}
			c := r.dial()
			for i := range data {
				r.write(c, data[i:i+1])
				r.step()
			}
			ends := [2]conn{client: c, server: r.accept()}
			r.expect(ends[server], data)
			r.leave(ends)
		})
	}
	f("Startup", startup, loginAnswer(cancelKey(1, 4)))
	f("SSLRequest", sslRequest, []byte("S"))
	f("GSSENCRequest", gssRequest, []byte("G"))
	r.t = t
}

// What a client sends before it was answered stays with sluice until it was, and
// then arrives once, in order, after the packet. A server that reads it in clear
// before TLS begins would be fooled.
func TestSentBehindPacket(t *testing.T) {
	f := func(name string, accept bool, first, answer, tail []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			config := rigConfig{}
			if accept {
				config.accept, config.send = accepting(), ProxyV2
			}
			r := newPostgresRig(t, config)
			ends := [2]conn{client: r.dial()}
			var header, passed []byte
			if accept {
				header, passed = []byte(lineTCP4), v2(commandProxy, familyTCP4, addresses4)
			}
			failed := make(chan error, 1)
			go func() { failed <- writeAll(ends[client], slices.Concat(header, first, tail)) }()
			ends[server] = r.accept()
			r.expect(ends[server], slices.Concat(passed, first))
			r.expectNothing(ends[server])
			r.expectState(stateAnswering)
			r.write(ends[server], answer)
			r.expect(ends[client], answer)
			r.expect(ends[server], tail)
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			r.expectState(stateRelaying)
			r.exchange(ends[client], ends[server], 5)
			r.exchange(ends[server], ends[client], 5)
			r.expectNothing(ends[server])
		})
	}
	for name, size := range map[string]int{"a byte": 1, "some": 100, "a read": headerRead, "much": 3 << 20} {
		tail := random(9, size)
		for _, accept := range []bool{false, true} {
			name := fmt.Sprint(name, ", PROXY header: ", accept)
			f(name, accept, startup, loginAnswer(cancelKey(1, 4)), tail)
		}
	}
}

// What a client that asks for encryption sends before the answer is in clear, and
// must not become the beginning of what is encrypted: neither for the backend nor, when
// that has answered no, for sluice, which reads it as what it is.
func TestSpokeEarly(t *testing.T) {
	f := func(name string, request, answer, early []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			for _, accept := range []*AcceptProxy{nil, accepting()} {
				r := newPostgresRig(t, rigConfig{accept: accept})
				ends := [2]conn{client: r.dial()}
				first := slices.Concat(request, early)
				if accept != nil {
					first = slices.Concat([]byte(lineTCP4), first)
				}
				r.write(ends[client], first)
				ends[server] = r.accept()
				r.expect(ends[server], request)
				r.write(ends[server], answer)
				r.expectEnd(HelloInvalid)
				r.expectReset(ends[client], nil)
				r.expectReset(ends[server], nil)
			}
		})
	}
	f("a byte behind SSLRequest", sslRequest, []byte("S"), []byte{tlshello.RecordHandshake})
	f("a packet behind SSLRequest", sslRequest, []byte("S"), startup)
	f("a byte behind GSSENCRequest", gssRequest, []byte("G"), []byte("x"))
	f("a packet behind GSSENCRequest", gssRequest, []byte("G"), startup)
}

// Nor must what a backend, or whoever has got between, puts behind its "yes".
func TestBackendSpokeEarly(t *testing.T) {
	f := func(name string, request, answer []byte) {
		t.Helper()
		r := newPostgresRig(t, rigConfig{})
		ends := [2]conn{client: r.dial()}
		r.write(ends[client], request)
		ends[server] = r.accept()
		r.expect(ends[server], request)
		r.write(ends[server], answer)
		if end := r.expectEnd(ServerReset); end.Errno != errnoProtocol || end.Received != 0 {
			t.Errorf("%s: ended with %+v", name, end)
		}
	}
	f("SSLRequest", sslRequest, append([]byte("S"), authenticationOK...))
	f("GSSENCRequest", gssRequest, append([]byte("G"), 0))
}

// All that a client has to say comes at once. Each request waits for the answer to
// the one before.
func TestRequestsBehindEachOther(t *testing.T) {
	f := func(name, header string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			config := rigConfig{}
			if header != "" {
				config.accept = accepting()
			}
			r := newPostgresRig(t, config)
			ends := [2]conn{client: r.dial()}
			r.write(ends[client], slices.Concat([]byte(header), gssRequest, sslRequest, startup, []byte("and more")))
			ends[server] = r.accept()
			for _, request := range [][]byte{gssRequest, sslRequest} {
				r.expect(ends[server], request)
				r.expectNothing(ends[server])
				r.write(ends[server], []byte("N"))
				r.expect(ends[client], []byte("N"))
			}
			r.expect(ends[server], startup)
			r.expectNothing(ends[server])
			r.write(ends[server], loginAnswer(cancelKey(1, 4)))
			r.expect(ends[client], loginAnswer(cancelKey(1, 4)))
			r.expect(ends[server], []byte("and more"))
			r.exchange(ends[client], ends[server], 5)
		})
	}
	f("plain", "")
	f("behind a PROXY header", lineTCP6)
}

// The client's PROXY header and its packet come in one segment, or in pieces cut
// anywhere; the backend's come in one.
func TestStartupWithProxyHeader(t *testing.T) {
	f := func(name string, in []byte, send ProxyVersion, out []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{accept: accepting(), send: send})
			all := slices.Concat(in, startup)
			for _, cut := range []int{0, 1, len(in) - 1, len(in), len(in) + 1, len(in) + 7, len(in) + 8, len(all) - 1} {
				ends := [2]conn{client: r.dial()}
				for _, part := range [][]byte{all[:cut], all[cut:]} {
					r.write(ends[client], part)
					r.step()
					r.step()
				}
				ends[server] = r.accept()
				r.expect(ends[server], slices.Concat(out, startup))
				r.expectNothing(ends[server])
				if n := dataSegments(t, ends[server]); n != 1 {
					t.Errorf("header and packet came in %d segments, want one", n)
				}
				if got := r.newest().client; got != source4 {
					t.Errorf("client %v, want %v", got, source4)
				}
				r.leave(ends)
			}
		})
	}
	two := v2(commandProxy, familyTCP4, addresses4, field(typeAuthority, []byte("example.com")))
	f("v1 to none", []byte(lineTCP4), ProxyOff, nil)
	f("v1 to v1", []byte(lineTCP4), ProxyV1, []byte(lineTCP4))
	f("v1 to v2", []byte(lineTCP4), ProxyV2, v2(commandProxy, familyTCP4, addresses4))
	f("v2 to none", two, ProxyOff, nil)
	f("v2 to v1", two, ProxyV1, []byte(lineTCP4))
	f("v2 to v2", two, ProxyV2, two)
	f("longest", validHeaders["v2 longest"], ProxyV2, validHeaders["v2 longest"])
}

// Nothing in this is about TCP.
func TestStartupOnUnixSockets(t *testing.T) {
	dir := t.TempDir()
	back := must(net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432")))
	defer back.Close()
	r := newPostgresRig(t, rigConfig{
		bind:     []pool.Address{{Unix: filepath.Join(dir, "front")}},
		backends: []pool.Address{{Unix: back.Addr().String()}},
		dead:     [2]time.Duration{10 * time.Second, 10 * time.Second},
	})
	ends := [2]conn{client: r.dial()}
	r.write(ends[client], append(slices.Clone(startup), "and more"...))
	ends[server] = r.acceptFrom(back)
	r.expect(ends[server], startup)
	r.expectNothing(ends[server])
	r.write(ends[server], loginAnswer(cancelKey(1, 4)))
	r.expect(ends[client], loginAnswer(cancelKey(1, 4)))
	r.expect(ends[server], []byte("and more"))
	r.streamBothWays(ends, 1<<20)
	if end := r.newest().client; end != (netip.AddrPort{}) {
		t.Errorf("client %v, want none", end)
	}
	ends[client].Close()
	r.expectFIN(ends[server])
	ends[server].Close()
	r.expectEnd(ClientClosed)
}
