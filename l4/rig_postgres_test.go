package l4

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/l4/proxyheader"
	"sluice/pool"
)

// newPostgresRig is newRig with a listener that speaks Postgres.
func newPostgresRig(t testing.TB, c rigConfig) *rig {
	t.Helper()
	c.protocol = ProtocolPostgres
	if c.peek == 0 {
		c.peek = 5 * time.Second
	}
	return newRig(t, c)
}

// login opens a session in clear.
func (r *rig) login(key []byte) (ends [2]conn) {
	r.t.Helper()
	ends[client] = r.dial()
	r.write(ends[client], startup)
	ends[server] = r.accept()
	r.expect(ends[server], startup)
	r.write(ends[server], loginAnswer(key))
	r.expect(ends[client], loginAnswer(key))
	return ends
}

func (r *rig) expectState(want state) *session {
	r.t.Helper()
	r.until(fmt.Sprintf("the session is in state %d", want), func() bool {
		s := r.newest()
		return s != nil && s.state == want
	})
	return r.newest()
}

// expectNothing checks that nothing has come, and that the connections are open.
func (r *rig) expectNothing(conns ...conn) {
	r.t.Helper()
	r.turns(5)
	for _, c := range conns {
		must(c.SyscallConn()).Control(func(fd uintptr) {
			if n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_DONTWAIT|syscall.MSG_PEEK); n != -1 {
				r.t.Fatalf("%d bytes came, %v; want nothing", n, err)
			}
		})
	}
}

// headerFor is the PROXY header that the backend gets for a client.
func (r *rig) headerFor(c conn, version ProxyVersion) []byte {
	r.t.Helper()
	if version == ProxyOff {
		return nil
	}
	peer := c.LocalAddr().(*net.TCPAddr).AddrPort()
	header, err := proxyheader.Outgoing(byte(version), nil, peer, r.address().TCP)
	if err != nil {
		r.t.Fatal(err)
	}
	return must(header.Format())
}

// leave ends a session by the client's reset.
func (r *rig) leave(ends [2]conn) {
	r.t.Helper()
	reset(ends[client])
	r.expectLeft()
	ends[server].Close()
}

// refusedTLS opens a session whose backend has said that it does not encrypt.
func (r *rig) refusedTLS() (ends [2]conn) {
	r.t.Helper()
	ends[client] = r.dial()
	r.write(ends[client], sslRequest)
	ends[server] = r.accept()
	r.expect(ends[server], sslRequest)
	r.write(ends[server], []byte("N"))
	r.expect(ends[client], []byte("N"))
	r.expectState(stateReadHello)
	return ends
}

// listenMany opens backends that the test serves itself.
func listenMany(t testing.TB, n int) (listeners []net.Listener, addresses []pool.Address) {
	t.Helper()
	for range n {
		listener := listenTCP(t, "127.0.0.1:0")
		listeners, addresses = append(listeners, listener), append(addresses, tcpAddress(listener.Addr()))
	}
	return listeners, addresses
}

// expectActive checks how many slots of each backend are taken.
func (r *rig) expectActive(want ...int) {
	r.t.Helper()
	var got []int
	for _, b := range r.pool.Backends() {
		got = append(got, b.Stats().Active)
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("slots taken by backend: %v, want %v", got, want)
	}
}

// endSessions calls EndSessions for a backend that is down while the loop runs.
func (r *rig) endSessions(b *pool.Backend, limit, want int) {
	r.t.Helper()
	r.endSessionsFor(BackendDown, b, limit, want)
}

func (r *rig) endSessionsFor(reason Reason, b *pool.Backend, limit, want int) {
	r.t.Helper()
	var got int
	r.while("EndSessions", func() error { got = r.srv.EndSessions(b, reason, limit); return nil })
	if got != want {
		r.t.Errorf("EndSessions(%s, %d) = %d, want %d", b.Name(), limit, got, want)
	}
}

// down takes a backend down as a health check does.
func (r *rig) down(b *pool.Backend) {
	b.SetUp(false)
	r.srv.Redispatch(b)
}

// expectNobody checks that a listener was not connected to.
func (r *rig) expectNobody(listener net.Listener) {
	r.t.Helper()
	r.turns(5)
	listener.(*net.TCPListener).SetDeadline(time.Now().Add(time.Millisecond))
	if c, err := listener.Accept(); err == nil {
		c.Close()
		r.t.Fatal("somebody has connected")
	}
}

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
	if r.srv.listeners()[0].rules.Load().config.Protocol == ProtocolPostgres {
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
	if r.srv.listeners()[0].rules.Load().config.Protocol == ProtocolPostgres {
		r.expect(s, startup)
		r.write(s, loginAnswer(cancelKey(1, 4)))
		r.expect(c, loginAnswer(cancelKey(1, 4)))
	}
	r.exchange(c, s, 2)
	r.exchange(s, c, 2)
}
