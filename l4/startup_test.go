package l4

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// newPostgresRig is newRig with a listener that speaks Postgres.
func newPostgresRig(t testing.TB, c rigConfig) *rig {
	t.Helper()
	c.protocol = ProtocolPostgres
	if c.peek == 0 {
		c.peek = 5 * time.Second
	}
	return newRig(t, c)
}

// login opens a session in clear.
func (r *rig) login(key []byte) (ends [2]conn) {
	r.t.Helper()
	ends[client] = r.dial()
	r.write(ends[client], startup)
	ends[server] = r.accept()
	r.expect(ends[server], startup)
	r.write(ends[server], loginAnswer(key))
	r.expect(ends[client], loginAnswer(key))
	return ends
}

func (r *rig) expectState(want state) *session {
	r.t.Helper()
	s := r.newest()
	if s == nil || s.state != want {
		r.t.Fatalf("the session is not in state %d: %s", want, r.describe())
	}
	return s
}

// expectNothing checks that nothing has come, and that the connections are open.
func (r *rig) expectNothing(conns ...conn) {
	r.t.Helper()
	r.turns(5)
	for _, c := range conns {
		must(c.SyscallConn()).Control(func(fd uintptr) {
			if n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_DONTWAIT|syscall.MSG_PEEK); n != -1 {
				r.t.Fatalf("%d bytes came, %v; want nothing", n, err)
			}
		})
	}
}

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
	f("TLS, answer with more", false, c(sslRequest), s(yes, []byte("and more")), c(clientHello))
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

// headerFor is the PROXY header that the backend gets for a client.
func (r *rig) headerFor(c conn, version ProxyVersion) []byte {
	r.t.Helper()
	if version == ProxyOff {
		return nil
	}
	peer := c.LocalAddr().(*net.TCPAddr).AddrPort()
	header, err := outgoingHeader(version, nil, peer, r.address())
	if err != nil {
		r.t.Fatal(err)
	}
	return must(header.Format())
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

// leave ends a session by the client's reset.
func (r *rig) leave(ends [2]conn) {
	r.t.Helper()
	reset(ends[client])
	r.expectEnd(ClientReset)
	ends[server].Close()
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
			name := fmt.Sprint(name, ", PROXY header: ", accept, ", ")
			f(name+"Startup", accept, startup, loginAnswer(cancelKey(1, 4)), tail)
			f(name+"SSLRequest", accept, sslRequest, []byte("S"), tail)
			f(name+"GSSENCRequest", accept, gssRequest, []byte("G"), tail)
		}
	}
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

// What does not start like Postgres ends at once, whether or not the client goes
// on sending, and no backend hears of it.
func TestHelloInvalid(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	f := func(name string, data []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r.t = t
			c := r.dial()
			trySend(c, data)
			if end := r.expectEnd(HelloInvalid); end.Pool != "" || end.Backend != "" || end.Sent != 0 || end.Received != 0 {
				t.Errorf("ended with %+v, want no pool and no backend", end)
			}
			if data, err := r.rest(c); err == nil || len(data) > 0 {
				t.Errorf("the client read %q, %v; want a reset", data, err)
			}
		})
	}
	if len(invalidPackets) < 20 {
		t.Errorf("%d malformed packets, want at least 20", len(invalidPackets))
	}
	for name, data := range invalidPackets {
		f(name, data)
		f(name+", only what is looked at", data[:8])
	}
	r.t = t
	r.expectEmpty()
	if b := r.pool.Backends()[0].Stats(); b.Connects != 0 {
		t.Errorf("%d connects were made for malformed packets", b.Connects)
	}
}

// After "no encryption" the same rules hold for what follows.
func TestHelloInvalidAfterRefusal(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	after := maps.Clone(invalidPackets)
	after["TLS all the same"] = clientHello
	for name, data := range after {
		t.Run(name, func(t *testing.T) {
			r.t = t
			ends := r.refusedTLS()
			trySend(ends[client], data)
			if end := r.expectEnd(HelloInvalid); end.Backend != "b0" {
				t.Errorf("ended with %+v, want backend b0", end)
			}
			r.expectReset(ends[server], nil)
		})
	}
	r.t = t
}

// refusedTLS opens a session whose backend has said that it does not encrypt.
func (r *rig) refusedTLS() (ends [2]conn) {
	r.t.Helper()
	ends[client] = r.dial()
	r.write(ends[client], sslRequest)
	ends[server] = r.accept()
	r.expect(ends[server], sslRequest)
	r.write(ends[server], []byte("N"))
	r.expect(ends[client], []byte("N"))
	r.expectState(stateReadHello)
	return ends
}

// A client that sends too little ends when the time is over, and no earlier; bytes
// do not move the deadline.
func TestHelloTimeout(t *testing.T) {
	f := func(name string, sent []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{peek: 5 * time.Second})
			c := r.dial()
			r.until("the packet is awaited", func() bool { return r.newest() != nil })
			begun := r.now
			for part := range slices.Chunk(sent, max(1, (len(sent)+3)/4)) {
				r.now += time.Second
				r.write(c, part)
				r.settle()
			}
			r.now = begun + 5*time.Second - time.Millisecond
			r.settle()
			if len(r.ended) > 0 {
				t.Fatalf("ended early: %+v", r.ended[0])
			}
			r.now += time.Millisecond + tick
			if end := r.expectEnd(HelloTimeout); end.Pool != "" {
				t.Errorf("ended with %+v, want no pool", end)
			}
			r.expectReset(c, nil)
			if b := r.pool.Backends()[0].Stats(); b.Connects != 0 {
				t.Error("a backend was asked")
			}
			r.expectEmpty()
		})
	}
	f("nothing", nil)
	f("a byte", startup[:1])
	f("no code", startup[:7])
	f("only the head", startup[:8])
	f("one byte missing", startup[:len(startup)-1])
	f("SSLRequest, one byte missing", sslRequest[:7])
	f("one byte of TLS", []byte("\x16"))
	f("promises much", packet(version30, make([]byte, 9992))[:9000])
	f("CancelRequest, one byte missing", cancelRequest(cancelKey(1, 4))[:15])
}

