package l4

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// expectWaiting waits until so many sessions stand in the queue.
func (r *rig) expectWaiting(want int) {
	r.t.Helper()
	r.until(fmt.Sprint(want, " sessions wait"), func() bool { return r.pool.Waiting() == want })
}

// queueUp opens a session that has to wait, after those that wait already. A Postgres
// client has sent its packet.
func (r *rig) queueUp() conn {
	r.t.Helper()
	before := r.pool.Waiting()
	c := r.dial()
	if r.srv.listeners[0].config.Protocol == ProtocolPostgres {
		r.write(c, startup)
	}
	r.expectWaiting(before + 1)
	r.expectState(stateWaiting)
	return c
}

// eachProtocol runs a test for each protocol.
func eachProtocol(t *testing.T, f func(t *testing.T, protocol Protocol)) {
	t.Helper()
	for _, protocol := range []Protocol{ProtocolTCP, ProtocolPostgres} {
		t.Run(protocol.String(), func(t *testing.T) { f(t, protocol) })
	}
}

// expectServed checks that a session that has waited is joined to s, and that what
// its client sent meanwhile has come, once.
func (r *rig) expectServed(c, s conn) {
	r.t.Helper()
	if r.srv.listeners[0].config.Protocol == ProtocolPostgres {
		r.expect(s, startup)
		r.write(s, loginAnswer(cancelKey(1, 4)))
		r.expect(c, loginAnswer(cancelKey(1, 4)))
	}
	r.exchange(c, s, 2)
	r.exchange(s, c, 2)
}

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
		r.expectEnd(ClientReset)
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

// The queue timeout counts all the waits of a session together, and what lies between
// them not at all.
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
	r.now += time.Hour
	b.SetUp(false)
	r.until("the connect is given up", func() bool { return r.newest().state == stateWaiting })
	r.now += 3*time.Second - time.Millisecond
	r.settle()
	if len(r.ended) > 0 {
		t.Fatalf("ended early: %+v", r.ended[0])
	}
	r.now += time.Millisecond + tick
	end := r.expectEnd(QueueTimeout)
	if end.Waited < 10*time.Second || end.Waited > 10*time.Second+2*tick || end.Errno != syscall.ETIMEDOUT ||
		end.Backend != "b0" || end.Retries != 0 {
		t.Errorf("ended with %+v, want 10s of waiting, ETIMEDOUT by b0", end)
	}
	r.expectRefusal(c, "57P03")
	r.expectEmpty()
}

// A session that has failed on the only backend tries it again after a second: a
// server that restarts never looked down.
func TestTurnaround(t *testing.T) {
	fd, address := boundSocket(t)
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{address}, queueMax: 10, queueTimeout: 10 * time.Second, retries: 5})
	c := r.queueUp()
	for tries := 1; tries < 4; tries++ {
		if len(r.dials) != tries {
			t.Fatalf("%d connects, want %d", len(r.dials), tries)
		}
		r.now += turnaround - tick
		r.settle()
		if len(r.dials) != tries {
			t.Fatalf("%d connects before the turnaround, want %d", len(r.dials), tries)
		}
		r.now += 3 * tick
		r.until("it was tried again", func() bool { return len(r.dials) > tries && r.pool.Waiting() == 1 })
	}
	if err := syscall.Listen(fd, 10); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(must(syscall.Dup(fd))), "listener")
	listener := must(net.FileListener(file))
	file.Close()
	t.Cleanup(func() { listener.Close() })
	r.now += turnaround + 2*tick
	s := r.acceptFrom(listener)
	r.expectServed(c, s)
	s.Close()
	r.expectFIN(c)
	c.Close()
	end := r.expectEnd(ServerClosed)
	if end.Retries != 4 || end.Waited < 4*turnaround || end.Waited > 4*turnaround+20*tick {
		t.Errorf("ended with %+v, want 4 retries a second apart", end)
	}
}

// The budget holds for these tries too, and the reason is then the failure.
func TestTurnaroundBudget(t *testing.T) {
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{refusing(t)}, queueMax: 10, retries: 2})
	c := r.queueUp()
	for range 2 {
		r.now += turnaround + tick
		r.settle()
	}
	r.expectRefusal(c, "57P03")
	if end := r.expectEnd(ConnectRefused); end.Retries != 2 || end.Errno != syscall.ECONNREFUSED || end.Backend != "b0" {
		t.Errorf("ended with %+v, want ECONNREFUSED by b0 after 2 retries", end)
	}
	r.expectDials(pool.DialRefused, pool.DialRefused, pool.DialRefused)
	r.expectEmpty()
}

