package l4

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/l4/pgwire"
	"sluice/l4/pgwire/pgtest"
)

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
	if len(pgtest.Bad) < 20 {
		t.Errorf("%d malformed packets, want at least 20", len(pgtest.Bad))
	}
	for name, data := range pgtest.Bad {
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
	after := maps.Clone(pgtest.Bad)
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
			resets := strings.HasPrefix(name, "reset")
			if resets {
				reset(c)
			} else {
				c.CloseWrite()
			}
			r.expectEnd(want)
			switch {
			case resets:
			case want == ClientClosed:
				r.expectFIN(c)
			case want == HelloInvalid:
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
	f("reset", nil, false, ClientClosed)
	f("reset behind a header", nil, true, ClientClosed)
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
	if n := cap(r.newest().opening.input); n > 2*pgwire.MaxStartup {
		t.Errorf("%d bytes are kept for a packet, want at most %d", n, 2*pgwire.MaxStartup)
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
