package l4

import (
	"slices"
	"testing"
	"time"

	"sluice/pool"
)

// With plain TCP, only a connect can be taken back: what the client has sent may
// have been acted on once it was passed on.
func TestRedispatchTCP(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{
		backends: []pool.Address{newBacklog(t).address, tcpAddress(good.Addr())}, accept: accepting(), send: ProxyV2,
	})
	c := r.dial()
	r.write(c, append([]byte(lineTCP4), "first data"...))
	r.until("the connect is under way", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
	r.settle()
	r.expectActive(1, 0)
	r.down(r.pool.Backends()[0])
	s := r.acceptFrom(good)
	r.expect(s, append(v2(commandProxy, familyTCP4, addresses4), "first data"...))
	r.expectNothing(c, s)
	r.expectActive(0, 1)

	r.down(r.pool.Backends()[1]) // it relays: nothing to take back
	r.exchange(c, s, 5)
	r.exchange(s, c, 5)
	r.expectActive(0, 1)
	s.Close()
	r.expectFIN(c)
	c.Close()
	if end := r.expectEnd(ServerClosed); end.Retries != 0 || end.Backend != "b1" {
		t.Errorf("ended with %+v, want b1 and no retry", end)
	}
	r.expectDials(pool.DialOK) // the other connect was neither a success nor a failure
}

// A connect that has been given up does not count against its backend, and the
// next one has the whole time.
func TestRedispatchGivesWholeTime(t *testing.T) {
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{newBacklog(t).address, newBacklog(t).address}, connect: 3 * time.Second, retries: 5,
	})
	r.write(r.dial(), startup)
	r.until("the connect is under way", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
	r.now += 400 * time.Millisecond
	r.down(r.pool.Backends()[0])
	r.until("it is with the other", func() bool { return r.newest().backend.Name() == "b1" })
	r.now += 3*time.Second - time.Millisecond
	r.settle()
	if len(r.ended) > 0 {
		t.Fatalf("ended early: %+v", r.ended[0])
	}
	r.now += time.Millisecond + tick
	if end := r.expectEnd(ConnectTimeout); end.Backend != "b1" {
		t.Errorf("ended with %+v, want b1", end)
	}
}

// Where there is nobody else, a session stays with a backend that is said to be
// down: it may still answer.
func TestRedispatchNowhere(t *testing.T) {
	late := newBacklog(t)
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{late.address}})
	c := r.dial()
	r.write(c, startup)
	r.until("the connect is under way", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
	r.down(r.pool.Backends()[0])
	r.settle()
	r.expectState(stateConnecting)
	s := r.acceptFrom(late.serve(t))
	r.expect(s, startup)
	r.srv.Redispatch(r.pool.Backends()[0])
	r.expectNothing(c, s)
	r.expectState(stateAnswering)
	r.expectActive(1)
	r.write(s, loginAnswer(cancelKey(1, 4)))
	r.expect(c, loginAnswer(cancelKey(1, 4)))
	r.exchange(c, s, 3)
}

// Only the sessions of that backend are touched, and only those it has not
// answered.
func TestRedispatchOthers(t *testing.T) {
	listeners, addresses := listenMany(t, 3)
	r := newPostgresRig(t, rigConfig{backends: addresses})
	waiting := func() (ends [2]conn) {
		ends[client] = r.dial()
		r.write(ends[client], startup)
		for i, b := range r.pool.Backends() {
			if b.Usable() {
				ends[server] = r.acceptFrom(listeners[i])
				r.expect(ends[server], startup)
				return ends
			}
		}
		return ends
	}
	answered := func() [2]conn {
		ends := waiting()
		r.write(ends[server], loginAnswer(cancelKey(1, 4)))
		r.expect(ends[client], loginAnswer(cancelKey(1, 4)))
		return ends
	}
	b := r.pool.Backends()
	first, second := waiting(), answered()
	b[0].SetUp(false)
	third, fourth := waiting(), answered()
	b[0].SetUp(true)
	none, half := r.dial(), r.dial() // no packet, and a part of one
	r.write(half, startup[:5])
	r.expectActive(2, 2, 0)

	r.down(b[1])
	moved := r.acceptFrom(listeners[0]) // First picks it
	r.expect(moved, startup)
	r.expectFIN(third[server])
	r.expectNothing(first[server], second[server], fourth[server], moved, none, half)
	r.expectActive(3, 1, 0)
	third[server] = moved
	for _, ends := range [][2]conn{first, third} {
		r.write(ends[server], loginAnswer(cancelKey(2, 4)))
		r.expect(ends[client], loginAnswer(cancelKey(2, 4)))
	}
	for _, ends := range [][2]conn{first, second, third, fourth} {
		r.exchange(ends[client], ends[server], 2)
		r.exchange(ends[server], ends[client], 2)
	}
	r.write(half, startup[5:])
	r.expect(r.acceptFrom(listeners[0]), startup)
}