// The answer "no encryption" gives the client the whole time again, and a session
// that relays has none.
func TestHelloTimeoutEnds(t *testing.T) {
	r := newPostgresRig(t, rigConfig{peek: 5 * time.Second})
	c := r.dial()
	r.until("the packet is awaited", func() bool { return r.newest() != nil })
	r.now += 4 * time.Second
	r.write(c, sslRequest)
	s := r.accept()
	r.expect(s, sslRequest)
	r.now += time.Hour // the backend takes its time
	r.settle()
	r.write(s, []byte("N"))
	r.expect(c, []byte("N"))
	r.now += 4 * time.Second
	r.settle()
	r.write(c, startup)
	r.expect(s, startup)
	r.now += time.Hour
	r.settle()
	r.write(s, loginAnswer(cancelKey(1, 4)))
	r.expect(c, loginAnswer(cancelKey(1, 4)))
	r.now += time.Hour
	r.exchange(c, s, 3)

	r.refusedTLS()
	r.now += 5*time.Second + tick
	r.expectEnd(HelloTimeout)
}

func TestClientLeavesBeforeHello(t *testing.T) {
	f := func(name string, sent []byte, accept bool, want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			config := rigConfig{}
			if accept {
				config.accept = accepting()
				sent = append([]byte(lineTCP4), sent...)
			}
			r := newPostgresRig(t, config)
			c := r.dial()
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			if want == ClientReset {
				reset(c)
			} else {
				c.CloseWrite()
			}
			r.expectEnd(want)
			switch want {
			case ClientClosed:
				r.expectFIN(c)
			case HelloInvalid:
				r.expectReset(c, nil)
			}
			r.expectEmpty()
		})
	}
	f("a port check", nil, false, ClientClosed)
	f("a port check behind a header", nil, true, ClientClosed)
	f("FIN in the middle", startup[:10], false, HelloInvalid)
	f("FIN in the middle behind a header", startup[:10], true, HelloInvalid)
	f("FIN after a byte", startup[:1], false, HelloInvalid)
	f("reset", nil, false, ClientReset)
	f("reset in the middle", startup[:10], false, ClientReset)
	f("FIN after the packet", startup, false, ClientClosed)
	f("FIN after SSLRequest", sslRequest, true, ClientClosed)
}

// A client that wants no clear text leaves after "no encryption".
func TestClientLeavesAfterRefusal(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	ends := r.refusedTLS()
	ends[client].CloseWrite()
	r.expectEnd(ClientClosed)
	r.expectFIN(ends[client])
	r.expectFIN(ends[server])

	r.leave(r.refusedTLS())

	ends = r.refusedTLS()
	r.write(ends[client], startup[:9])
	ends[client].CloseWrite()
	r.expectEnd(HelloInvalid)
	r.expectReset(ends[server], nil)
	r.expectEmpty()
}

// The backend leaves after "no encryption", and the client has not noticed: what
// it sends next goes to whoever takes it.
func TestBackendLeavesAfterRefusal(t *testing.T) {
	f := func(name string, leave func(r *rig, s conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{send: ProxyV1})
			c := r.dial()
			header := r.headerFor(c, ProxyV1)
			r.write(c, sslRequest)
			s := r.accept()
			r.expect(s, slices.Concat(header, sslRequest))
			r.write(s, []byte("N"))
			r.expect(c, []byte("N"))
			leave(r, s)
			r.until("the slot is given back", func() bool { return r.pool.Backends()[0].Stats().Active == 0 })
			r.expectState(stateReadHello)
			r.write(c, startup)
			s = r.accept()
			r.expect(s, slices.Concat(header, startup))
			r.write(s, loginAnswer(cancelKey(1, 4)))
			r.expect(c, loginAnswer(cancelKey(1, 4)))
			r.exchange(c, s, 3)
			s.Close()
			r.expectFIN(c)
			c.Close()
			if end := r.expectEnd(ServerClosed); end.Retries != 0 {
				t.Errorf("%d retries, want none: nobody failed", end.Retries)
			}
			r.expectEmpty()
		})
	}
	f("FIN", func(r *rig, s conn) { s.Close() })
	f("reset", func(r *rig, s conn) { reset(s) })
	f("redispatch", func(r *rig, s conn) { r.srv.Redispatch(r.pool.Backends()[0]); r.settle() })
}

// What is still to come of a packet is bounded, and nothing is kept of it once the
// session relays.
func TestHelloMemory(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	c := r.dial()
	longest := packet(version30, random(1, 9992))
	for part := range slices.Chunk(longest[:len(longest)-1], 100) {
		r.write(c, part)
		r.step()
	}
	r.until("all but one byte was read", func() bool { return len(r.newest().input()) == len(longest)-1 })
	if n := cap(r.newest().opening.input); n > 2*maxStartup {
		t.Errorf("%d bytes are kept for a packet, want at most %d", n, 2*maxStartup)
	}
	r.write(c, append(longest[len(longest)-1:], bytes.Repeat([]byte("x"), 100_000)...))
	s := r.accept()
	r.expect(s, longest)
	r.settle()
	if n := len(r.newest().opening.input); n != 0 {
		t.Errorf("%d bytes were read beyond the packet", n)
	}
	r.write(s, []byte("R"))
	r.expect(c, []byte("R"))
	r.expect(s, bytes.Repeat([]byte("x"), 100_000))
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
