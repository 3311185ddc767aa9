package l4

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
)

// A helloStage is how far a session with a hello has come, and what of it the backend has;
// every one of them may have to move to another backend.
type helloStage struct {
	name  string
	reach func(r *helloRig, header, hello []byte) (s conn)
	asked bool // only where a backend is asked for TLS first
}

var helloStages = []helloStage{
	{"the hello has come", func(r *helloRig, header, hello []byte) conn {
		s := r.take(r.at["shop"][0])
		if r.way.preface == nil {
			r.get(s, slices.Concat(header, hello))
			return s
		}
		r.get(s, slices.Concat(header, r.way.preface))
		r.put(s, []byte("S"))
		r.get(s, hello)
		return s
	}, false},
	{"the request has come", func(r *helloRig, header, hello []byte) conn {
		s := r.take(r.at["shop"][0])
		r.get(s, slices.Concat(header, r.way.preface))
		return s
	}, true},
}

// eachStage runs a test for a session in each way and stage.
func eachStage(t *testing.T, c rigConfig, backends int, f func(r *helloRig, ends [2]conn, header, hello []byte)) {
	t.Helper()
	for _, way := range helloWays {
		for _, stage := range helloStages {
			if stage.asked && way.preface == nil {
				continue
			}
			t.Run(fmt.Sprint(way.name, ", ", stage.name), func(t *testing.T) {
				r := newHelloRig(t, way, backends, c)
				hello := hellotest.InRecords(hellotest.Valid)
				c, header := r.begin()
				r.put(c, r.opening(hello))
				s := stage.reach(r, header, hello)
				r.untilAnswering()
				f(r, [2]conn{c, s}, header, hello)
			})
		}
	}
}

// A backend that goes down lets go of a session that it has not answered, and it is brought to
// another one from the start; one that it has answered ends with it.
func TestRouteRedispatch(t *testing.T) {
	eachStage(t, rigConfig{}, 2, func(r *helloRig, ends [2]conn, header, hello []byte) {
		r.down(r.shop(0))
		moved := r.arrive(ends[client], 1, header, hello)
		r.expectFIN(ends[server])
		r.answered(moved)
		r.shop(1).SetUp(false)
		r.srv.Redispatch(r.shop(1))
		r.quick(moved)
		r.endSessions(r.shop(1), 0, 1)
		r.expectReset(ends[client], nil)
		r.expectReset(moved[server], nil)
		if end := r.expectEnd(BackendDown); end.Backend != "shop1" || end.Retries != 0 {
			r.t.Errorf("ended with %+v, want shop1", end)
		}
	})
}

// Where nobody else is, such a session stays, until it is ended: with an alert.
func TestRouteEndSessions(t *testing.T) {
	eachStage(t, rigConfig{}, 1, func(r *helloRig, ends [2]conn, header, hello []byte) {
		r.down(r.shop(0))
		r.expectNothing(ends[:]...)
		r.expectState(stateAnswering)
		r.endSessions(r.shop(0), 0, 1)
		r.expectEnd(BackendDown)
		r.expect(ends[client], tlshello.AlertInternalError.Record())
		r.expectFIN(ends[client])
		r.expectReset(ends[server], nil)
	})
}

// With a queue it waits, and goes on when somebody is there.
func TestRouteRedispatchIntoQueue(t *testing.T) {
	c := rigConfig{queueMax: 3, queueTimeout: time.Minute}
	eachStage(t, c, 2, func(r *helloRig, ends [2]conn, header, hello []byte) {
		r.shop(1).SetUp(false)
		r.shop(0).SetUp(false)
		r.endSessions(r.shop(0), 0, 0)
		r.expectFIN(ends[server])
		r.until("it waits", func() bool { return r.pools["shop"].Waiting() == 1 })
		r.endSessions(r.shop(0), 0, 0)
		r.expectNothing(ends[client])
		r.shop(1).SetUp(true)
		moved := r.arrive(ends[client], 1, header, hello)
		r.answered(moved)
	})
}

// A client that leaves before it was answered takes its session with it.
func TestRouteClientLeaves(t *testing.T) {
	eachStage(t, rigConfig{}, 1, func(r *helloRig, ends [2]conn, header, hello []byte) {
		reset(ends[client])
		if end := r.expectEnd(ClientReset); end.Backend != "shop0" || end.Received != 0 {
			r.t.Errorf("ended with %+v, want shop0 and nothing received", end)
		}
		r.expectReset(ends[server], nil)
		r.expectEmpty()
	})
}

// A client that has only finished sending is a client of Postgres that has left. In other TLS
// the backend decides.
func TestRouteClientFinishes(t *testing.T) {
	eachStage(t, rigConfig{}, 1, func(r *helloRig, ends [2]conn, header, hello []byte) {
		ends[client].CloseWrite()
		if r.way.protocol == ProtocolPostgres {
			r.expectFIN(ends[server])
			r.expectFIN(ends[client])
			r.expectEnd(ClientClosed)
			return
		}
		r.expectNothing(ends[:]...)
		r.put(ends[server], []byte("answer"))
		r.get(ends[client], []byte("answer"))
		r.expectFIN(ends[server])
		r.exchange(ends[server], ends[client], 2)
		ends[server].Close()
		r.expectFIN(ends[client])
		r.expectEnd(ClientClosed)
	})
}