// The backends fail one after the other, faster than any of them answers: more
// often than a token can count.
func TestRedispatchAgainAndAgain(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newPostgresRig(t, rigConfig{backends: addresses, send: ProxyV1})
	c := r.dial()
	want := slices.Concat(r.headerFor(c, ProxyV1), startup)
	r.write(c, append(slices.Clone(startup), "and more"...))
	s := r.acceptFrom(listeners[0])
	for i := range 2*attemptMask + 5 {
		r.expect(s, want)
		from, to := r.pool.Backends()[i%2], r.pool.Backends()[1-i%2]
		to.SetUp(true)
		r.down(from)
		s.Close() // in one batch with the order to leave it
		s = r.acceptFrom(listeners[1-i%2])
	}
	r.expect(s, want)
	r.write(s, loginAnswer(cancelKey(1, 4)))
	r.expect(c, loginAnswer(cancelKey(1, 4)))
	r.expect(s, []byte("and more"))
	r.exchange(s, c, 5)
	r.exchange(c, s, 5)
	if n := r.newest().retries; n != 0 {
		t.Errorf("%d retries, want none", n)
	}
}

// The event of a connection that was given up in the same batch must not be taken
// for one of the connection that took its place.
func TestStaleEventAfterRedispatch(t *testing.T) {
	f := func(name string, leave func(conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			bad := listenTCP(t, "127.0.0.1:0")
			r := newPostgresRig(t, rigConfig{backends: []pool.Address{tcpAddress(bad.Addr()), newBacklog(t).address}})
			r.write(r.dial(), startup)
			s := r.acceptFrom(bad)
			r.expect(s, startup)
			r.settle()
			r.down(r.pool.Backends()[0]) // the inbox is ready before the socket
			leave(s)
			stale := r.loop.stale.Load()
			r.settle()
			if r.loop.stale.Load() == stale {
				t.Fatal("no event was stale: the test shows nothing")
			}
			if n := r.expectState(stateConnecting); n.ends[server].ready != 0 {
				t.Errorf("the new connection has readiness %b of the old one", n.ends[server].ready)
			}
		})
	}
	f("FIN", func(c conn) { c.Close() })
	f("reset", reset)
	f("answer", func(c conn) { c.Write([]byte("S")) })
	f("57P03 and FIN", func(c conn) { c.Write(fatal("57P03")); c.Close() })
}

// However many sessions leave a backend, the loop has turns for the others between. It goes
// on by itself, to the last slot.
func TestRedispatchBetweenTurns(t *testing.T) {
	const sessions = walkSlots + 2*walkEnds + 5
	good := listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{backends: []pool.Address{newBacklog(t).address, tcpAddress(good.Addr())}})
	for range sessions {
		r.dial()
	}
	left, over := r.pool.Backends()[0], r.pool.Backends()[1]
	r.until("all connect", func() bool { return left.Stats().Active == sessions })
	r.down(left)
	turns := 0
	for before := 0; before < sessions; turns++ {
		r.step()
		now := over.Stats().Active
		if now-before > walkEnds || now+left.Stats().Active != sessions {
			t.Fatalf("turn %d: %d have moved after %d, and %d are where they were", turns, now, before, left.Stats().Active)
		}
		if before = now; turns > 10*sessions {
			t.Fatalf("%d of %d have moved", now, sessions)
		}
	}
	if least := sessions / walkEnds; turns < least {
		t.Errorf("it took %d turns, want %d at least", turns, least)
	}
	for range sessions { // each of them is whole
		r.acceptFrom(good)
	}
	r.expectActive(0, sessions)
}
