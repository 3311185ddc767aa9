package l4

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/pool"
)

// Without a rate no client is rate-limited. The loops' clocks are not the same: each has the time of
// its last batch of events.
func TestNoRateNoRateLimit(t *testing.T) {
	c := newClients(ClientLimits{Sessions: 5})
	addr := netip.MustParseAddr("192.0.2.1")
	for i, now := range []time.Duration{time.Second, time.Second - 1, 1, 2 * time.Second, 0} {
		if got := c.admit(addr, now); got != admitted {
			t.Errorf("session %d, at %v: verdict %d, want admitted", i+1, now, got)
		}
	}
}

// Nor does an older clock cost a client the last session of its burst.
func TestBurstWithOlderClock(t *testing.T) {
	c := newClients(ClientLimits{Rate: 1, Burst: 3})
	addr := netip.MustParseAddr("192.0.2.1")
	for i, now := range []time.Duration{time.Second, time.Second - time.Microsecond, time.Second - time.Millisecond} {
		if got := c.admit(addr, now); got != uncounted {
			t.Errorf("session %d of a burst of 3, at %v: verdict %d, want it to come in", i+1, now, got)
		}
	}
	if got := c.admit(addr, time.Second); got != rateLimited {
		t.Errorf("one more: verdict %d, want a refusal", got)
	}
}

// A client may ask for each kind of encryption once, as the server has it (ProcessStartupPacket):
// who asks again and again would have the loop for itself.
func TestEncryptionIsAskedForOnce(t *testing.T) {
	f := func(name string, routes []Route, fallback bool, answers string, requests ...[]byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{listener: func(l *ListenerConfig) {
				for _, route := range routes {
					l.Routes = append(l.Routes, RoutedTarget{Route: route, Target: l.Target})
				}
				if !fallback {
					l.Target = Target{}
				}
			}})
			c := r.dial()
			if _, err := c.Write(slices.Concat(requests...)); err != nil { // the loop stands still
				t.Fatal(err)
			}
			r.settle()
			if len(r.ended) == 0 {
				t.Fatalf("%d requests for encryption are taken: %s", len(requests), r.describe())
			}
			r.expectEnd(HelloInvalid)
			if data, err := r.rest(c); err == nil || string(data) != answers && len(data) > 0 {
				t.Errorf("the client read %q, %v; want at most %q and a reset", data, err, answers)
			}
		})
	}
	bySNI, byDatabase := []Route{{SNI: []string{"a.example.com"}}}, []Route{{Database: []string{"app"}}}
	f("GSSENCRequest twice", bySNI, true, "N", gssRequest, gssRequest)
	f("GSSENCRequest 1,000 times", byDatabase, true, "N", slices.Repeat([][]byte{gssRequest}, 1000)...)
	f("SSLRequest twice", byDatabase, false, "N", sslRequest, sslRequest)
	f("both in turn", byDatabase, false, "NN", gssRequest, sslRequest, gssRequest, sslRequest)
}

// A TLS client that hangs up before the server has answered is gone: it cannot go on without the
// answer. A server that is stopped must not keep its sessions for ever.
func TestTLSClientLeavesBeforeAnswer(t *testing.T) {
	r := newRig(t, rigConfig{protocol: ProtocolTLS, fin: time.Minute, connect: time.Second})
	hello := helloOf(t, 600)
	c := r.dial()
	r.write(c, hello)
	s := r.accept()
	r.expect(s, hello)
	c.Close()
	r.settle()
	r.now += time.Hour
	r.settle()
	if len(r.ended) == 0 {
		t.Errorf("an hour after the client has left: %s", r.describe())
	}
}

// What a session has failed on in one pool is not what it fails of in another.
func TestFailuresStayWithTheirPool(t *testing.T) {
	f := func(name string, leave func(r *rig, s conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			good := listenTCP(t, "127.0.0.1:0")
			other := newPool(t, 1, 0, refusing(t))
			r := newPostgresRig(t, rigConfig{
				backends: []pool.Address{refusing(t), tcpAddress(good.Addr())}, retries: 1,
				listener: func(l *ListenerConfig) {
					target := l.Target
					target.Pool = other
					l.Routes = []RoutedTarget{{Route: Route{Database: []string{"shop"}}, Target: target}}
				},
			})
			other.Backends()[0].SetUp(false)
			c := r.dial()
			r.write(c, sslRequest)
			s := r.acceptFrom(good) // after one that refused
			r.expect(s, sslRequest)
			r.write(s, []byte("N"))
			r.expect(c, []byte("N"))
			leave(r, s)
			r.write(c, startup) // asks for the database that only the other pool has
			end := r.expectEnd(NoBackend)
			if end.Backend != "" || end.Pool != other.Name() {
				t.Errorf("ended with %+v: that backend is not one of its pool's", end)
			}
		})
	}
	gone := func(r *rig) {
		r.until("it is let go", func() bool { return r.newest().backend == nil })
	}
	f("the backend is there", func(r *rig, s conn) {})
	f("the backend leaves", func(r *rig, s conn) { s.Close(); gone(r) })
	f("the backend goes down", func(r *rig, s conn) { r.srv.Redispatch(r.newest().backend); gone(r) })
}

