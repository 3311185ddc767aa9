package l4

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/l4/pgwire"
	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

func TestEndSessionsLimit(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newRig(t, rigConfig{backends: addresses})
	b := r.pool.Backends()
	pair := func(i int) (ends [2]conn) {
		ends[client] = r.dial()
		ends[server] = r.acceptFrom(listeners[i])
		return ends
	}
	r.endSessions(b[0], 0, 0) // before there was any session
	var all [][2]conn
	for range 10 {
		all = append(all, pair(0))
	}
	b[0].SetUp(false)
	other := pair(1)
	b[0].SetUp(true)
	r.expectActive(10, 1)

	for i, want := range []int{4, 4, 2, 0} { // fewer than asked for: none is left
		r.endSessions(b[0], 4, want)
		r.expectActive(10-min(10, 4*(i+1)), 1)
	}
	for _, ends := range all {
		r.expectReset(ends[client], nil)
		r.expectReset(ends[server], nil)
		if end := r.expectEnd(BackendDown); end.Backend != "b0" || end.Errno != 0 {
			t.Errorf("ended with %+v, want b0 and no errno", end)
		}
	}
	r.exchange(other[client], other[server], 3)

	for range 3 {
		pair(0)
	}
	r.endSessions(b[0], 3, 3) // exactly as many as there are
	r.endSessions(b[0], 3, 0)
	for range 3 {
		r.expectEnd(BackendDown)
		pair(0)
	}
	r.endSessions(b[0], 0, 3) // all
	r.endSessions(b[1], 100, 1)
	r.until("all have ended", func() bool { return len(r.ended) == 17 })
	r.checked = 17
	r.expectEmpty()
}

// A few at a time means everybody's turn comes: those who came later are not ended
// before those who were there.
func TestEndSessionsGoesRound(t *testing.T) {
	const sessions = 2*chunkSize + 10
	r := newRig(t, rigConfig{})
	for range sessions {
		r.pair()
	}
	b := r.pool.Backends()[0]
	seen := map[uint64]bool{}
	for range sessions {
		r.endSessions(b, 1, 1)
		end := r.expectEnd(BackendDown)
		if seen[end.ID] {
			t.Fatalf("session %d has ended twice", end.ID)
		}
		seen[end.ID] = true
		if len(seen)%50 == 0 {
			r.pair() // takes a slot before the cursor
		}
	}
	young := 0
	for id := range seen {
		if id > sessions {
			young++
		}
	}
	if young > 0 {
		t.Errorf("%d sessions that came during the rounds were ended before older ones", young)
	}
}

// In every state: who has somewhere to go goes there, and the client notices
// nothing; who has not is told so.
func TestEndSessionsByState(t *testing.T) {
	f := func(name string, protocol Protocol, open func(r *rig) conn, silent bool, state state, told string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{protocol: protocol, backends: backends(t, silent)})
			c := open(r)
			r.until("it is so far", func() bool { return r.newest() != nil && r.newest().state == state })
			b := r.pool.Backends()[0]
			b.SetUp(false)
			want := 1
			if state == stateReadHello {
				want = 0 // it can do without the backend until it sends its next packet
			}
			r.endSessions(b, 0, want)
			r.endSessions(b, 0, 0)
			r.expectActive(0)
			if want == 0 {
				r.expectState(state)
				r.write(c, startup)
				r.expectRefusal(c, told)
				r.expectEnd(NoBackend)
				return
			}
			if told != "" {
				r.expectRefusal(c, told)
			} else {
				r.expectReset(c, nil)
			}
			r.expectEnd(BackendDown)
		})
	}
	f("connecting, tcp", ProtocolTCP, func(r *rig) conn { return r.dial() }, true, stateConnecting, "")
	f("relaying, tcp", ProtocolTCP, func(r *rig) conn { return r.pair()[client] }, false, stateRelaying, "")
	f("connecting", ProtocolPostgres, func(r *rig) conn {
		c := r.dial()
		r.write(c, startup)
		return c
	}, true, stateConnecting, "57P03")
	f("answering", ProtocolPostgres, func(r *rig) conn {
		c := r.dial()
		r.write(c, startup)
		r.accept()
		return c
	}, false, stateAnswering, "57P03")
	f("no TLS", ProtocolPostgres, func(r *rig) conn { return r.refusedTLS()[client] }, false, stateReadHello, "57P03")
	f("relaying", ProtocolPostgres, func(r *rig) conn { return r.login(cancelKey(1, 4))[client] }, false, stateRelaying, "")
}

// backends is one that does not answer, or the rig's own.
func backends(t *testing.T, silent bool) []pool.Address {
	t.Helper()
	if silent {
		return []pool.Address{newBacklog(t).address}
	}
	return nil
}

// Without a redispatch before it, too: sessions that were not answered move on, and
// are not counted.
func TestEndSessionsMovesUnanswered(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newPostgresRig(t, rigConfig{backends: addresses})
	relaying := r.dial()
	r.write(relaying, startup)
	s := r.acceptFrom(listeners[0])
	r.expect(s, startup)
	r.write(s, loginAnswer(cancelKey(1, 4)))
	r.expect(relaying, loginAnswer(cancelKey(1, 4)))
	c := r.dial()
	r.write(c, startup)
	r.expect(r.acceptFrom(listeners[0]), startup)
	r.expectState(stateAnswering)

	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.endSessions(b, 0, 1)
	r.expectReset(relaying, nil)
	r.expectEnd(BackendDown)
	s = r.acceptFrom(listeners[1])
	r.expect(s, startup)
	r.write(s, loginAnswer(cancelKey(2, 4)))
	r.expect(c, loginAnswer(cancelKey(2, 4)))
	r.exchange(c, s, 3)
	r.expectActive(0, 1)
}

