package l4

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// listenMany opens backends that the test serves itself.
func listenMany(t testing.TB, n int) (listeners []net.Listener, addresses []pool.Address) {
	t.Helper()
	for range n {
		listener := listenTCP(t, "127.0.0.1:0")
		listeners, addresses = append(listeners, listener), append(addresses, tcpAddress(listener.Addr()))
	}
	return listeners, addresses
}

// expectActive checks how many slots of each backend are taken.
func (r *rig) expectActive(want ...int) {
	r.t.Helper()
	var got []int
	for _, b := range r.pool.Backends() {
		got = append(got, b.Stats().Active)
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("slots taken by backend: %v, want %v", got, want)
	}
}

// endSessions calls EndSessions while the loop runs.
func (r *rig) endSessions(b *pool.Backend, limit, want int) {
	r.t.Helper()
	var got int
	r.while("EndSessions", func() error { got = r.srv.EndSessions(b, limit); return nil })
	if got != want {
		r.t.Errorf("EndSessions(%s, %d) = %d, want %d", b.Name(), limit, got, want)
	}
}

// down takes a backend down as a health check does.
func (r *rig) down(b *pool.Backend) {
	b.SetUp(false)
	r.srv.Redispatch(b)
}

// Ways in which a backend that has the first packet may fail to answer it, and
// whether that counts against it.
var failures = []struct {
	name    string
	fail    func(r *rig, s conn)
	retries int
}{
	{"FIN", func(r *rig, s conn) { s.Close() }, 1},
	{"half-closed", func(r *rig, s conn) { s.CloseWrite() }, 1},
	{"reset", func(r *rig, s conn) { reset(s) }, 1},
	{"57P03", func(r *rig, s conn) { r.write(s, fatal("57P03")) }, 1},
	{"57P03 and FIN", func(r *rig, s conn) { s.Write(fatal("57P03")); s.Close() }, 1},
	{"57P03 and reset", func(r *rig, s conn) { s.Write(fatal("57P03")); reset(s) }, 1},
	{"redispatch", func(r *rig, s conn) { r.down(r.pool.Backends()[0]) }, 0},
	{"redispatch and FIN", func(r *rig, s conn) { r.down(r.pool.Backends()[0]); s.Close() }, 0},
	{"redispatch and reset", func(r *rig, s conn) { r.down(r.pool.Backends()[0]); reset(s) }, 0},
	{"redispatch and answer", func(r *rig, s conn) { r.down(r.pool.Backends()[0]); s.Write([]byte("S")) }, 0},
	{"redispatch and end", func(r *rig, s conn) {
		r.down(r.pool.Backends()[0])
		r.endSessions(r.pool.Backends()[0], 0, 0)
	}, 0},
}

// A backend that fails before its first answer costs the client nothing but
// time: the next one gets the same, with a PROXY header of its own, once.
func TestBackendFailsBeforeAnswer(t *testing.T) {
	f := func(name string, request, answer []byte, versions ...ProxyVersion) {
		t.Helper()
		for _, failure := range failures {
			for _, send := range versions {
				t.Run(fmt.Sprint(name, ", ", failure.name, ", ", send), func(t *testing.T) {
					listeners, addresses := listenMany(t, 2)
					r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1, send: send})
					c := r.dial()
					header := r.headerFor(c, send)
					r.write(c, append(slices.Clone(request), "and more"...))
					bad := r.acceptFrom(listeners[0])
					r.expect(bad, slices.Concat(header, request))
					r.expectState(stateAnswering)
					r.expectActive(1, 0)

					failure.fail(r, bad)
					good := r.acceptFrom(listeners[1])
					r.expect(good, slices.Concat(header, request))
					r.expectNothing(good, c)
					r.expectActive(0, 1)
					r.write(good, answer)
					r.expect(c, answer)
					r.expect(good, []byte("and more"))
					ends := [2]conn{c, good}
					r.streamBothWays(ends, 100_000)
					r.expectNothing(c, good)
					c.Close()
					r.expectFIN(good)
					good.Close()

					end := r.expectEnd(ClientClosed)
					each := uint64(len(header) + len(request))
					total := each + uint64(len("and more")) + 100_000
					if end.Backend != "b1" || end.Retries != failure.retries || end.Sent != each+total ||
						end.Received != uint64(len(answer))+100_000 {
						t.Errorf("ended with %+v, want b1, %d retries", end, failure.retries)
					}
					b0, b1 := r.pool.Backends()[0].Stats(), r.pool.Backends()[1].Stats()
					if b0.Sent != each || b0.Received != 0 || b1.Sent != total || b1.Received != end.Received {
						t.Errorf("counted %+v and %+v", b0, b1)
					}
					r.expectDials(pool.DialOK, pool.DialOK)
					r.expectEmpty()
				})
			}
		}
	}
	f("Startup", startup, loginAnswer(cancelKey(1, 4)), ProxyOff, ProxyV1, ProxyV2)
	f("SSLRequest", sslRequest, []byte("S"), ProxyV2)
	f("GSSENCRequest", gssRequest, []byte("G"), ProxyOff)
}

