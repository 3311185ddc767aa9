package l4

import (
	"testing"
	"time"
)

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

// A server that hangs up on a hello has given its answer: to ask it again every second for as long
// as the queue allows is a load that anybody can put on it.
func TestHelloIsNotAskedAgainAndAgain(t *testing.T) {
	for _, protocol := range []Protocol{ProtocolTLS, ProtocolPostgres} { // there without asking for TLS first
		r := newRig(t, rigConfig{protocol: protocol, queueMax: 10, queueTimeout: time.Minute, connect: time.Second,
			listener: func(l *ListenerConfig) {
				l.Routes = []RoutedTarget{{Route: Route{SNI: []string{"*"}}, Target: l.Target}}
			}})
		hello := helloOf(t, 600)
		c := r.dial()
		r.write(c, hello)
		s := r.accept()
		r.expect(s, hello)
		s.Close()
		r.expectEnd(ServerReset)
		r.expect(c, tlsAlert(alertInternalError))
		r.expectFIN(c)
		if n := r.pool.Backends()[0].Stats().Connects; n != 1 {
			t.Errorf("%v: one hello was put to the only server %d times", protocol, n)
		}
	}
}