// A socket that rests is not to rest once more: the count of those that do would never be zero again.
func TestRestsOnce(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 1})
	for range 3 {
		r.dial()
	}
	r.loop.sockets[0].batch = 4 // as after a burst
	report := r.srv.config.OnEnd
	stolen := false
	r.srv.config.OnEnd = func(e End) {
		report(e)
		if !stolen { // another loop takes the place that came free
			stolen = true
			r.srv.places.take()
		}
	}
	restore := useUpDescriptors(t, 1) // the connect fails, which rests the socket
	r.until("it has failed", func() bool { return len(r.ended) > 0 })
	restore()
	r.expectEnd(ConnectFailed)
	if own, all := r.loop.resting, r.srv.listeners[0].resting.Load(); own > 1 || all > 1 {
		t.Errorf("%d sockets of the loop rest, %d of the listener; there is one", own, all)
	}
	r.srv.places.give()
	r.now += restTime
	r.leave([2]conn{r.dialled[1], r.accept()})
	r.leave([2]conn{r.dialled[2], r.accept()})
	r.now += restTime
	r.settle()
	if r.srv.Stats().Listeners[0].Resting {
		t.Error("the listener rests for ever")
	}
	if wait := r.loop.patience(); wait >= 0 {
		t.Errorf("an idle loop wakes up every %v", wait)
	}
}

// When a connect fails for want of descriptors, those that wait in the backlog are left there for a
// while: the end of the session that failed has given back what it had itself, and no more.
func TestRestAfterFailedConnect(t *testing.T) {
	r := newRig(t, rigConfig{})
	for range 5 {
		r.dial()
	}
	restore := useUpDescriptors(t, 1) // enough for a client, not for its backend
	r.until("it has failed", func() bool { return len(r.ended) > 0 })
	r.settle() // the clock stands
	restore()
	if n := r.srv.Stats().Listeners[0].Accepts; n != 1 {
		t.Errorf("%d connections were accepted and reset, want 1", n)
	}
}

// The warning is about sessions that are open, not about a place taken in vain.
func TestNearIsWarnedOfWhenItIsSo(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 10})
	for range 7 {
		r.dial()
		r.accept()
	}
	r.loop.sockets[0].batch = 8
	r.loop.accept(&r.loop.sockets[0]) // nobody is there, as after another loop was quicker
	r.expectWarnings("near", 0)
}

// The operator is told of each limit: that of the listener is not kept from him because he has just
// heard of the server's.
func TestBothLimitsAreWarnedOf(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 10, listener: func(l *ListenerConfig) { l.MaxSessions = 10 }})
	for range 9 {
		r.dial()
		r.accept()
	}
	r.expectWarnings("near the limit\" loop=0 listener=test limit_of=process", 1)
	r.expectWarnings("near the limit\" loop=0 listener=test limit_of=listener", 1)
}

// Cancel requests, which anybody may send, open no more connections at a time than sluice has
// descriptors for: there may be hundreds of pools.
func TestCancelAsksBoundedMany(t *testing.T) {
	const pools, requests = 200, 3
	server := newSilent(t)
	r := newPostgresRig(t, rigConfig{listener: func(l *ListenerConfig) {
		for i := range pools {
			target := l.Target
			addr := netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}) // one server with many addresses
			port := server.Addr().(*net.TCPAddr).AddrPort().Port()
			target.Pool = newPool(t, 1, 0, pool.Address{TCP: netip.AddrPortFrom(addr, port)})
			route := Route{Database: []string{fmt.Sprint("db", i)}}
			l.Routes = append(l.Routes, RoutedTarget{Route: route, Target: target})
		}
		l.Target = Target{}
	}})
	for i := range byte(requests) {
		r.write(r.dial(), cancelRequest(cancelKey(i, 4)))
	}
	r.until("as many as may be are asked", func() bool { return server.open.Load() >= maxCancels })
	r.turns(50)
	if n := server.open.Load(); n > maxCancels {
		t.Errorf("%d connections for %d cancel requests at once, want at most %d", n, requests, maxCancels)
	}
	server.release()
	for range requests {
		r.expectEnd(ServerClosed)
	}
}