// The same after the first backend has said that it does not encrypt: the client
// has been told so, and the next backend gets the start-up in clear only.
func TestBackendFailsAfterRefusal(t *testing.T) {
	for _, failure := range failures {
		t.Run(failure.name, func(t *testing.T) {
			listeners, addresses := listenMany(t, 2)
			r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1, send: ProxyV2})
			c := r.dial()
			header := r.headerFor(c, ProxyV2)
			r.write(c, sslRequest)
			bad := r.acceptFrom(listeners[0])
			r.expect(bad, slices.Concat(header, sslRequest))
			r.write(bad, []byte("N"))
			r.expect(c, []byte("N"))
			r.write(c, startup)
			r.expect(bad, startup)
			failure.fail(r, bad)
			good := r.acceptFrom(listeners[1])
			r.expect(good, slices.Concat(header, startup))
			r.write(good, loginAnswer(cancelKey(1, 4)))
			r.expect(c, loginAnswer(cancelKey(1, 4)))
			r.streamBothWays([2]conn{c, good}, 100_000)
			r.expectActive(0, 1)
			c.Close()
			good.Close()
			if end := r.expectEnd(ClientClosed); end.Backend != "b1" || end.Retries != failure.retries {
				t.Errorf("ended with %+v, want b1, %d retries", end, failure.retries)
			}
		})
	}
}

// The packet waits until a connect has succeeded, and goes to that backend only.
func TestPacketAfterFailedConnects(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{refusing(t), newBacklog(t).address, refusing(t), tcpAddress(good.Addr())},
		retries:  3, connect: 4 * time.Second, send: ProxyV1,
	})
	c := r.dial()
	r.write(c, append(slices.Clone(startup), "and more"...))
	r.until("the second connect is under way", func() bool { return len(r.dials) == 1 })
	r.now += 2 * time.Second
	s := r.acceptFrom(good)
	r.expect(s, slices.Concat(r.headerFor(c, ProxyV1), startup))
	r.expectNothing(s, c)
	r.write(s, loginAnswer(cancelKey(1, 4)))
	r.expect(c, loginAnswer(cancelKey(1, 4)))
	r.expect(s, []byte("and more"))
	r.exchange(c, s, 5)
	r.expectActive(0, 0, 0, 1)
	r.expectDials(pool.DialRefused, pool.DialTimeout, pool.DialRefused, pool.DialOK)
	c.Close()
	s.Close()
	r.expectEnd(ClientClosed)
}

// Direct TLS has no packet that could be sent twice, but a connect that fails has
// sent nothing.
func TestDirectTLSAfterFailedConnects(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	late := newBacklog(t)
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{refusing(t), late.address, tcpAddress(good.Addr())}, retries: 2, send: ProxyV2,
	})
	c := r.dial()
	r.write(c, clientHello)
	r.until("the second connect is under way", func() bool { return len(r.dials) == 1 })
	r.down(r.pool.Backends()[1])
	s := r.acceptFrom(good)
	r.expect(s, slices.Concat(r.headerFor(c, ProxyV2), clientHello))
	r.exchange(s, c, 5)
	r.exchange(c, s, 5)
	r.expectActive(0, 0, 1)
	s.Close()
	r.expectFIN(c)
	c.Close()
	r.expectEnd(ServerClosed)
}

// A backend may not take the packet at once. The rest follows, and is forgotten when it
// goes to another one as a whole.
func TestPacketUnsent(t *testing.T) {
	open := func(t *testing.T) (*rig, []net.Listener, conn) {
		listeners, addresses := listenMany(t, 2)
		r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1})
		r.write(r.dial(), startup)
		s := r.acceptFrom(listeners[0])
		r.expect(s, startup)
		r.settle()
		r.newest().halves[client].held = append(r.loop.buffers.get(), "the rest"...)
		return r, listeners, s
	}
	t.Run("sent later", func(t *testing.T) {
		r, _, s := open(t)
		before := r.newest().halves[client].bytes
		r.loop.step(r.newest())
		r.expect(s, []byte("the rest"))
		want := before + uint64(len("the rest"))
		if b := r.pool.Backends()[0].Stats(); b.Sent != want || r.newest().halves[client].bytes != want {
			t.Errorf("%d bytes counted, %d passed on, want %d", b.Sent, r.newest().halves[client].bytes, want)
		}
	})
	for _, failure := range failures {
		t.Run(failure.name, func(t *testing.T) {
			r, listeners, s := open(t)
			r.newest().ends[server].ready &^= writable
			failure.fail(r, s)
			good := r.acceptFrom(listeners[1])
			r.expect(good, startup)
			r.expectNothing(good)
			if r.newest().halves[client].unsent() {
				t.Error("the rest is still to be sent")
			}
		})
	}
}