// A backend that has been down and is up again need not be waited for.
func TestTurnaroundEndsWhenBackendReturns(t *testing.T) {
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{refusing(t)}, queueMax: 10, retries: 5})
	r.queueUp()
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.settle()
	b.SetUp(true)
	r.until("it was tried again", func() bool { return len(r.dials) == 2 && r.pool.Waiting() == 1 })
	// A later one must not get the turn of the first, nor be held up by it.
	r.now += turnaround / 2
	r.dial()
	r.settle()
	r.now += turnaround/2 + 2*tick
	r.until("it was tried a third time", func() bool { return len(r.dials) == 3 })
}

// Who has been forgiven and still waits, waits for its backend alone.
func TestTurnaroundOnce(t *testing.T) {
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{refusing(t)}, queueMax: 10, retries: 5})
	r.queueUp()
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.now += turnaround + tick
	r.until("it is forgiven", func() bool { return r.loop.patience() < 0 })
	r.expectWaiting(1)
	if tried := r.newest().failedOn(); len(tried) != 0 {
		t.Errorf("it is still barred from %d backends", len(tried))
	}
	b.SetUp(true)
	r.until("it was tried again", func() bool { return len(r.dials) == 2 })
}

// After a wait the connects have the whole time, whatever those before have used up.
func TestConnectTimeoutAfterWait(t *testing.T) {
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{refusing(t), newBacklog(t).address}, queueMax: 10, retries: 5, connect: 3 * time.Second,
	})
	b := r.pool.Backends()
	b[1].SetUp(false)
	r.queueUp()
	b[0].SetUp(false)
	r.now += 2 * time.Second
	b[1].SetUp(true)
	r.until("it connects", func() bool { return r.newest().state == stateConnecting })
	r.now += 3*time.Second - time.Millisecond
	r.settle()
	r.expectDials(pool.DialRefused)
	r.now += time.Millisecond + tick
	r.until("the connect is given up", func() bool { return len(r.dials) == 2 })
}

// Another backend that comes up meanwhile serves at once a session that is barred from
// the first.
func TestTurnaroundAndAnother(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{refusing(t), tcpAddress(good.Addr())}, queueMax: 10, retries: 5})
	r.pool.Backends()[1].SetUp(false)
	c := r.queueUp()
	r.pool.Backends()[1].SetUp(true)
	r.expectServed(c, r.acceptFrom(good))
	r.expectActive(0, 1)
	r.expectDials(pool.DialRefused, pool.DialOK)
}

// A backend that says "not now" to everybody is waited for as one that refuses; the
// client hears of it only in the end.
func TestQueueAfterNotNow(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10, retries: 2, send: ProxyV2})
	c := r.dial()
	header := r.headerFor(c, ProxyV2)
	r.write(c, startup)
	for range 2 {
		s := r.accept()
		r.expect(s, slices.Concat(header, startup))
		r.write(s, fatal("57P03"))
		r.expectFIN(s)
		r.expectWaiting(1)
		r.expectNothing(c)
		r.now += turnaround + tick
	}
	s := r.accept()
	r.expect(s, slices.Concat(header, startup))
	r.write(s, fatal("57P03"))
	s.Close()
	r.expect(c, fatal("57P03"))
	r.expectFIN(c)
	c.Close()
	if end := r.expectEnd(ServerClosed); end.Retries != 2 || end.Waited < 2*turnaround {
		t.Errorf("ended with %+v, want 2 retries and 2s of waiting", end)
	}
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

