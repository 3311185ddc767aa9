package l4

import (
	"testing"
	"time"

	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// A TLS client that hangs up before the server has answered is gone: it cannot go on without the
// answer. A server that is stopped must not keep its sessions for ever.
func TestTLSClientLeavesBeforeAnswer(t *testing.T) {
	r := newRig(t, rigConfig{protocol: ProtocolTLS, fin: time.Minute, connect: time.Second})
	hello := hellotest.OfSize(t, 600)
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

// A server that hangs up on a hello has given its answer: to ask it again every second for as long
// as the queue allows is a load that anybody can put on it.
func TestHelloIsNotAskedAgainAndAgain(t *testing.T) {
	for _, protocol := range []Protocol{ProtocolTLS, ProtocolPostgres} { // there without asking for TLS first
		r := newRig(t, rigConfig{protocol: protocol, queueMax: 10, queueTimeout: time.Minute, connect: time.Second,
			listener: func(l *ListenerConfig) {
				l.Routes = []RoutedTarget{{Rule: route.Rule{SNI: []string{"*"}}, Target: l.Target}}
			}})
		hello := hellotest.OfSize(t, 600)
		c := r.dial()
		r.write(c, hello)
		s := r.accept()
		r.expect(s, hello)
		s.Close()
		r.expectEnd(ServerReset)
		r.expect(c, tlshello.AlertInternalError.Record())
		r.expectFIN(c)
		if n := r.pool.Backends()[0].Stats().Connects; n != 1 {
			t.Errorf("%v: one hello was put to the only server %d times", protocol, n)
		}
	}
}

// What a server did that has hung up says nothing of the next one, which refuses.
func TestRefusedAtOnceAfterHangUp(t *testing.T) {
	at := listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{
		protocol: ProtocolTLS, peek: 5 * time.Second, retries: 3, queueMax: 5, queueTimeout: 30 * time.Second,
		backends: []pool.Address{tcpAddress(at.Addr()), {Unix: t.TempDir() + "/none"}},
	})
	c := r.dial()
	r.put(c, hellotest.InRecords(hellotest.Valid))
	s := r.take(at)
	r.get(s, hellotest.InRecords(hellotest.Valid))
	s.Close()
	r.until("it waits or has ended", func() bool { return len(r.ended) > 0 || r.pool.Waiting() == 1 })
	if len(r.ended) > 0 {
		t.Errorf("ended with %+v, want it to wait", r.ended[0])
	}
}

// A session that one server hangs up on waits for another one that is full.
func TestHangUpWhileOtherIsFull(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newRig(t, rigConfig{
		protocol: ProtocolTLS, peek: 5 * time.Second, retries: 3, maxConns: 1, queueMax: 5, queueTimeout: 30 * time.Second,
		backends: addresses,
	})
	hello := hellotest.InRecords(hellotest.Valid)
	first := r.dial()
	r.put(first, hello)
	held := r.take(listeners[0])
	r.get(held, hello)
	r.put(held, []byte("\x16\x03\x03 answer"))
	r.get(first, []byte("\x16\x03\x03 answer"))

	c := r.dial()
	r.put(c, hello)
	s := r.take(listeners[1])
	r.get(s, hello)
	s.Close()
	r.until("it waits or has ended", func() bool { return len(r.ended) > 0 || r.pool.Waiting() == 1 })
	if len(r.ended) > 0 {
		t.Errorf("ended with %+v, want it to wait", r.ended[0])
	}
}
