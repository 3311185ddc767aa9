package l4

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// While every backend is full, those who come first are served first, one for each
// slot that is given back.
func TestQueueWhileFull(t *testing.T) {
	eachProtocol(t, func(t *testing.T, protocol Protocol) {
		r := newRig(t, rigConfig{protocol: protocol, maxConns: 2, queueMax: 10})
		var open [][2]conn
		for range 2 {
			c := r.dial()
			if protocol == ProtocolPostgres {
				r.write(c, startup)
			}
			s := r.accept()
			r.expectServed(c, s)
			open = append(open, [2]conn{c, s})
		}
		var waiting []conn
		for range 5 {
			waiting = append(waiting, r.queueUp())
			r.now += time.Second
		}
		r.expectNobody(r.backend)
		r.expectActive(2)
		for i, c := range waiting {
			open[i][client].Close()
			r.expectFIN(open[i][server])
			open[i][server].Close()
			r.expectEnd(ClientClosed)
			s := r.accept()
			r.expectServed(c, s)
			r.expectActive(2)
			r.expectWaiting(4 - i)
			r.expectNobody(r.backend)
			open = append(open, [2]conn{c, s})
			r.now += time.Second
		}
		for i, ends := range open[5:] {
			reset(ends[client])
			r.expectEnd(ClientReset)
			if want := 5 * time.Second; r.ended[5+i].Waited != want {
				t.Errorf("session %d has waited %v, want %v", i, r.ended[5+i].Waited, want)
			}
		}
		for _, end := range r.ended[:2] {
			if end.Waited != 0 {
				t.Errorf("a session that did not wait has waited %v", end.Waited)
			}
		}
		r.expectEmpty()
	})
}

// While none is up all wait, and when one comes back all are served, in order.
func TestQueueWhileNoneUp(t *testing.T) {
	eachProtocol(t, func(t *testing.T, protocol Protocol) {
		r := newRig(t, rigConfig{protocol: protocol, queueMax: 10, send: ProxyV1})
		b := r.pool.Backends()[0]
		b.SetUp(false)
		var waiting []conn
		for i := range 5 {
			c := r.queueUp()
			r.write(c, fmt.Append(nil, "sent while it waits, by ", i)) // stays in the kernel
			waiting = append(waiting, c)
		}
		r.now += 7 * time.Second
		r.expectNothing(waiting...)
		r.expectNobody(r.backend)
		r.expectActive(0)
		r.while("the backend comes up", func() error { b.SetUp(true); return nil })
		for i, c := range waiting {
			s := r.accept()
			r.expect(s, r.headerFor(c, ProxyV1))
			if protocol == ProtocolPostgres {
				r.expect(s, startup)
				r.expectNothing(s)
				r.write(s, loginAnswer(cancelKey(1, 4)))
				r.expect(c, loginAnswer(cancelKey(1, 4)))
			}
			r.expect(s, fmt.Append(nil, "sent while it waits, by ", i))
			r.exchange(s, c, 2)
			c.Close()
			s.Close()
			if end := r.expectEnd(ClientClosed); end.Waited != 7*time.Second || end.Retries != 0 || end.Backend != "b0" {
				t.Errorf("ended with %+v, want 7s of waiting", end)
			}
		}
		r.expectEmpty()
	})
}

// A session that waits costs no timer but the one for its end, and nothing allocated
// is left when it is served.
func TestQueueHoldsLittle(t *testing.T) {
	r := newRig(t, rigConfig{queueMax: 10, maxConns: 1})
	one := r.pair()
	c := r.queueUp()
	if wait := r.loop.patience(); wait >= 0 {
		t.Errorf("the loop would wait %v, want for ever", wait)
	}
	r.leave(one)
	s := r.accept()
	r.exchange(c, s, 2)
	if n := r.expectState(stateRelaying); n.opening != nil {
		t.Error("the opening is kept while relaying")
	}
}

func TestQueueFull(t *testing.T) {
	eachProtocol(t, func(t *testing.T, protocol Protocol) {
		r := newRig(t, rigConfig{protocol: protocol, queueMax: 2})
		r.pool.Backends()[0].SetUp(false)
		first, second := r.queueUp(), r.queueUp()
		c := r.dial()
		if protocol == ProtocolPostgres {
			r.write(c, startup)
			r.expectRefusal(c, "53300")
		} else {
			r.expectReset(c, nil)
		}
		if end := r.expectEnd(QueueFull); end.Waited != 0 || end.Backend != "" {
			t.Errorf("ended with %+v, want no wait and no backend", end)
		}
		reset(first)
		r.expectLeft()
		third := r.queueUp() // there is room again
		r.pool.Backends()[0].SetUp(true)
		r.expectServed(second, r.accept())
		r.expectServed(third, r.accept())
	})
}

func TestQueueTimeout(t *testing.T) {
	eachProtocol(t, func(t *testing.T, protocol Protocol) {
		r := newRig(t, rigConfig{protocol: protocol, queueMax: 10, queueTimeout: 10 * time.Second})
		r.pool.Backends()[0].SetUp(false)
		first := r.queueUp()
		r.now += 6 * time.Second
		second := r.queueUp()
		r.now += 4*time.Second - time.Millisecond
		r.settle()
		if len(r.ended) > 0 {
			t.Fatalf("ended early: %+v", r.ended[0])
		}
		for _, c := range []conn{first, second} {
			r.now += time.Millisecond + tick
			if end := r.expectEnd(QueueTimeout); end.Waited != end.Duration || end.Waited < 10*time.Second ||
				end.Waited > 10*time.Second+2*tick || end.Backend != "" || end.Pool != "pool" {
				t.Errorf("ended with %+v, want 10s of waiting", end)
			}
			if protocol == ProtocolPostgres {
				r.expectRefusal(c, "57P03")
			} else {
				r.expectReset(c, nil)
			}
			r.now += 6*time.Second - time.Millisecond - tick
		}
		r.expectWaiting(0)
		r.expectEmpty()
	})
}

