package l4

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"sluice/pool"
)

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
	{"57P01", func(r *rig, s conn) { r.write(s, fatal("57P01")) }, 1},
	{"57P01 and FIN", func(r *rig, s conn) { s.Write(fatal("57P01")); s.Close() }, 1},
	{"57P02 and reset", func(r *rig, s conn) { s.Write(fatal("57P02")); reset(s) }, 1},
	{"57P01 in pieces", func(r *rig, s conn) {
		for _, b := range fatal("57P01") {
			r.write(s, []byte{b})
			r.step()
		}
	}, 1},
	{"57P01 at the end of a login", func(r *rig, s conn) { s.Write(slices.Concat(loginBegun, fatal("57P01"))); s.Close() }, 1},
	{"a part of an error and FIN", func(r *rig, s conn) { s.Write(fatal("42501")[:9]); s.Close() }, 1},
	{"a part of an error and reset", func(r *rig, s conn) { s.Write(fatal("57P01")[:1]); r.settle(); reset(s) }, 1},
	{"redispatch", func(r *rig, s conn) { r.down(r.pool.Backends()[0]) }, 0},
	{"redispatch and FIN", func(r *rig, s conn) { r.down(r.pool.Backends()[0]); s.Close() }, 0},
	{"redispatch and reset", func(r *rig, s conn) { r.down(r.pool.Backends()[0]); reset(s) }, 0},
	{"redispatch and answer", func(r *rig, s conn) { r.down(r.pool.Backends()[0]); s.Write([]byte("S")) }, 0},
	{"redispatch and end", func(r *rig, s conn) {
		r.down(r.pool.Backends()[0])
		r.endSessions(r.pool.Backends()[0], 0, 0)
	}, 0},
}

// loginBegun is what a server has to say when it asks for no password, before it is ready.
var loginBegun = slices.Concat(authenticationOK, parameter, backendMessage('N', []byte("SNOTICE\x00\x00")), backendMessage('K', cancelKey(1, 4)))

// A backend that fails before its first answer costs the client nothing but
// time: the next one gets the same, with a PROXY header of its own, once.
func TestBackendFailsBeforeAnswer(t *testing.T) {
	f := func(name string, request, answer []byte, versions ...ProxyVersion) {
		t.Helper()
		inClear := bytes.Equal(request, startup)
		for _, failure := range failures {
			for _, send := range versions {
				t.Run(fmt.Sprint(name, ", ", failure.name, ", ", send), func(t *testing.T) {
					listeners, addresses := listenMany(t, 2)
					r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1, send: send})
					c := r.dial()
					header := r.headerFor(c, send)
					early := append(slices.Clone(request), "and more"...)
					if !inClear {
						early = request
					}
					r.write(c, early)
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
					if !inClear {
						r.write(c, []byte("and more"))
					}
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

// The backend leaves after "no encryption" in the moment in which the client goes on,
// and the loop hears of the client first.
func TestBackendLeavesAsClientGoesOn(t *testing.T) {
	f := func(name string, leave func(conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			listeners, addresses := listenMany(t, 2)
			r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1, send: ProxyV1})
			c := r.dial()
			header := r.headerFor(c, ProxyV1)
			r.write(c, sslRequest)
			bad := r.acceptFrom(listeners[0])
			r.expect(bad, slices.Concat(header, sslRequest))
			r.write(bad, []byte("N"))
			r.expect(c, []byte("N"))
			r.settle()
			if _, err := c.Write(startup); err != nil { // the loop stands still
				t.Fatal(err)
			}
			leave(bad)
			good := r.acceptFrom(listeners[1])
			r.expect(good, slices.Concat(header, startup))
			r.expectActive(0, 1)
			r.write(good, loginAnswer(cancelKey(1, 4)))
			r.expect(c, loginAnswer(cancelKey(1, 4)))
			r.exchange(c, good, 3)
			r.exchange(good, c, 3)
			if n := r.newest().retries; n != 1 {
				t.Errorf("%d retries, want 1", n)
			}
		})
	}
	f("FIN", func(c conn) { c.Close() })
	f("reset", reset)
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

// A server that has been connected to may need longer to answer, or get less time, than a connect.
func TestAnswerTimeout(t *testing.T) {
	f := func(connect, answer, want time.Duration) {
		t.Helper()
		listeners, addresses := listenMany(t, 2)
		r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1, connect: connect,
			listener: func(l *ListenerConfig) { l.Target.AnswerTimeout = answer }})
		c := r.dial()
		r.write(c, startup)
		late := r.acceptFrom(listeners[0])
		r.expect(late, startup)
		r.now += want - 2*tick
		r.expectNothing(c, late)
		r.now += 3 * tick
		s := r.acceptFrom(listeners[1])
		r.expect(s, startup)
		r.write(s, loginAnswer(cancelKey(1, 4)))
		r.expect(c, loginAnswer(cancelKey(1, 4)))
		c.Close()
		s.Close()
		r.expectEnd(ClientClosed)
	}
	f(time.Second, 5*time.Second, 5*time.Second)
	f(5*time.Second, time.Second, time.Second)
	f(3*time.Second, 0, 3*time.Second)
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
	f("57P01 after the first message", startup, askPassword, func(r *rig, s conn) { r.write(s, fatal("57P01")); s.Close() },
		fatal("57P01"), ServerClosed)
	f("57P01 when ready", startup, slices.Concat(loginAnswer(cancelKey(1, 4)), fatal("57P01")),
		func(r *rig, s conn) { s.Close() }, nil, ServerClosed)
	f("no rights after the login", startup, slices.Concat(loginBegun, fatal("42501")), func(r *rig, s conn) { s.Close() }, nil,
		ServerClosed)
	f("no rights", startup, fatal("42501"), func(r *rig, s conn) { s.Close() }, nil, ServerClosed)
	f("no error of version 3", startup, []byte("EFATAL: no"), func(r *rig, s conn) { s.Close() }, nil, ServerClosed)
	f("57P03 after TLS", sslRequest, []byte("S"), fin, fatal("57P03"), ServerClosed)
	f("reset after the first message", startup, askPassword, rst, nil, ServerReset)
	f("reset after TLS", sslRequest, []byte("S"), rst, nil, ServerReset)
	f("ended after the first message", startup, askPassword, end, nil, BackendDown)
	f("ended after TLS", sslRequest, []byte("S"), end, nil, BackendDown)
	f("ended with direct TLS", clientHello, []byte("\x16\x03\x03"), end, nil, BackendDown)
}
