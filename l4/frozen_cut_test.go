package l4

import (
	"net"
	"testing"

	"sluice/pool"
)

// slowBackend is one with which a session comes to a state and no further. nil: it accepts nobody.
func slowBackend(t *testing.T, s state) (net.Listener, pool.Address) {
	if s == stateConnecting {
		return nil, newBacklog(t).address
	}
	listener := listenTCP(t, "127.0.0.1:0")
	return listener, tcpAddress(listener.Addr())
}

// A backend goes down while a session that it has not answered is in no loop, or has not yet come to the next
// server: another one is tried when it goes on.
func TestUnansweredMoveOnAfterAFreeze(t *testing.T) {
	f := func(name string, down func(f *freeze), away, late bool) {
		t.Run(name, func(t *testing.T) {
			other := listenTCP(t, "127.0.0.1:0")
			for _, state := range []state{stateConnecting, stateAnswering} {
				first, address := slowBackend(t, state)
				r := newPostgresRig(t, rigConfig{backends: []pool.Address{address, tcpAddress(other.Addr())}})
				c := r.dial()
				r.write(c, startup)
				if state == stateAnswering {
					r.expect(r.acceptFrom(first), startup)
				}
				r.until("it is so far", func() bool { return r.newest() != nil && r.newest().state == state })
				f := r.freeze(true, away && !late)
				if late {
					f.follow()
				}
				down(f)
				if late {
					f.arrive()
				}
				f.thaw()
				s := r.acceptFrom(other)
				r.expect(s, startup)
				r.write(s, loginAnswer(cancelKey(1, 4)))
				r.expect(c, loginAnswer(cancelKey(1, 4)))
				r.exchange(c, s, 2)
				r.expectActive(0, 1)
			}
		})
	}
	down := func(f *freeze) { f.down(0) }
	f("returned", down, false, false)
	f("handed over", down, true, false)
	f("handed over after the call", down, true, true)
	f("in maintenance", func(f *freeze) {
		f.old.pool.Backends()[0].SetAdmin(pool.Maint)
		f.r.srv.Redispatch(f.old.pool.Backends()[0])
	}, false, false)
}

// A backend that comes back while a session is in no loop keeps it.
func TestUnansweredStaysAfterAFreeze(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		listeners, addresses := listenMany(t, 2)
		r := newPostgresRig(t, rigConfig{backends: addresses})
		c := r.dial()
		r.write(c, startup)
		s := r.acceptFrom(listeners[0])
		r.expect(s, startup)
		f := r.freeze(true, away)
		f.down(0)
		f.old.pool.Backends()[0].SetUp(true)
		if away {
			f.next.pool.Backends()[0].SetUp(true)
		}
		f.thaw()
		r.expectNobody(listeners[1])
		r.write(s, loginAnswer(cancelKey(1, 4)))
		r.expect(c, loginAnswer(cancelKey(1, 4)))
		r.expectActive(1, 0)
	})
}

// Who ends a backend's sessions does not meet those in no loop, and not those that are still to come. They have their
// slots all the while, so he asks again, and then they end.
func TestSessionsEndAfterAFreeze(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		for _, limit := range []int{0, 5} {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			f := r.freeze(false, away)
			ask := func(want int) {
				r.t.Helper()
				b := r.pool.Backends()[0]
				if b.Active() != 1 {
					t.Errorf("%d slots are taken, want 1", b.Active())
				}
				r.endSessions(b, limit, want)
			}
			ask(0)
			if away {
				r.use(f.next)
				ask(0)
				r.use(f.old)
			}
			f.thaw()
			r.exchange(ends[client], ends[server], 2)
			ask(1)
			r.expectReset(ends[client], nil)
			r.expectEnd(BackendDown)
			r.expectActive(0)
		}
	})
	t.Run("still to come", func(t *testing.T) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		f := r.freeze(false, false)
		f.follow()
		r.use(f.next)
		r.endSessions(r.pool.Backends()[0], 0, 0)
		r.expectActive(1)
		r.use(f.old)
		f.arrive()
		f.thaw()
		r.endSessions(r.pool.Backends()[0], 0, 1)
		r.expectReset(ends[client], nil)
		r.expectEnd(BackendDown)
	})
}

// A pool that no listener names is known all the same: sessions go on in it, and what is expected of it is.
func TestPoolThatNoListenerNames(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	address := r.pool.Backends()[0].Address()
	f := r.freeze(false, false)
	f.follow()
	own := newNamedPool(t, "own", 1, 0, 0, address)
	f.next.srv.config.Pools = func() []*pool.Pool { return []*pool.Pool{own} }
	records, files := wire(t, f.batch)
	records[0].Pool = "own"
	count := func(when string, want int) {
		t.Helper()
		if n := own.Backends()[0].Active(); n != want {
			t.Errorf("%s: %d slots are taken, want %d", when, n, want)
		}
	}
	left := Remaining{Backends: []BackendRemaining{{Pool: "own", Name: "b0", Address: address, Active: 1}}}
	r.on(f.next, "expect it", func() error { return f.next.srv.Expect(left) })
	count("before", 1)
	r.on(f.next, "adopt a batch", func() (err error) {
		f.arrival, _, err = f.next.srv.Adopt(records, files)
		return err
	})
	f.thaw()
	r.exchange(ends[client], ends[server], 2)
	count("after", 1)
	r.on(f.next, "expect another", func() error { return f.next.srv.Expect(left) })
	count("another is expected", 2)
	r.on(f.next, "expect nothing", func() error { return f.next.srv.Expect(Remaining{}) })
	r.endSessions(own.Backends()[0], 0, 1)
	r.expectReset(ends[client], nil)
	r.expectEnd(BackendDown)
	count("in the end", 0)
	if len(own.All()) != 1 {
		t.Errorf("%d backends, want 1", len(own.All()))
	}
	for _, b := range f.next.pool.All() {
		b.Expect(0)
	}
}
