package l4

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/l4/clients"
	"sluice/l4/route"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// anEnd is a way in which the only session that a server may have can end.
type anEnd struct {
	name   string
	config rigConfig
	act    func(r *rig) // opens the session and ends it
	want   Reason
}

// A place and the client's own are given back on every way out, once.
func TestPlacesAreGivenBack(t *testing.T) {
	for _, end := range slices.Concat(endsBeforeBackend(t), endsWithBackend(t), endsOfProtocols(t)) {
		t.Run(end.name, func(t *testing.T) {
			config := end.config
			config.maxSessions = 1
			config.listener = func(l *ListenerConfig) {
				if end.config.listener != nil {
					end.config.listener(l)
				}
				l.MaxSessions, l.PerClient.Sessions = 1, 1
			}
			r := newRig(t, config)
			end.act(r)
			r.expectEnd(end.want)
			r.expectEmpty()
			r.expectPlaces(0)
			r.settle()
			if len(r.ended) != 1 {
				t.Fatalf("%d ends are reported: %+v", len(r.ended), r.ended)
			}
			next := r.dial()
			if config.accept != nil && end.want != HeaderUntrusted {
				r.write(next, []byte(lineTCP4))
			}
			r.until("the next one is let in", func() bool {
				return r.srv.Stats().Listeners[0].Sessions == 1 || len(r.ended) > 1
			})
			if len(r.ended) > 1 && slices.Contains([]Reason{Denied, RateLimited, ClientLimit}, r.ended[1].Reason) {
				t.Errorf("the next one is refused: %+v", r.ended[1])
			}
		})
	}
}

// writeTo opens a session whose client has sent something.
func writeTo(data []byte, then func(r *rig, c conn)) func(r *rig) {
	return func(r *rig) {
		c := r.dial()
		r.write(c, data)
		r.settle()
		if then != nil {
			then(r, c)
		}
	}
}

// later moves the clock.
func later(r *rig, _ conn) { r.now += time.Minute }

func leaves(r *rig, c conn) { c.CloseWrite() }

func resets(r *rig, c conn) { reset(c) }

// cut ends what is open, as a shutdown does.
func cut(r *rig) { r.loop.inbox.post(message{kind: endSessions}) }

func endsBeforeBackend(t *testing.T) []anEnd {
	down := func(r *rig) {
		r.pool.Backends()[0].SetUp(false)
		r.dial()
	}
	full := func(r *rig) {
		b := must(r.pool.Reserve(source4.Addr(), nil))
		r.dial()
		r.until("it has ended", func() bool { return len(r.ended) > 0 })
		b.Release()
	}
	queued := func(then func(r *rig, c conn)) func(r *rig) {
		return func(r *rig) {
			r.pool.Backends()[0].SetUp(false)
			c := r.dial()
			r.expectWaiting(1)
			then(r, c)
		}
	}
	queue := rigConfig{queueMax: 5, queueTimeout: time.Second}
	header, distrusts := rigConfig{accept: accepting()}, rigConfig{accept: &AcceptProxy{From: prefixes("192.0.2.1")}}
	return []anEnd{
		{"no backend", rigConfig{}, down, NoBackend},
		{"no slot", rigConfig{maxConns: 1}, full, QueueFull},
		{"queue timeout", queue, queued(later), QueueTimeout},
		{"client leaves the queue", queue, queued(leaves), ClientClosed},
		{"client resets in the queue", queue, queued(resets), ClientClosed},
		{"granted and gone", queue, queued(func(r *rig, c conn) {
			c.CloseWrite()
			r.pool.Backends()[0].SetUp(true) // before the loop sees either
		}), ClientClosed},
		{"shutdown in the queue", queue, queued(func(r *rig, c conn) { cut(r) }), Shutdown},
		{"header invalid", header, writeTo([]byte("nonsense"), nil), HeaderInvalid},
		{"header invalid after the address", header, writeTo([]byte("PROXY TCP4 203.0.113.7 \r\n"), nil), HeaderInvalid},
		{"header timeout", header, writeTo([]byte(lineTCP4[:20]), later), HeaderTimeout},
		{"FIN without header", header, writeTo(nil, leaves), ClientClosed},
		{"FIN in the header", header, writeTo([]byte(lineTCP4[:20]), leaves), HeaderInvalid},
		{"reset in the header", header, writeTo([]byte(lineTCP4[:20]), resets), ClientReset},
		{"untrusted", distrusts, func(r *rig) { r.dial() }, HeaderUntrusted},
		{"denied after the header", rigConfig{accept: accepting(), listener: withAccess("", "203.0.113.7")},
			writeTo([]byte(lineTCP4), func(r *rig, c conn) { r.setAccess(nil, nil) }), Denied},
		{"epoll refuses the client", rigConfig{}, unwatchable(netip.MustParseAddrPort("127.0.0.1:1")), ConnectFailed},
	}
}

