package l4

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// A listener that rests costs nothing but one look per restTime, however many wait.
func TestRestingDoesNotSpin(t *testing.T) {
	eachLimit(t, 1, func(t *testing.T, r *rig) {
		r.pair()
		for range 10 {
			r.dial()
		}
		r.until("it rests", func() bool { return r.srv.Stats().Listeners[0].Resting })
		for range 10 {
			r.settle()
			if wait := r.loop.patience(); wait <= 0 || wait > restTime {
				t.Errorf("the loop would wait %v, want up to %v", wait, restTime)
			}
			for range 20 { // time stands still: nothing may wake the loop
				if n, err := r.loop.poller.Wait(r.loop.events, 0); n != 0 || err != nil {
					t.Fatalf("%d events, %v; want none", n, err)
				}
			}
			r.now += restTime
			r.step() // it watches again
			events, err := r.loop.poller.Wait(r.loop.events, patient)
			if events != 1 || err != nil {
				t.Fatalf("%d events, %v; want one for those that wait", events, err)
			}
		}
		if stats := r.srv.Stats().Listeners[0]; stats.Accepts != 1 || stats.AcceptErrors != 0 {
			t.Errorf("%+v, want one accept", stats)
		}
	})
}

// limitedServer is a server of several loops whose clock counts the turns of all loops.
func limitedServer(t *testing.T, loops, limit int, backend net.Addr) (srv *Server, turns *atomic.Int64) {
	t.Helper()
	bind := []pool.Address{{TCP: netip.MustParseAddrPort("127.0.0.1:0")}}
	p := newPool(t, loops, 0, tcpAddress(backend))
	srv, err := New(Config{
		Loops: loops, MaxSessions: limit, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Listeners: []ListenerConfig{{Name: "test", Bind: bind, Target: Target{Pool: p}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	turns = new(atomic.Int64)
	clock := srv.clock
	srv.clock = func() time.Duration { turns.Add(1); return clock() }
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return srv, turns
}

// So it is for loops that run by themselves: about ten turns a second each.
func TestRestingLoopsDoNotSpin(t *testing.T) {
	const loops, most = 3, 150 // in a second; a loop that spins makes 200,000
	backend := newEcho(t)
	defer backend.stop()
	srv, turns := limitedServer(t, loops, 1, backend.Addr())
	defer shutDown(t, srv)
	dialEcho(t, srv)
	for range 10 {
		c := must(net.Dial("tcp", srv.testAddress()))
		defer c.Close()
	}
	eventually(t, "all loops rest", func() bool { return srv.listeners()[0].resting.Load() == loops })
	before, began := turns.Load(), time.Now()
	systest.Wait(500*time.Millisecond, func() bool { return false })
	if n, took := turns.Load()-before, time.Since(began); float64(n) > most*took.Seconds() {
		t.Errorf("%d turns in %v while the listener rests", n, took)
	}
}

// Sessions that end one by one let those that wait in, in the order of the backlog, while each
// end costs a bounded number of turns.
func TestRestEndsWithEachSession(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 1})
	ends := r.pair()
	for range 20 {
		r.dial()
	}
	for i := range 20 {
		r.until("it rests", func() bool { return r.srv.Stats().Listeners[0].Resting })
		r.leave(ends)
		turns := 0
		for ; r.srv.Stats().Listeners[0].Accepts < uint64(i+2); turns++ {
			r.step()
		}
		if turns > 4 {
			t.Errorf("%d turns until the next one was accepted, want a few", turns)
		}
		ends = [2]conn{client: r.dialled[i+1], server: r.accept()}
		r.exchange(ends[client], ends[server], 2)
	}
}

// Two listeners share the limit of the server: the one that has none of its own rests as well,
// and a place that comes free on either is for whoever comes first.
func TestLimitOfAllListeners(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	bind := []pool.Address{{TCP: netip.MustParseAddrPort("127.0.0.1:0")}}
	p := newPool(t, 2, 0, tcpAddress(backend.Addr()))
	srv, err := New(Config{
		Loops: 2, MaxSessions: 4, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Listeners: []ListenerConfig{
			{Name: "one", Bind: bind, Target: Target{Pool: p}, MaxSessions: 3},
			{Name: "other", Bind: bind, Target: Target{Pool: p}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, srv)
	dial := func(listener int) net.Conn {
		c := must(net.Dial("tcp", (*srv.listeners()[listener].sockets.Load())[0].bound.String()))
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patient))
		c.Write([]byte("ping"))
		return c
	}
	sessions := func() (n [2]int) {
		for i, ls := range srv.Stats().Listeners {
			n[i] = ls.Sessions
		}
		return n
	}
	ones := []net.Conn{dial(0), dial(0), dial(0)}
	eventually(t, "one is full", func() bool { return sessions() == [2]int{3, 0} })
	if stats := srv.Stats().Listeners; !stats[0].AtLimit || stats[1].AtLimit {
		t.Errorf("%+v, want only the first at its limit", stats)
	}
	ones = append(ones, dial(0))
	others := []net.Conn{dial(1), dial(1)}
	eventually(t, "the server is full", func() bool { return sessions() == [2]int{3, 1} })
	if stats := srv.Stats().Listeners; !stats[0].AtLimit || !stats[1].AtLimit {
		t.Errorf("%+v, want both at the limit", stats)
	}
	ones[0].Close()
	eventually(t, "the next one is let in", func() bool { n := sessions(); return n == [2]int{3, 1} || n == [2]int{2, 2} })
	for _, c := range []net.Conn{ones[1], ones[2]} {
		c.Close()
	}
	eventually(t, "all are let in", func() bool { return sessions() == [2]int{1, 2} })
	for _, c := range append(others, ones[3]) {
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Errorf("a client that has waited: %v", err)
		}
		c.Close()
	}
	eventually(t, "all places are free", func() bool {
		return srv.places.taken.Load() == 0 && srv.listeners()[0].places.taken.Load() == 0
	})
}

// A shutdown that has no patience cuts those that wait at the limit like those that are
// open, and counts them.
func TestShutdownCutAtLimit(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	srv, _ := limitedServer(t, 2, 2, backend.Addr())
	conns := []net.Conn{dialEcho(t, srv), dialEcho(t, srv)}
	for range 3 {
		c := must(net.Dial("tcp", srv.testAddress()))
		c.SetDeadline(time.Now().Add(patient))
		conns = append(conns, c)
	}
	eventually(t, "it rests", func() bool { return srv.Stats().Listeners[0].Resting })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "5 sessions cut") {
		t.Errorf("the shutdown says %v", err)
	}
	for _, c := range conns {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a client that was cut: %v, want a reset", err)
		}
		c.Close()
	}
	stats := srv.Stats()
	if n := srv.places.taken.Load(); n != 0 || stats.Listeners[0].Accepts != 5 || stats.Listeners[0].Resting {
		t.Errorf("%d places are taken in the end, %+v", n, stats.Listeners[0])
	}
	if len(stats.Ended) != 1 || stats.Ended[0].Reason != Shutdown || stats.Ended[0].Count != 5 {
		t.Errorf("%+v, want five sessions cut by the shutdown", stats.Ended)
	}
}
