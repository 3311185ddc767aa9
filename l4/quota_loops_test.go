package l4

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/pool"

	"sluice/l4/clients"
	"sluice/sysutil/systest"
)

// echoOnce opens a connection from an address and has it echoed.
func echoOnce(address, from string, stay func()) error {
	dialer := net.Dialer{Timeout: patient, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	buf := []byte("ping")
	if _, err := c.Write(buf); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "ping" {
		return fmt.Errorf("echo: %q, %w", buf, err)
	}
	stay()
	return nil
}

// Many clients on several loops: there are never more sessions than the limit, up to it there
// are, and everybody is served in the end.
func TestMaxSessionsOnManyLoops(t *testing.T) {
	const loops, limit, clients, rounds = 4, 5, 25, 8
	f := func(name string, ofServer, ofListener int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			p := newPool(t, loops, 0, tcpAddress(backend.Addr()))
			var srv *Server
			var most, ends atomic.Int64
			note := func() { // on a loop: called with every session open
				n := srv.listeners()[0].rules.Load().sessions.Load()
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
			}
			srv, err := New(Config{
				Loops: loops, MaxSessions: ofServer, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				OnDial: func(*pool.Backend, time.Duration, pool.DialResult) { note() },
				OnEnd:  func(End) { ends.Add(1) },
				Listeners: []ListenerConfig{{
					Name: "test", Bind: []pool.Address{{TCP: netip.MustParseAddrPort("127.0.0.1:0")}},
					Target: Target{Pool: p}, MaxSessions: ofListener,
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Start(); err != nil {
				t.Fatal(err)
			}
			defer shutDown(t, srv)
			var all sync.WaitGroup
			for i := range clients {
				all.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 1))
					for range rounds {
						err := echoOnce(srv.testAddress(), "127.0.0.1", func() {
							if rnd.IntN(4) == 0 { // until all places have been taken
								systest.Wait(patient, func() bool { return most.Load() == limit })
							}
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			eventually(t, "all have ended", func() bool { return ends.Load() == clients*rounds })
			if most.Load() != limit {
				t.Errorf("at most %d sessions were open, want %d", most.Load(), limit)
			}
			eventually(t, "all places are free", func() bool {
				return srv.places.taken.Load() == 0 && srv.listeners()[0].places.taken.Load() == 0
			})
			if stats := srv.Stats().Listeners[0]; stats.Accepts != clients*rounds || stats.AcceptErrors != 0 || stats.AtLimit {
				t.Errorf("%+v, want %d accepts", stats, clients*rounds)
			}
		})
	}
	f("server", limit, 0)
	f("listener", 0, limit)
	f("both", limit, limit)
	f("the listener's is lower", 2*limit, limit)
}

// All limits at once, with lists that change, on several loops: nothing is counted twice,
// nothing is lost.
func TestLimitsOnManyLoops(t *testing.T) {
	const loops, limit, addresses, each, rounds = 4, 8, 6, 5, 20
	backend := newEcho(t)
	defer backend.stop()
	var reported [numReasons]atomic.Uint64
	srv := startServer(t, loops, newPool(t, loops, 0, tcpAddress(backend.Addr())),
		ListenerConfig{MaxSessions: limit, PerClient: clients.Limits{Sessions: 2}, Deny: prefixes("127.0.0.2")},
		func(e End) { reported[e.Reason].Add(1) })
	defer shutDown(t, srv)
	var all sync.WaitGroup
	var served, refused atomic.Uint64
	for client := range addresses {
		for range each {
			all.Go(func() {
				for range rounds {
					switch err := echoOnce(srv.testAddress(), fmt.Sprint("127.0.0.", client+1), func() {}); {
					case err == nil:
						served.Add(1)
					case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
						refused.Add(1)
					default:
						t.Error(err)
					}
				}
			})
		}
	}
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for denied := 0; ; denied++ {
			select {
			case <-stop:
				return
			default:
				put(t, srv, denying(srv, fmt.Sprint("127.0.0.", denied%addresses+1)))
				sessionsOf(srv, 3)
				srv.Stats()
			}
		}
	})
	all.Wait()
	close(stop)
	changes.Wait()
	eventually(t, "all have ended", func() bool {
		return endedTotal(srv.Stats()) == addresses*each*rounds && srv.sessionCount() == 0
	})
	stats := srv.Stats()
	if got := ended(stats, "", Denied) + ended(stats, "", ClientLimit); got != refused.Load() {
		t.Errorf("%d are counted as refused, %d clients were", got, refused.Load())
	}
	if got := ended(stats, "pool", ClientClosed); got != served.Load() || served.Load() == 0 {
		t.Errorf("%d are counted as served, %d clients were; all: %+v", got, served.Load(), stats.Ended)
	}
	expectReported(t, stats, &reported)
	if c := stats.Listeners[0].Clients; c.Sessions != 0 || c.Busy != 0 {
		t.Errorf("%+v: clients have sessions in the end", c)
	}
	if n := srv.listeners()[0].places.taken.Load(); n != 0 {
		t.Errorf("%d places are taken in the end", n)
	}
}