// The queue timeout counts from the first wait of a session, with the connects between its
// waits; the last of these gets time enough for a lost SYN.
func TestQueueTimeoutCountsAllWaits(t *testing.T) {
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{newBacklog(t).address}, queueMax: 10, queueTimeout: 10 * time.Second,
		connect: 3 * time.Second, retries: 5,
	})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	c := r.queueUp()
	r.now += 4 * time.Second
	b.SetUp(true)
	r.until("it connects", func() bool { return r.newest().state == stateConnecting })
	r.now += 2 * time.Second
	r.down(b)
	r.expectWaiting(1)
	r.now += 3 * time.Second
	b.SetUp(true)
	r.until("it connects again", func() bool { return r.newest().state == stateConnecting })
	r.now += leastConnect - time.Millisecond
	r.settle()
	if len(r.ended) > 0 {
		t.Fatalf("ended early: %+v", r.ended[0])
	}
	r.now += time.Millisecond + 3*tick
	end := r.expectEnd(QueueTimeout)
	if end.Waited < 7*time.Second || end.Waited > 7*time.Second+4*tick || end.Errno != syscall.ETIMEDOUT ||
		end.Backend != "b0" || end.Retries != 0 {
		t.Errorf("ended with %+v, want 7s of waiting, ETIMEDOUT by b0", end)
	}
	r.expectRefusal(c, "57P03")
	r.expectEmpty()
}

// Sessions whose backend goes down before it has answered go back to wait, whatever
// they were doing, and the next one gets the same, once.
func TestRedispatchIntoQueue(t *testing.T) {
	f := func(name string, silent bool, to state) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			listeners, addresses := listenMany(t, 2)
			if silent {
				addresses[0] = newBacklog(t).address
			}
			r := newPostgresRig(t, rigConfig{backends: addresses, queueMax: 10, queueTimeout: 10 * time.Second})
			b := r.pool.Backends()
			b[1].SetUp(false)
			c := r.dial()
			r.write(c, append(slices.Clone(startup), "and more"...))
			r.until("it is so far", func() bool { return r.newest() != nil && r.newest().state == to })
			r.now += 2 * time.Second
			r.down(b[0])
			r.expectWaiting(1)
			r.expectActive(0, 0)
			r.endSessions(b[0], 0, 0)
			r.now += 3 * time.Second
			r.expectNothing(c)
			b[1].SetUp(true)
			s := r.acceptFrom(listeners[1])
			r.expect(s, startup)
			r.expectNothing(s)
			r.write(s, loginAnswer(cancelKey(1, 4)))
			r.expect(c, loginAnswer(cancelKey(1, 4)))
			r.expect(s, []byte("and more"))
			r.exchange(s, c, 3)
			s.Close()
			r.expectFIN(c)
			c.Close()
			if end := r.expectEnd(ServerClosed); end.Waited != 3*time.Second || end.Retries != 0 || end.Backend != "b1" {
				t.Errorf("ended with %+v, want 3s of waiting for b1", end)
			}
			r.expectEmpty()
		})
	}
	f("connecting", true, stateConnecting)
	f("answering", false, stateAnswering)
}

// After "no encryption" a session without a backend waits like any other.
func TestQueueAfterRefusal(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10})
	ends := r.refusedTLS()
	b := r.pool.Backends()[0]
	r.down(b)
	r.expectFIN(ends[server])
	r.expectState(stateReadHello)
	r.write(ends[client], startup)
	r.expectWaiting(1)
	b.SetUp(true)
	r.expectServed(ends[client], r.accept())
}

// Redispatch and EndSessions leave those alone who wait.
func TestEvictionLeavesQueueAlone(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10})
	b := r.pool.Backends()[0]
	r.down(b)
	c := r.queueUp()
	r.srv.Redispatch(b)
	r.endSessions(b, 0, 0)
	r.expectWaiting(1)
	r.expectNothing(c)
	b.SetUp(true)
	r.expectServed(c, r.accept())
}

// Several loops share one queue: who came first to any of them is served first.
func TestQueueAcrossLoops(t *testing.T) {
	const loops, sessions = 3, 60
	backend := newEcho(t)
	p := newQueuePool(t, loops, 1, sessions, tcpAddress(backend.Addr()))
	srv := startServer(t, loops, p, ListenerConfig{Target: Target{QueueTimeout: time.Minute}}, nil)
	first := dialEcho(t, srv)
	var waiting []net.Conn
	for i := range sessions {
		c := must(net.Dial("tcp", srv.testAddress()))
		defer c.Close()
		c.SetDeadline(time.Now().Add(patient))
		eventually(t, "it waits", func() bool { return p.Waiting() == i+1 })
		waiting = append(waiting, c)
	}
	first.Close()
	for i, c := range waiting {
		talk(t, c) // would not be answered out of turn: there is one slot
		if n := p.Waiting(); n != sessions-1-i {
			t.Fatalf("%d wait when %d is served, want %d", n, i, sessions-1-i)
		}
		c.Close()
	}
	eventually(t, "all have ended", func() bool { return srv.sessionCount() == 0 })
	shutDown(t, srv)
	backend.stop()
	if n := p.Backends()[0].Stats().Active; n != 0 {
		t.Errorf("%d slots are taken in the end", n)
	}
}