// Who leaves the queue has its place no more. A tcp client that has sent something and
// FIN has asked, and waits for its answer.
func TestClientLeavesQueue(t *testing.T) {
	fin, rst := func(c conn) { c.CloseWrite() }, reset
	f := func(name string, config rigConfig, sent string, leave func(conn), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			config.queueMax, config.queueTimeout = 10, time.Minute
			for _, early := range []bool{false, true} { // whether it leaves before it is looked at
				if config.bind != nil {
					config.bind = []pool.Address{{Unix: filepath.Join(t.TempDir(), "front")}}
				}
				r := newRig(t, config)
				r.pool.Backends()[0].SetUp(false)
				c := r.dial()
				r.write(c, []byte(sent))
				if early {
					leave(c)
				} else {
					r.expectWaiting(1)
					r.now += 3 * time.Second
					leave(c)
				}
				if want == noReason {
					r.expectWaiting(1)
					r.settle()
					r.expectState(stateWaiting)
					r.pool.Backends()[0].SetUp(true)
					s := r.accept()
					r.expect(s, []byte("request"))
					r.expectFIN(s)
					r.write(s, []byte("answer"))
					s.Close()
					r.expect(c, []byte("answer"))
					r.expectFIN(c)
					r.expectEnd(ClientClosed)
					continue
				}
				end := r.expectEnd(want)
				if wait := 3 * time.Second; !early && (end.Waited != wait || end.Duration != wait) {
					t.Errorf("ended with %+v, want 3s of waiting", end)
				}
				r.expectWaiting(0)
				if want == ClientClosed && !strings.HasSuffix(sent, "more") { // what is unread makes it a reset
					r.expectFIN(c)
				}
				r.expectEmpty()
			}
		})
	}
	tcp, pg := rigConfig{}, rigConfig{protocol: ProtocolPostgres}
	tcpHeader, pgHeader := rigConfig{accept: accepting()}, rigConfig{protocol: ProtocolPostgres, accept: accepting()}
	unix := rigConfig{bind: []pool.Address{{}}}
	f("tcp, FIN", tcp, "", fin, ClientClosed)
	f("tcp, reset", tcp, "", rst, ClientReset)
	f("tcp, request and FIN", tcp, "request", fin, noReason)
	f("tcp, request and reset", tcp, "request", rst, ClientReset)
	f("tcp, header and FIN", tcpHeader, lineTCP4, fin, ClientClosed)
	f("tcp, header, request and FIN", tcpHeader, lineTCP4+"request", fin, noReason)
	f("tcp, header, request and reset", tcpHeader, lineTCP4+"request", rst, ClientReset)
	f("unix, FIN", unix, "", fin, ClientClosed)
	f("unix, request and FIN", unix, "request", fin, noReason)
	f("postgres, FIN", pg, string(startup), fin, ClientClosed)
	f("postgres, reset", pg, string(startup), rst, ClientReset)
	f("postgres, more and FIN", pg, string(startup)+"more", fin, ClientClosed)
	f("postgres, header and FIN", pgHeader, lineTCP4+string(startup), fin, ClientClosed)
	f("postgres, SSLRequest and FIN", pg, string(sslRequest), fin, ClientClosed)
}

// A Unix client that closes hangs up both ways.
func TestUnixClientClosesInQueue(t *testing.T) {
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: filepath.Join(t.TempDir(), "front")}}, queueMax: 1})
	r.pool.Backends()[0].SetUp(false)
	r.queueUp().Close()
	r.expectEnd(ClientClosed)
	r.expectWaiting(0)
}

// A client whose machine has gone does not keep its place for long.
func TestDeadClientInQueue(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 1, dead: [2]time.Duration{time.Second, 0}})
	r.pool.Backends()[0].SetUp(false)
	silence(r.queueUp())
	if end := r.expectEnd(ClientReset); end.Errno != syscall.ETIMEDOUT {
		t.Errorf("ended with %+v, want ETIMEDOUT", end)
	}
	r.expectWaiting(0)
}

// The slot is granted at the very moment the client leaves, the timer fires or the
// server ends: whoever the loop hears first, the slot is neither lost nor doubled, and
// the next in the queue has it.
func TestGrantMeetsEnd(t *testing.T) {
	f := func(name string, after bool, end func(r *rig, c conn), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{maxConns: 1, queueMax: 10, queueTimeout: 10 * time.Second})
			taken := must(r.pool.Reserve(source4.Addr(), nil))
			c := r.queueUp()
			next := r.queueUp()
			r.settle()
			// The loop stands still: it will find both in one batch.
			if after {
				end(r, c)
				taken.Release()
			} else {
				taken.Release()
				end(r, c)
			}
			if r.pool.Waiting() != 1 {
				t.Fatal("the slot was not granted")
			}
			r.expectActive(1)
			if got := r.expectEnd(want); got.Received != 0 {
				t.Errorf("ended with %+v", got)
			}
			if !after {
				r.rest(r.accept()) // the connect of the one who left
			}
			r.expectServed(next, r.accept())
			r.expectActive(1)
			r.expectWaiting(0)
			reset(next)
			r.expectEnd(ClientReset)
			r.expectEmpty()
		})
	}
	for _, after := range []bool{false, true} {
		name := fmt.Sprint(", grant comes second: ", after)
		f("FIN"+name, after, func(r *rig, c conn) { c.CloseWrite() }, ClientClosed)
		f("reset"+name, after, func(r *rig, c conn) { reset(c) }, ClientReset)
	}
}

// sessionOf is the session of a client.
func (r *rig) sessionOf(c conn) (found *session) {
	r.loop.sessions.each(func(s *session) {
		if s.client.Port() == uint16(c.LocalAddr().(*net.TCPAddr).Port) {
			found = s
		}
	})
	return found
}

