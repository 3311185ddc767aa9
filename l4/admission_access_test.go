package l4

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/l4/clients"
)

// Lists that are swapped in count for what comes then; what is open stays.
func TestAccessChanges(t *testing.T) {
	r := newRig(t, rigConfig{listener: withAccess("", "127.0.0.2")})
	set := func(allow, deny string) {
		t.Helper()
		r.setAccess(prefixes(allow), prefixes(deny))
	}
	var open [][2]conn
	admitted := func(ip string) {
		t.Helper()
		ends := [2]conn{client: r.dialAs(ip)}
		ends[server] = r.accept()
		for _, ends := range append(open, ends) {
			r.exchange(ends[client], ends[server], 1)
			r.exchange(ends[server], ends[client], 1)
		}
		open = append(open, ends)
	}
	refused := func(ip string) {
		t.Helper()
		r.expectRefused(r.dialAs(ip), Denied)
	}
	admitted("127.0.0.1")
	refused("127.0.0.2")
	set("", "127.0.0.1")
	refused("127.0.0.1")
	admitted("127.0.0.2")
	set("127.0.0.3", "")
	refused("127.0.0.1")
	refused("127.0.0.2")
	admitted("127.0.0.3")
	set("", "0.0.0.0/0")
	refused("127.0.0.3")
	set("", "")
	admitted("127.0.0.1")
	admitted("127.0.0.3")
	// In the backlog when the lists change: what counts is when it is accepted.
	c := r.dialAs("127.0.0.1")
	set("", "127.0.0.1")
	r.expectRefused(c, Denied)
	for _, ends := range open {
		r.leave(ends)
	}
}

// Behind a header it counts what the lists are when the header is complete.
func TestAccessChangesWhileHeaderIsAwaited(t *testing.T) {
	r := newRig(t, rigConfig{accept: accepting()})
	c := r.dial()
	r.write(c, []byte(lineTCP4[:20]))
	r.until("it is awaited", func() bool { return r.newest() != nil && r.newest().opening != nil })
	r.setAccess(nil, prefixes("203.0.113.0/24"))
	r.write(c, []byte(lineTCP4[20:]))
	r.expectEnd(Denied)
	r.expectReset(c, nil)
}

// While lists change many times a second, each connection is served or reset, never hung, and who is
// on no list is always served.
func TestAccessChangesWhileConnectionsCome(t *testing.T) {
	const loops, clients, rounds = 3, 4, 60
	backend := newEcho(t)
	defer backend.stop()
	var denied atomic.Int64
	srv := startServer(t, loops, newPool(t, loops, 0, tcpAddress(backend.Addr())), ListenerConfig{}, func(e End) {
		if e.Reason == Denied {
			denied.Add(1)
			if e.Client.Addr().String() == "127.0.0.9" {
				t.Error("who is never denied is denied")
			}
		}
	})
	defer shutDown(t, srv)
	long := dialEcho(t, srv)
	defer long.Close()
	stop := make(chan struct{})
	var changes, all sync.WaitGroup
	changes.Go(func() {
		lists := []string{"127.0.0.1", "127.0.0.2 127.0.0.3", "", "127.0.0.0/29", "10.0.0.0/8 127.0.0.4"}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				put(t, srv, denying(srv, lists[i%len(lists)]))
			}
		}
	})
	var refused atomic.Int64
	for client := range clients {
		all.Go(func() {
			for range rounds {
				for _, from := range []string{fmt.Sprint("127.0.0.", client+1), "127.0.0.9"} {
					err := echoOnce(srv.testAddress(), from, func() {})
					if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
						refused.Add(1)
					} else if err != nil {
						t.Errorf("%s: %v", from, err)
					}
				}
			}
		})
	}
	all.Wait()
	close(stop)
	changes.Wait()
	talk(t, long)
	if denied.Load() != refused.Load() {
		t.Errorf("%d are reported as denied, %d clients were", denied.Load(), refused.Load())
	}
}

// A session that another loop serves is its client's until it ends there.
func TestClientLimitAfterHandOver(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	srv, c := aboutToHandOver(t, backend.Addr())
	defer c.Close()
	ls := srv.listeners()[0]
	ls.rules.Load().clients = clients.New(clients.Limits{Sessions: 1})
	ls.places.limit.Store(100) // far from a warning
	srv.places.limit.Store(100)
	giver, taker := srv.loops[0], srv.loops[1]
	turn := func(l *loop) {
		t.Helper()
		if err := l.runOnce(time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	sessions := func() int { return ls.rules.Load().clients.Stats().Sessions }
	eventually(t, "it is accepted", func() bool { turn(giver); return ls.accepts.Load() == 1 })
	if taker.load.Load() != 1 || taker.sessions.chunks != nil || sessions() != 1 || ls.places.taken.Load() != 1 {
		t.Fatalf("%d on the way, %d sessions of clients, %d places", taker.load.Load(), sessions(), ls.places.taken.Load())
	}
	refused := must(net.Dial("tcp", srv.testAddress())) // while the first is on its way
	defer refused.Close()
	refused.SetDeadline(time.Now().Add(patient))
	eventually(t, "it is refused", func() bool { turn(giver); return ls.unrouted[ClientLimit].Load() == 1 })
	if _, err := refused.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the second one: %v, want a reset", err)
	}
	c.SetDeadline(time.Now().Add(patient))
	c.Write([]byte("ping"))
	eventually(t, "it is served", func() bool {
		turn(taker)
		return srv.Stats().Listeners[0].Sessions == 1 && backend.open.Load() == 1
	})
	reset(c.(conn))
	eventually(t, "it has ended", func() bool { turn(taker); return sessions() == 0 })
	if n, _ := ls.sessionCount(); ls.places.taken.Load() != 0 || srv.places.taken.Load() != 0 || n != 0 {
		t.Errorf("%d and %d places are taken in the end", ls.places.taken.Load(), srv.places.taken.Load())
	}
	giver.load.Add(-10)
	giver.watchListeners()
	for _, l := range srv.loops {
		l.close()
	}
	srv.loops = nil
	srv.Close()
}
