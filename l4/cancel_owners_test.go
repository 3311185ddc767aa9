package l4

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/pool"
)

// asked is how many cancel requests the servers of all pools were connected to for, and how
// many servers that were.
func (r *rig) askedServers() (connects, servers int) {
	for _, t := range r.srv.listeners()[0].rules.Load().targets.all {
		for _, b := range t.config.Pool.Backends() {
			n := int(b.Stats().Connects)
			connects += n
			servers += min(n, 1)
		}
	}
	return connects, servers
}

// One request of a stranger makes a few connections, however many servers there are; the
// next one makes them to others.
func TestCancelOfStrangerAsksFew(t *testing.T) {
	const pools = 20
	server := newSilent(t)
	server.release()
	r := manyPoolsRig(t, server, pools, 0)
	for n, want := range []int{maxAsked, 2 * maxAsked, pools} {
		r.write(r.dial(), cancelRequest(cancelKey(1, 4)))
		r.expectEnd(ServerClosed)
		r.srv.running.Wait()
		if connects, servers := r.askedServers(); connects != (n+1)*maxAsked || servers != want {
			t.Errorf("%d connections to %d servers for %d requests, want %d to %d", connects, servers, n+1,
				(n+1)*maxAsked, want)
		}
	}
}

// sealedAt opens an encrypted session at backend i.
func (r *rig) sealedAt(listeners []net.Listener, i int, header string) (ends [2]conn) {
	r.t.Helper()
	for j, b := range r.pool.Backends() {
		b.SetUp(j == i)
	}
	ends[client] = r.dial()
	r.write(ends[client], append([]byte(header), sslRequest...))
	ends[server] = r.acceptFrom(listeners[i])
	r.expect(ends[server], sslRequest)
	r.write(ends[server], []byte("S"))
	r.expect(ends[client], []byte("S"))
	r.expectState(stateRelaying)
	for _, b := range r.pool.Backends() {
		b.SetUp(true)
	}
	return ends
}

// A key that is not known goes to the servers at which the client's address has encrypted
// sessions, as long as they last, and to no other.
func TestCancelOfEncryptedSession(t *testing.T) {
	r, listeners := cancelRig(t, rigConfig{accept: accepting()}, 4)
	first, second := r.sealedAt(listeners, 1, lineTCP4), r.sealedAt(listeners, 3, lineTCP4)
	other := r.sealedAt(listeners, 0, lineTCP6)
	clear := r.dial() // a session in clear is no reason to ask its server
	r.pool.Backends()[0].SetUp(false)
	r.pool.Backends()[1].SetUp(false)
	r.write(clear, append([]byte(lineTCP4), startup...))
	clearAt := r.acceptFrom(listeners[2])
	r.expect(clearAt, startup)
	r.write(clearAt, loginAnswer(cancelKey(1, 4)))
	r.expect(clear, loginAnswer(cancelKey(1, 4)))
	r.pool.Backends()[0].SetUp(true)
	r.pool.Backends()[1].SetUp(true)

	f := func(header string, want ...int) {
		t.Helper()
		request := cancelRequest(cancelKey(9, 4))
		c := r.dial()
		r.write(c, append([]byte(header), request...))
		for _, i := range want {
			s := r.expectCancel(listeners[i], request)
			defer s.Close()
		}
		for _, listener := range listeners {
			r.expectNobody(listener)
		}
	}
	f(lineTCP4, 1, 3)
	r.expectEnd(ServerClosed)
	f(lineTCP6, 0)
	r.expectEnd(ServerClosed)
	r.leave(first)
	f(lineTCP4, 3)
	r.expectEnd(ServerClosed)
	r.leave(second)
	r.leave(other)
	f(lineTCP6, 0, 1, 2, 3) // a stranger now
	r.expectEnd(ServerClosed)
	r.leave([2]conn{clear, clearAt})
}

// cancelFrom sends a cancel request of a client with an address of its own and returns how
// that ends.
func (r *rig) cancelFrom(header string, key []byte) Reason {
	r.t.Helper()
	r.write(r.dial(), append([]byte(header), cancelRequest(key)...))
	r.until("the request ends", func() bool { return len(r.ended) > r.checked })
	r.checked++
	return r.ended[r.checked-1].Reason
}

func lineOf(i int) string {
	return fmt.Sprintf("PROXY TCP4 10.0.%d.%d 10.9.9.9 1 2\r\n", i/250, i%250+1)
}

// One address may not send many requests, and strangers together neither; that keeps nobody
// from cancelling who has a session.
func TestCancelRate(t *testing.T) {
	server := closer(t)
	r := newPostgresRig(t, rigConfig{accept: accepting(), backends: []pool.Address{tcpAddress(server.Addr())}})
	b := r.pool.Backends()[0]
	known := cancelKey(1, 4)
	r.srv.cancelKeys.add(known, 99, b)
	defer r.srv.cancelKeys.remove(known, 99)
	r.srv.sealed.add(netip.MustParseAddr("203.0.113.7"), b, 1) // the client of lineTCP4
	defer r.srv.sealed.add(netip.MustParseAddr("203.0.113.7"), b, -1)

	f := func(what, header string, n int, want Reason) {
		t.Helper()
		for i := range n {
			if got := r.cancelFrom(header, cancelKey(9, 4)); got != want {
				t.Fatalf("%s: request %d ended with %v, want %v", what, i, got, want)
			}
		}
	}
	f("one stranger", lineOf(0), cancelBurst, ServerClosed)
	f("one stranger too often", lineOf(0), 2, RateLimited)
	r.now += time.Second / cancelRate
	f("after a pause", lineOf(0), 1, ServerClosed)
	f("after a pause, too often", lineOf(0), 1, RateLimited)
	granted := 0
	for i := 1; r.cancelFrom(lineOf(i), cancelKey(9, 4)) == ServerClosed; i++ {
		granted++
	}
	if want := strangerBurst - cancelBurst + strangerRate/cancelRate - 1; granted != want {
		t.Errorf("%d requests of other strangers pass, want %d", granted, want)
	}
	f("a client with a session", lineTCP4, cancelBurst, ServerClosed)
	f("a client with a session, too often", lineTCP4, 1, RateLimited)
	if got := r.cancelFrom(lineOf(0), known); got != ServerClosed {
		t.Errorf("a key that is known: %v, want that its server is asked", got)
	}
	stats := r.srv.Stats()
	for _, e := range stats.Ended {
		if e.Reason == RateLimited && e.Count != 5 {
			t.Errorf("%d requests are counted as refused, want 5", e.Count)
		}
	}
}