// The timer fires while the grant lies in the inbox: the session has its backend, and
// the message that comes later changes nothing.
func TestGrantMeetsTimer(t *testing.T) {
	f := func(name string, barred bool, late time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{maxConns: 1, queueMax: 10, queueTimeout: 10 * time.Second})
			taken := must(r.pool.Reserve(source4.Addr(), nil))
			c, next := r.queueUp(), r.queueUp()
			s := r.sessionOf(c)
			s.opening.barred = barred
			r.loop.rearm(s)
			r.now += late
			r.loop.now = r.now
			taken.Release()
			r.loop.timers.advance(r.now, func(slot int32) {
				if slot == s.slot {
					r.loop.expire(slot)
				}
			})
			if s.state != stateConnecting || s.backend == nil {
				t.Fatalf("the session is in state %d with backend %v", s.state, s.backend)
			}
			if s.waited != late {
				t.Errorf("it has waited %v, want %v", s.waited, late)
			}
			r.now -= late // the other one has time
			back := r.accept()
			r.expectServed(c, back)
			r.expectActive(1)
			r.expectWaiting(1)
			reset(c)
			r.expectEnd(ClientReset)
			r.expectServed(next, r.accept())
			r.expectActive(1)
		})
	}
	f("queue timeout", false, 10*time.Second+tick)
	f("turnaround", true, turnaround+tick)
}

// A session is granted a slot, fails, waits again, is granted one again, and then the
// messages of both grants come.
func TestGrantTwice(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10, retries: 5})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	c := r.queueUp()
	s := r.newest()
	var backs []conn
	for range 3 {
		b.SetUp(true)
		r.loop.slotGranted(s.token(client))
		if s.state != stateConnecting {
			t.Fatalf("state %d, want connecting", s.state)
		}
		b.SetUp(false)
		r.loop.redispatch(b)
		if s.state != stateWaiting {
			t.Fatalf("state %d, want waiting", s.state)
		}
		s, err := r.backend.Accept()
		if err != nil {
			t.Fatal(err)
		}
		backs = append(backs, r.keep(s))
	}
	if n := len(r.loop.inbox.pending); n != 3 {
		t.Fatalf("%d messages wait, want 3", n)
	}
	b.SetUp(true)
	back := r.accept()
	r.expectServed(c, back)
	r.expectActive(1)
	for _, s := range backs {
		r.expectFIN(s)
	}
	r.expectNobody(r.backend)
	r.leave([2]conn{c, back})
	r.expectEmpty()
}

// The message of a grant comes when its session has ended and another one has the slot
// in the slab.
func TestGrantOfEndedSession(t *testing.T) {
	r := newRig(t, rigConfig{queueMax: 10})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.queueUp()
	old := r.newest().token(client)
	b.SetUp(true)
	r.loop.end(r.newest(), Shutdown, 0) // it gives back what it was granted
	r.expectActive(0)
	b.SetUp(false)
	r.queueUp()
	if r.newest().token(client) == old || r.newest().slot != int32(old>>slotShift&slotMask) {
		t.Fatal("the slot was not used again")
	}
	r.settle()
	r.expectState(stateWaiting)
	r.expectWaiting(1)
}

// What a session was granted has to be given back when the connect fails at once, and
// the wait counts once.
func TestGrantThenFailure(t *testing.T) {
	f := func(name string, retries int, address pool.Address, spoil func(*rig) (mend func()), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{backends: []pool.Address{address, address}, queueMax: 10, retries: retries})
			for _, b := range r.pool.Backends() {
				b.SetUp(false)
			}
			c := r.queueUp()
			s := r.newest()
			r.now += 4 * time.Second
			r.loop.now = r.now
			r.pool.Backends()[1].SetUp(true)
			mend := spoil(r)
			r.loop.slotGranted(s.token(client))
			mend()
			end := r.expectEnd(want)
			if end.Waited != 4*time.Second || end.Backend != "b1" {
				t.Errorf("ended with %+v, want 4s of waiting for b1", end)
			}
			r.expectActive(0, 0)
			r.expectRefusal(c, "57P03")
			r.expectEmpty()
		})
	}
	none := func(*rig) func() { return func() {} }
	f("no such socket", 0, pool.Address{Unix: filepath.Join(t.TempDir(), "none")}, none, ConnectRefused)
	f("bad path", 0, pool.Address{Unix: "/" + string(make([]byte, 200))}, none, ConnectFailed)
	f("epoll refuses", 0, refusing(t), func(r *rig) func() {
		good := r.loop.poller
		broken := must(sysutil.NewPoller(1))
		broken.Close()
		r.loop.poller = broken
		return func() { r.loop.poller = good }
	}, ConnectFailed)
}

// Sessions that wait, and such as have been granted a slot and not heard of it, end with
// the server.
func TestQueueAtShutdown(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.queueUp()
	c := r.queueUp()
	r.settle()
	b.SetUp(true) // both are granted a slot, and nobody has looked
	r.expectActive(2)
	r.loop.sessions.each(func(s *session) { r.loop.end(s, Shutdown, 0) })
	r.expectActive(0)
	b.SetUp(false)
	r.settle()
	r.expectReset(c, nil)
	r.queueUp()
	r.loop.sessions.each(func(s *session) { r.loop.end(s, Shutdown, 0) })
	r.expectWaiting(0)
	r.settle()
	r.expectEmpty()
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