// unwatchable begins a session with a file, which epoll does not take.
func unwatchable(peer netip.AddrPort) func(r *rig) {
	return func(r *rig) {
		fd := must(syscall.Open("/proc/self/status", syscall.O_RDONLY|syscall.O_CLOEXEC, 0))
		if !r.loop.reservePlace(&r.loop.sockets[0]) {
			r.t.Fatal("there is no place")
		}
		ls := r.srv.listeners()[0]
		ls.accepts.Add(1)
		r.loop.receive(ls, fd, peer)
	}
}

func endsWithBackend(t *testing.T) []anEnd {
	pair := func(act func(r *rig, ends [2]conn)) func(r *rig) {
		return func(r *rig) { act(r, r.pair()) }
	}
	refuses, silent := []pool.Address{refusing(t)}, []pool.Address{newBacklog(t).address}
	long := []pool.Address{{Unix: "/" + strings.Repeat("x", 200)}}
	dial := func(r *rig) { r.dial(); r.settle(); r.now += time.Minute }
	scarce := func(r *rig) {
		r.dial()
		restore := useUpDescriptors(r.t.(*testing.T), 1) // enough for the client
		r.untilPutOff()
		r.now += obstacleTimeout
		r.until("it has ended", func() bool { return len(r.ended) > 0 })
		restore()
		r.now += restTime
	}
	return []anEnd{
		{"both are done", rigConfig{}, pair(func(r *rig, ends [2]conn) {
			ends[client].Close()
			ends[server].Close()
		}), ClientClosed},
		{"client resets", rigConfig{}, pair(func(r *rig, ends [2]conn) { reset(ends[client]) }), ClientClosed},
		{"server resets", rigConfig{}, pair(func(r *rig, ends [2]conn) { reset(ends[server]) }), ServerReset},
		{"idle", rigConfig{idle: time.Second}, pair(func(r *rig, ends [2]conn) { r.now += time.Minute }), IdleTimeout},
		{"fin timeout", rigConfig{fin: time.Second}, pair(func(r *rig, ends [2]conn) {
			ends[client].CloseWrite()
			r.expectFIN(ends[server])
			r.now += time.Minute
		}), FinTimeout},
		{"backend down", rigConfig{}, pair(func(r *rig, ends [2]conn) {
			r.down(r.pool.Backends()[0])
			r.endSessions(r.pool.Backends()[0], 0, 1)
		}), BackendDown},
		{"shutdown", rigConfig{}, pair(func(r *rig, ends [2]conn) { cut(r) }), Shutdown},
		{"refused", rigConfig{backends: refuses}, dial, ConnectRefused},
		{"refused, and again", rigConfig{backends: slices.Repeat(refuses, 3), retries: 2}, dial, ConnectRefused},
		{"refused until the queue's time is over", rigConfig{
			backends: refuses, queueMax: 1, queueTimeout: time.Second,
		}, dial, QueueTimeout},
		{"silent", rigConfig{backends: silent, connect: time.Second}, dial, ConnectTimeout},
		{"bad path", rigConfig{backends: long}, dial, ConnectFailed},
		{"out of descriptors", rigConfig{}, scarce, ConnectFailed},
		{"client resets while connecting", rigConfig{backends: silent}, func(r *rig) {
			c := r.dial()
			r.until("it connects", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
			reset(c)
		}, ClientClosed},
		{"after another backend was tried", rigConfig{
			backends: []pool.Address{refuses[0], listening(t)}, retries: 1,
		}, func(r *rig) {
			c := r.dial()
			r.until("it relays", func() bool { return r.newest() != nil && r.newest().state == stateRelaying })
			reset(c)
		}, ClientClosed},
		{"behind a header", rigConfig{accept: accepting()}, writeTo([]byte(lineTCP4), func(r *rig, c conn) {
			r.accept()
			r.until("it relays", func() bool { return r.newest().state == stateRelaying })
			if stats := r.srv.Stats().Listeners[0].Clients; stats.Sessions != 1 {
				r.t.Errorf("stats %+v, want one session", stats)
			}
			reset(c)
		}), ClientClosed},
	}
}

// listening is a server whose kernel accepts for it.
func listening(t *testing.T) pool.Address {
	t.Helper()
	return tcpAddress(listenTCP(t, "127.0.0.1:0").Addr())
}

// connectedAnd acts once the backend is connected.
func connectedAnd(act func(r *rig, c conn)) func(r *rig, c conn) {
	return func(r *rig, c conn) {
		r.accept()
		act(r, c)
	}
}

func endsOfProtocols(t *testing.T) []anEnd {
	postgres, tls := rigConfig{protocol: ProtocolPostgres}, rigConfig{protocol: ProtocolTLS}
	postgres.peek, tls.peek = time.Second, time.Second
	noPool := func(c rigConfig) rigConfig {
		c.listener = func(l *ListenerConfig) {
			l.Routes = []RoutedTarget{{Rule: route.Rule{SNI: []string{"other.example.com"}}, Target: l.Target}}
			l.Target = Target{}
		}
		return c
	}
	hello := hellotest.OfSize(t, 600)
	two := postgres
	two.backends, two.retries = []pool.Address{listening(t), listening(t)}, 1
	return []anEnd{
		{"hello invalid", noPool(tls), writeTo([]byte("GET / HTTP/1.1\r\n"), nil), HelloInvalid},
		{"hello timeout", noPool(tls), writeTo(hello[:100], later), HelloTimeout},
		{"no route", noPool(tls), writeTo(hello, nil), NoRoute},
		{"FIN in the hello", noPool(tls), writeTo(hello[:100], leaves), HelloInvalid},
		{"FIN without hello", noPool(tls), writeTo(nil, leaves), ClientClosed},
		{"reset in the hello", noPool(tls), writeTo(hello[:100], resets), ClientReset},
		{"not TLS, to the pool", tls, writeTo([]byte("GET / HTTP/1.1\r\n"), connectedAnd(resets)), ClientReset},
		{"no answer to the hello", tls, writeTo(hello, func(r *rig, c conn) { r.accept().Close() }), ServerReset},
		{"client resets while the hello is answered", tls, writeTo(hello, connectedAnd(resets)), ClientReset},
		{"SSLRequest and more", noPool(postgres), writeTo(slices.Concat(sslRequest, hello), nil), HelloInvalid},
		{"no route after SSLRequest", noPool(postgres), writeTo(sslRequest, func(r *rig, c conn) {
			r.expect(c, []byte("S"))
			r.write(c, hello)
		}), NoRoute},
		{"cancel request", postgres, writeTo(cancelRequest(cancelKey(1, 4)), func(r *rig, c conn) {
			s := r.accept()
			r.expect(s, cancelRequest(cancelKey(1, 4)))
			s.Close()
		}), ServerClosed},
		{"client leaves while it cancels", postgres, writeTo(cancelRequest(cancelKey(1, 4)), func(r *rig, c conn) {
			s := r.accept()
			c.CloseWrite()
			r.until("it has ended", func() bool { return len(r.ended) > 0 })
			s.Close()
		}), ClientClosed},
		{"moved on, and then", two, writeTo(startup, func(r *rig, c conn) {
			r.expectState(stateAnswering)
			r.down(r.pool.Backends()[0])
			r.until("it has moved", func() bool { return r.newest().backend == r.pool.Backends()[1] })
			reset(c)
		}), ClientReset},
		{"backend leaves after N", postgres, func(r *rig) {
			ends := r.refusedTLS()
			ends[server].Close()
			r.until("it is let go", func() bool { return r.newest().backend == nil })
			r.now += time.Minute
		}, HelloTimeout},
	}
}

// Accept calls that come to nothing keep no place: EAGAIN is the end of every batch.
func TestPlacesAfterAcceptFails(t *testing.T) {
	eachLimit(t, 40, func(t *testing.T, r *rig) {
		for range 20 {
			r.dial()
		}
		for range 20 {
			r.accept()
		}
		r.settle()
		r.expectPlaces(20)
		r.loop.sockets[0].batch = maxAcceptBatch
		r.loop.accept(&r.loop.sockets[0]) // nobody is there
		r.expectPlaces(20)

		r.dial()
		restore := useUpDescriptors(t, 0)
		r.until("it rests", func() bool { return r.srv.Stats().Listeners[0].Resting })
		for range 5 {
			r.now += restTime
			r.settle()
		}
		r.expectPlaces(20)
		if s := r.srv.Stats().Listeners[0]; s.AtLimit || s.AcceptErrors < 2 {
			t.Errorf("%+v, want errors of accept and no limit", s)
		}
		restore()
		r.now += restTime
		r.accept()
		r.expectPlaces(21)
	})
}

// Refused connections keep no place, so they do not keep others out.
func TestPlacesAfterRefusals(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 2, listener: func(l *ListenerConfig) {
		l.MaxSessions, l.Deny, l.PerClient = 2, prefixes("127.0.0.2"), clients.Limits{Sessions: 1}
	}})
	r.pair()
	for range 5 {
		r.expectRefused(r.dialAs("127.0.0.2"), Denied)
		r.expectRefused(r.dial(), ClientLimit)
	}
	r.expectPlaces(1)
	c := r.dialAs("127.0.0.3")
	r.exchange(c, r.accept(), 2)
	r.expectPlaces(2)
}

// A loop that cannot watch its socket again tries later.
func TestWatchFailsAtLimit(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 1})
	ends := r.pair()
	waits := r.dial()
	r.until("it rests", func() bool { return r.srv.Stats().Listeners[0].Resting })
	socket := &r.loop.sockets[0]
	good := socket.fd
	null := must(os.Open(os.DevNull)) // epoll answers EPERM
	defer null.Close()
	socket.fd = int(null.Fd())
	r.leave(ends)
	for range 5 {
		r.now += restTime
		r.settle()
	}
	if s := r.srv.Stats().Listeners[0]; !s.Resting || s.AtLimit {
		t.Errorf("%+v, want it to rest without being at the limit", s)
	}
	socket.fd = good
	r.now += restTime
	r.exchange(waits, r.accept(), 2)
	r.settle()
	r.expectPlaces(1)
	if s := r.srv.Stats().Listeners[0]; s.Resting || r.loop.resting != 0 {
		t.Errorf("%+v, %d sockets rest", s, r.loop.resting)
	}
}