// Sessions whose hello is not complete belong to nobody: no order touches them.
func TestRouteOrdersBeforeHello(t *testing.T) {
	for _, way := range helloWays {
		t.Run(way.name, func(t *testing.T) {
			r := newHelloRig(t, way, 2, rigConfig{})
			hello := hellotest.InRecords(hellotest.Valid)
			c, header := r.begin()
			r.put(c, r.opening(hello[:40]))
			r.until("it is read", func() bool { return r.newest() != nil && len(r.newest().input()) == 40 })
			r.down(r.shop(0))
			r.endSessions(r.shop(0), 0, 0)
			r.turns(3)
			r.expectState(stateReadHello)
			r.put(c, hello[40:])
			ends := r.arrive(c, 1, header, hello)
			r.answered(ends)
		})
	}
}

// The same while a connect is under way: nothing of the hello has gone anywhere.
func TestRouteWhileConnecting(t *testing.T) {
	f := func(way helloWay, name string, then func(r *helloRig, c conn, header, hello []byte)) {
		t.Helper()
		t.Run(way.name+", "+name, func(t *testing.T) {
			silent, good := newBacklog(t), listenTCP(t, "127.0.0.1:0")
			config := rigConfig{connect: 4 * time.Second, retries: 1}
			config.listener = func(l *ListenerConfig) {
				l.Routes[1].Target.Pool = newPool(t, 1, 0, silent.address, tcpAddress(good.Addr()))
			}
			r := newHelloRig(t, way, 2, config)
			r.pools["shop"], r.at["shop"][1] = r.srv.listeners()[0].rules.Load().config.Routes[1].Target.Pool, good
			c, header := r.begin()
			data := slices.Concat(hellotest.InRecords(hellotest.Valid), []byte("early"))
			r.put(c, r.opening(data))
			r.untilConnecting()
			then(r, c, header, data)
		})
	}
	arrives := func(r *helloRig, c conn, header, data []byte) {
		ends := r.arrive(c, 1, header, data)
		r.answered(ends)
	}
	for _, way := range helloWays {
		f(way, "redispatch", func(r *helloRig, c conn, header, data []byte) {
			r.down(r.shop(0))
			arrives(r, c, header, data)
		})
		f(way, "end", func(r *helloRig, c conn, header, data []byte) {
			r.shop(0).SetUp(false)
			r.endSessions(r.shop(0), 0, 0)
			arrives(r, c, header, data)
		})
		f(way, "its time is over", func(r *helloRig, c conn, header, data []byte) {
			r.now += 2*time.Second + tick
			arrives(r, c, header, data)
		})
		f(way, "the client resets", func(r *helloRig, c conn, _, _ []byte) {
			reset(c)
			if end := r.expectEnd(ClientReset); end.Backend == "" || end.Sent != 0 {
				r.t.Errorf("ended with %+v, want a backend and nothing sent", end)
			}
		})
	}
}

// A session without a hello that goes to the pool of the listener keeps what it has sent while
// it waits and moves.
func TestRouteFallbackMoves(t *testing.T) {
	for _, first := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01"} {
		config := rigConfig{
			protocol: ProtocolTLS, send: ProxyV2, queueMax: 5, queueTimeout: time.Minute, peek: hostilePeek,
		}
		r := newRoutedRig(t, config, 2, "all", sni("shop", "shop.example"))
		b := r.pools["all"].Backends()
		b[0].SetUp(false)
		b[1].SetUp(false)
		c := r.dialNow()
		r.put(c, []byte(first))
		r.until("it is read", func() bool {
			return r.newest() != nil && (len(r.newest().input()) > 0 || r.pools["all"].Waiting() == 1)
		})
		r.now += hostilePeek + tick
		r.until("it waits", func() bool { return r.pools["all"].Waiting() == 1 })
		c.CloseWrite()
		r.turns(3)
		r.expectState(stateWaiting)
		r.at["all"][0].Close() // refuses
		b[0].SetUp(true)
		r.until("it has failed and waits", func() bool { return len(r.dials) == 1 && r.pools["all"].Waiting() == 1 })
		b[1].SetUp(true)
		ends := r.expectHello(c, r.at["all"][1], r.headerFor(c, ProxyV2), []byte(first))
		r.expectFIN(ends[server])
		r.exchange(ends[server], c, 2)
		ends[server].Close()
		r.expectFIN(c)
		if end := r.expectEnd(ClientClosed); end.Retries != 1 || end.Pool != "all" || end.ServerName != "" {
			t.Errorf("ended with %+v", end)
		}
	}
}