// A backend that is still in use may be emptied too: a session that would only come
// back to it is ended.
func TestEndSessionsOfUsableBackend(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	c := r.dial()
	r.write(c, startup)
	r.expect(r.accept(), startup)
	r.endSessions(r.pool.Backends()[0], 0, 1)
	r.expectRefusal(c, "57P03")
	r.expectEnd(BackendDown)
	r.expectEmpty()
}

// What is cut is no end of the data.
func TestEndSessionsWithUnsentBytes(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.smallBuffers(ends)
	r.fillUp(ends[client])
	r.endSessions(r.pool.Backends()[0], 0, 1)
	r.expectEnd(BackendDown)
	for _, c := range ends {
		if _, err := r.rest(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %v, want a reset", err)
		}
	}
}

// After the end of the server nobody answers, and nobody waits.
func TestEndSessionsAfterShutdown(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	p := newPool(t, 2, 0, tcpAddress(backend.Addr()))
	srv := startServer(t, 2, p, ListenerConfig{}, nil)
	c := dialEcho(t, srv)
	defer c.Close()
	shutDown(t, srv)
	for _, limit := range []int{0, 1, 100} {
		if n := srv.EndSessions(p.Backends()[0], BackendDown, limit); n != 0 {
			t.Errorf("EndSessions ended %d sessions", n)
		}
		srv.Redispatch(p.Backends()[0])
	}
}

// Several callers at once, while the server stops: all return, and every session is
// counted once.
func TestEndSessionsDuringShutdown(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	for range 20 {
		var reasons [numReasons]atomic.Int64
		p := newPool(t, 2, 0, tcpAddress(backend.Addr()))
		srv := startServer(t, 2, p, ListenerConfig{}, func(e End) { reasons[e.Reason].Add(1) })
		const sessions = 8
		for range sessions {
			defer dialEcho(t, srv).Close()
		}
		var callers sync.WaitGroup
		var ended atomic.Int64
		for limit := range 4 {
			callers.Go(func() {
				for range 3 {
					ended.Add(int64(srv.EndSessions(p.Backends()[0], BackendDown, limit)))
					srv.Redispatch(p.Backends()[0])
				}
			})
		}
		shutDown(t, srv)
		callers.Wait()
		down, cut := reasons[BackendDown].Load(), reasons[Shutdown].Load()
		if down < ended.Load() || down+cut != sessions {
			t.Errorf("%d ended as backend_down and %d as shutdown, %d were returned; want %d together", down, cut, ended.Load(), sessions)
		}
	}
}

// A limit is one for all loops together.
func TestEndSessionsAcrossLoops(t *testing.T) {
	const loops, sessions = 3, 30
	backend := newEcho(t)
	defer backend.stop()
	p := newPool(t, loops, 0, tcpAddress(backend.Addr()))
	srv := startServer(t, loops, p, ListenerConfig{}, nil)
	defer shutDown(t, srv)
	for range sessions {
		defer dialEcho(t, srv).Close()
	}
	b := p.Backends()[0]
	for left := sessions; left > 0; left -= 7 {
		want := min(left, 7)
		if n := srv.EndSessions(b, BackendDown, 7); n != want || b.Stats().Active != left-want {
			t.Errorf("of %d, %d were ended and %d are left; want %d and %d", left, n, b.Stats().Active, want, left-want)
		}
	}
	if n := srv.EndSessions(b, BackendDown, 0); n != 0 {
		t.Errorf("%d sessions were left", n)
	}
}

// The backend of a session is drained: one that relays ends with that word, and one that it
// has not answered goes to another backend, for that reason too.
func TestEndSessionsDrained(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newPostgresRig(t, rigConfig{backends: addresses})
	relaying := r.dial()
	r.write(relaying, startup)
	s := r.acceptFrom(listeners[0])
	r.expect(s, startup)
	r.write(s, loginAnswer(cancelKey(1, 4)))
	r.expect(relaying, loginAnswer(cancelKey(1, 4)))
	moving := r.dial()
	r.write(moving, startup)
	r.expect(r.acceptFrom(listeners[0]), startup)

	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.endSessionsFor(Drained, b, 0, 1)
	r.expectReset(relaying, nil)
	r.expectEnd(Drained)
	s = r.acceptFrom(listeners[1])
	r.expect(s, startup)
	reset(moving)
	if end := r.expectEnd(ClientReset); len(end.Tried) != 1 || end.Tried[0].Reason != Drained || end.Tried[0].Backend != "b0" {
		t.Errorf("ended with %+v, want b0 tried and drained", end)
	}

	r.pool.Backends()[1].SetUp(false)
	b.SetUp(true)
	c := r.dial()
	r.write(c, startup)
	r.expect(r.acceptFrom(listeners[0]), startup)
	r.endSessionsFor(Drained, b, 0, 1) // nobody else is there
	if text := r.expectRefusal(c, pgwire.CannotConnectNow); !strings.Contains(text, "(drained)") {
		t.Errorf("the client is told %q", text)
	}
	r.expectEnd(Drained)
}

// In TLS, too, a client whose session has come to nothing is told so.
func TestEndSessionsDrainedTLS(t *testing.T) {
	r := newRig(t, rigConfig{protocol: ProtocolTLS})
	hello := hellotest.OfSize(t, 600)
	c := r.dial()
	r.write(c, hello)
	r.expect(r.accept(), hello)
	r.endSessionsFor(Drained, r.pool.Backends()[0], 0, 1)
	r.expect(c, tlshello.AlertInternalError.Record())
	r.expectFIN(c)
	r.expectEnd(Drained)
}
