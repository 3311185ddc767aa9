package l4

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader"
	"sluice/l4/route"
	"sluice/pool"
	"sluice/sysutil/systest"
)

// Cancel requests, which anybody may send, open no more connections at a time than sluice has
// descriptors for: there may be hundreds of pools.
func TestCancelAsksBoundedMany(t *testing.T) {
	t.Run("usual", func(t *testing.T) { testCancelAsksBoundedMany(t, 0, DefaultMaxCancels, 40) })
	t.Run("few descriptors", func(t *testing.T) { testCancelAsksBoundedMany(t, 5, 5, 3) })
}

func testCancelAsksBoundedMany(t *testing.T, set int, most int64, requests byte) {
	server := newSilent(t)
	r := manyPoolsRig(t, server, 200, set)
	for i := range requests {
		r.write(r.dial(), cancelRequest(cancelKey(i, 4)))
	}
	r.until("as many as may be are asked", func() bool { return server.open.Load() >= most })
	r.turns(50)
	if n := server.open.Load(); n > most {
		t.Errorf("%d connections for %d cancel requests at once, want at most %d", n, requests, most)
	}
	server.release()
	for range requests {
		r.expectEnd(ServerClosed)
	}
}

// manyPoolsRig is a rig with so many pools of one server each, which is the same by many
// addresses.
func manyPoolsRig(t *testing.T, server *silentServer, pools, DefaultMaxCancels int) *rig {
	t.Helper()
	return newPostgresRig(t, rigConfig{DefaultMaxCancels: DefaultMaxCancels, listener: func(l *ListenerConfig) {
		for i := range pools {
			target := l.Target
			addr := netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
			port := server.Addr().(*net.TCPAddr).AddrPort().Port()
			target.Pool = newPool(t, 1, 0, pool.Address{TCP: netip.AddrPortFrom(addr, port)})
			rule := route.Rule{Database: []string{fmt.Sprint("db", i)}}
			l.Routes = append(l.Routes, RoutedTarget{Rule: rule, Target: target})
		}
		l.Target = Target{}
	}})
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
	systest.Wait(downTimeout+500*time.Millisecond, func() bool { r.step(); return false })
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

// A cancel request that comes through another listener brings the server the PROXY header
// that its own pool wants.
func TestCancelOwnerOfAnotherListener(t *testing.T) {
	at := listenTCP(t, "127.0.0.1:0")
	r := newPostgresRig(t, rigConfig{})
	other := ListenerConfig{
		Name: "other", Bind: []pool.Address{anyPort}, Protocol: ProtocolPostgres,
		Target: Target{Pool: newPool(t, 1, 0, tcpAddress(at.Addr())), SendProxy: ProxyV2},
	}
	r.update(r.srv.listeners()[0].rules.Load().config, other)
	key := cancelKey(1, 4)
	r.srv.cancelKeys.add(key, 99, other.Target.Pool.Backends()[0])
	c := r.dial()
	r.write(c, cancelRequest(key))
	s := r.acceptFrom(at)
	first := make([]byte, proxyheader.FixedV2+12+len(cancelRequest(key)))
	r.while("read a header and the request", func() error { _, err := io.ReadFull(s, first); return err })
	if string(first[:12]) != string(proxyproto.SIGV2) {
		t.Errorf("the server got %q, want a PROXY header first", first)
	}
	s.Close()
	r.expectEnd(ServerClosed)
	r.srv.cancelKeys.remove(key, 99)
}
