package l4

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

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
	f("FIN, budget used up", 4, 2, fin, 3, ServerReset, nil)
	f("FIN, alone", 1, 9, fin, 1, ServerReset, nil)
	f("reset, budget used up", 4, 2, rst, 3, ServerReset, nil)
	f("reset, nobody else", 2, 9, rst, 2, ServerReset, nil)
	f("another error is an answer", 4, 2, wrong, 1, ServerClosed, fatal("28P01"))
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
	long := []pool.Address{{Unix: "/" + strings.Repeat("x", 200)}}
	f("bad path", rigConfig{backends: long}, none, ConnectFailed, "57P03")
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