// That one server has closed the connection says nothing of the others: it does so, too, when the
// session is not its own. The one that owns it is asked even if it is slow to be reached.
func TestCancelReachesSlowServer(t *testing.T) {
	slow := newBacklog(t)
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{tcpAddress(closer(t).Addr()), slow.address}})
	request := cancelRequest(cancelKey(1, 4))
	r.write(r.dial(), request)
	r.until("one has been asked", func() bool { return r.pool.Backends()[0].Stats().Connects == 1 })
	// The kernel's second SYN is lost as well; the third comes after three seconds.
	wait(downTimeout+500*time.Millisecond, func() bool { r.step(); return false })
	s := r.acceptFrom(slow.serve(t))
	r.expect(s, request)
	s.Close()
	if n := r.pool.Backends()[1].Stats().ConnectFailures[pool.DialError]; n != 0 {
		t.Errorf("%d connects to the slow server count as failed, though nobody waited for them", n)
	}
}

// A silentServer takes connections and says nothing, until it is told to close all.
type silentServer struct {
	net.Listener
	open     atomic.Int64
	conns    sync.WaitGroup
	released chan struct{}
	release  func()
}

func newSilent(t *testing.T) *silentServer {
	t.Helper()
	s := &silentServer{Listener: listenTCP(t, "0.0.0.0:0"), released: make(chan struct{})}
	s.release = sync.OnceFunc(func() { close(s.released) })
	s.conns.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			s.open.Add(1)
			s.conns.Go(func() {
				<-s.released
				io.ReadFull(c, make([]byte, 16)) // the request: what is unread would make the end a reset
				c.Close()
				s.open.Add(-1)
			})
		}
	})
	t.Cleanup(func() {
		s.release()
		s.Close()
		s.conns.Wait()
	})
	return s
}

// A chain of two: what this one sends, another one takes.
func TestHeaderStaysWithinBounds(t *testing.T) {
	f := func(filler int) {
		t.Helper()
		received := v2(commandProxy, familyTCP4, addresses4, field(typeCustom, make([]byte, filler)))
		r := newRig(t, rigConfig{
			protocol: ProtocolTLS, accept: accepting(), send: ProxyV2,
			listener: func(l *ListenerConfig) { l.Target.TLVs = []TLV{TLVAuthority, TLVALPN, TLVUniqueID, TLVCRC32C} },
		})
		c := r.dial()
		r.write(c, slices.Concat(received, helloOf(t, 600)))
		s := r.accept()
		r.until("all was sent", func() bool { return r.newest().state == stateAnswering })
		data := make([]byte, 8192)
		n := must(s.Read(data))
		if _, _, err := parseHeader(data[:n]); err != nil {
			t.Errorf("a header with %d bytes of fields, passed on: %v", filler, err)
		}
	}
	f(0)
	f(3900)
	f(4096 - 12 - 3)
}

// A server that hangs up on a hello has given its answer: to ask it again every second for as long
// as the queue allows is a load that anybody can put on it.
func TestHelloIsNotAskedAgainAndAgain(t *testing.T) {
	r := newRig(t, rigConfig{protocol: ProtocolTLS, queueMax: 10, queueTimeout: time.Minute, connect: time.Second})
	hello := helloOf(t, 600)
	c := r.dial()
	r.write(c, hello)
	for range 10 {
		s := r.accept()
		r.expect(s, hello)
		s.Close()
		r.settle()
		if len(r.ended) > 0 {
			return
		}
		r.now += turnaround + tick
	}
	t.Errorf("one hello was put to the only server %d times", r.pool.Backends()[0].Stats().Connects)
}

// A session that has let its backend go has no backend to look after.
func TestDeadPeerOfCancelling(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newPostgresRig(t, rigConfig{backends: addresses, dead: [2]time.Duration{time.Minute, time.Minute}})
	ends := [2]conn{client: r.dial()}
	r.write(ends[client], sslRequest)
	ends[server] = r.acceptFrom(listeners[0])
	r.expect(ends[server], sslRequest)
	r.write(ends[server], []byte("N"))
	r.expect(ends[client], []byte("N"))
	request := cancelRequest(cancelKey(1, 4))
	r.write(ends[client], request)
	asked := [...]conn{r.expectCancel(listeners[0], request), r.expectCancel(listeners[1], request)}
	r.now += time.Hour // the servers take their time
	r.settle()
	r.expectState(stateCancelling)
	for _, s := range asked {
		s.Close()
	}
	r.expectEnd(ServerClosed)
}