// The last backend that may be tried has its say.
func TestAnswerRetries(t *testing.T) {
	f := func(name string, backends, retries int, fail func(r *rig, s conn), tried int, reason Reason, want []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			listeners, addresses := listenMany(t, backends)
			r := newPostgresRig(t, rigConfig{backends: addresses, retries: retries})
			c := r.dial()
			r.write(c, startup)
			for _, listener := range listeners[:tried] {
				s := r.acceptFrom(listener)
				r.expect(s, startup)
				fail(r, s)
			}
			if want != nil {
				r.expect(c, want)
				r.expectFIN(c)
				c.Close()
			} else if text := r.expectRefusal(c, "57P03"); !strings.Contains(text, `"pool"`) ||
				!strings.Contains(text, reason.String()) {
				t.Errorf("the client is told %q, want the pool's name and %v", text, reason)
			}
			end := r.expectEnd(reason)
			if end.Backend != fmt.Sprint("b", tried-1) || end.Retries != tried-1 {
				t.Errorf("ended with %+v, want b%d, %d retries", end, tried-1, tried-1)
			}
			for i, b := range r.pool.Backends() {
				if n := b.Stats().Connects; n != 0 && i >= tried || n != 1 && i < tried {
					t.Errorf("%d connects to %s", n, b.Name())
				}
			}
			r.expectEmpty()
		})
	}
	fin := func(r *rig, s conn) { s.Close() }
	rst := func(r *rig, s conn) { reset(s) }
	notNow := func(r *rig, s conn) { s.Write(fatal("57P03")); s.Close() }
	wrong := func(r *rig, s conn) { s.Write(fatal("28P01")); s.Close() }
	f("57P03, budget used up", 4, 2, notNow, 3, ServerClosed, fatal("57P03"))
	f("57P03, no budget", 2, 0, notNow, 1, ServerClosed, fatal("57P03"))
	f("57P03, nobody else", 3, 9, notNow, 3, ServerClosed, fatal("57P03"))
	f("57P03, alone", 1, 9, notNow, 1, ServerClosed, fatal("57P03"))
	f("FIN, budget used up", 4, 2, fin, 3, ServerClosed, nil)
	f("FIN, alone", 1, 9, fin, 1, ServerClosed, nil)
	f("reset, budget used up", 4, 2, rst, 3, ServerReset, nil)
	f("reset, nobody else", 2, 9, rst, 2, ServerReset, nil)
	f("another error is an answer", 4, 2, wrong, 1, ServerClosed, fatal("28P01"))
}

// Once the client has got a byte, whatever happens is between it and this backend.
func TestNothingMovesAfterAnswer(t *testing.T) {
	f := func(name string, request, answer []byte, fail func(r *rig, s conn), more []byte, reason Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			listeners, addresses := listenMany(t, 2)
			r := newPostgresRig(t, rigConfig{backends: addresses, retries: 5})
			c := r.dial()
			r.write(c, request)
			s := r.acceptFrom(listeners[0])
			r.expect(s, request)
			r.write(s, answer)
			r.expect(c, answer)
			fail(r, s)
			if reason == ServerClosed {
				r.expect(c, more)
				r.expectFIN(c)
				c.Close()
			} else {
				r.expectReset(c, more)
			}
			if end := r.expectEnd(reason); end.Backend != "b0" || end.Retries != 0 {
				t.Errorf("ended with %+v, want b0 and no retry", end)
			}
			if n := r.pool.Backends()[1].Stats().Connects; n != 0 {
				t.Errorf("%d connects to another backend", n)
			}
			r.expectEmpty()
		})
	}
	fin := func(r *rig, s conn) { r.write(s, fatal("57P03")); s.Close() }
	rst := func(r *rig, s conn) { reset(s) }
	end := func(r *rig, s conn) {
		r.down(r.pool.Backends()[0])
		r.exchange(s, r.dialled[0], 3) // it is left alone until it is ended
		r.endSessions(r.pool.Backends()[0], 0, 1)
	}
	f("57P03 after the first message", startup, askPassword, fin, fatal("57P03"), ServerClosed)
	f("57P03 after a byte", startup, []byte("R"), fin, fatal("57P03"), ServerClosed)
	f("57P03 in pieces", startup, fatal("57P03")[:1], fin, fatal("57P03"), ServerClosed)
	f("57P03 after TLS", sslRequest, []byte("S"), fin, fatal("57P03"), ServerClosed)
	f("reset after the first message", startup, askPassword, rst, nil, ServerReset)
	f("reset after TLS", sslRequest, []byte("S"), rst, nil, ServerReset)
	f("ended after the first message", startup, askPassword, end, nil, BackendDown)
	f("ended after TLS", sslRequest, []byte("S"), end, nil, BackendDown)
	f("ended with direct TLS", clientHello, []byte("\x16\x03\x03"), end, nil, BackendDown)
}

// A client that leaves before its answer takes everything with it.
func TestClientLeavesBeforeAnswer(t *testing.T) {
	f := func(name string, silent, resets bool, request []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			config := rigConfig{send: ProxyV2, connect: time.Minute}
			if silent {
				config.backends = []pool.Address{newBacklog(t).address}
			}
			r := newPostgresRig(t, config)
			c := r.dial()
			r.write(c, request)
			var s conn
			if silent {
				r.until("the connect is under way", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
			} else {
				s = r.accept()
				r.expect(s, slices.Concat(r.headerFor(c, ProxyV2), request))
				r.expectState(stateAnswering)
			}
			want := ClientClosed
			if resets {
				reset(c)
				want = ClientReset
			} else {
				c.CloseWrite()
			}
			if end := r.expectEnd(want); end.Backend != "b0" || end.Received != 0 {
				t.Errorf("ended with %+v, want b0 and nothing received", end)
			}
			switch {
			case s == nil:
			case resets:
				r.expectReset(s, nil)
			default:
				r.expectFIN(s)
			}
			if !resets {
				r.expectFIN(c)
			}
			r.expectEmpty()
		})
	}
	for name, request := range map[string][]byte{"Startup": startup, "SSLRequest": sslRequest} {
		f(name+", FIN while connecting", true, false, request)
		f(name+", reset while connecting", true, true, request)
		f(name+", FIN while it is answered", false, false, request)
		f(name+", reset while it is answered", false, true, request)
	}
}

// What a client is told when nobody takes it; a client of another protocol can
// only be reset.
func TestRefusals(t *testing.T) {
	f := func(name string, config rigConfig, prepare func(r *rig), reason Reason, state string) {
		t.Helper()
		for _, request := range [][]byte{startup, sslRequest, gssRequest} {
			t.Run(name, func(t *testing.T) {
				r := newPostgresRig(t, config)
				prepare(r)
				c := r.dial()
				r.write(c, request)
				r.until("the packet is read", func() bool {
					s := r.newest()
					return len(r.ended) > r.checked || s != nil && s.state != stateReadHello
				})
				r.now += time.Minute
				r.expectEnd(reason)
				want := fmt.Sprintf(`no server of pool "pool" can take this session (%v)`, reason)
				if text := r.expectRefusal(c, state); text != want {
					t.Errorf("the client is told %q, want %q", text, want)
				}
			})
		}
		t.Run(name+", tcp", func(t *testing.T) {
			r := newRig(t, config)
			prepare(r)
			c := r.dial()
			r.until("it is taken", func() bool { return r.newest() != nil || len(r.ended) > r.checked })
			r.now += time.Minute
			r.expectEnd(reason)
			r.expectReset(c, nil)
		})
	}
	none := func(*rig) {}
	refuses, silent := []pool.Address{refusing(t)}, []pool.Address{newBacklog(t).address}
	f("nobody is up", rigConfig{}, func(r *rig) { r.pool.Backends()[0].SetUp(false) }, NoBackend, "57P03")
	f("all are full", rigConfig{maxConns: 1}, func(r *rig) {
		b, err := r.pool.Reserve(source4.Addr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.t.Cleanup(b.Release) // runs before the rig looks
	}, QueueFull, "53300")
	f("refused", rigConfig{backends: refuses, retries: 3}, none, ConnectRefused, "57P03")
	f("silent", rigConfig{backends: silent, retries: 3, connect: time.Second}, none, ConnectTimeout, "57P03")
	f("bad path", rigConfig{backends: []pool.Address{{Unix: "/" + strings.Repeat("x", 200)}}}, none, ConnectFailed, "57P03")
}
