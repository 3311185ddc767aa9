package load

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/sysutil"
	"sluice/sysutil/systest"
)

func startPinger(t *testing.T, target netip.AddrPort) *Pinger {
	t.Helper()
	p, err := StartPinger(Pings{Target: target, Size: 64, Rest: time.Millisecond, Rate: 500, Sources: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func startEcho(t *testing.T) *Backend {
	t.Helper()
	b, err := StartBackend(BackendConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// TestPingerSeesAPause holds all replies back for a while, in a relay, and then none.
func TestPingerSeesAPause(t *testing.T) {
	r := startRelay(t, startEcho(t).Addrs()[0])
	p := startPinger(t, r.addr)
	if err := p.Open(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	if err := p.Watch(10, 1); err != nil {
		t.Fatal(err)
	}
	const pause = 300 * time.Millisecond
	w, err := p.Window(t.Context(), func() error {
		r.hold.Lock()
		time.Sleep(2 * pause) // every watched session has asked meanwhile, if not at the very beginning
		r.hold.Unlock()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Pauses) != 10 || w.Pauses[0] < pause || w.Longest < w.Pauses[9] || w.Elapsed < 2*pause || w.Lost != 0 || w.Silent != 0 {
		t.Errorf("window %+v: want 10 pauses of at least %v", brief(w), pause)
	}
	if w.Replies.Count() < 10 || w.Replies.Quantile(1) < w.Pauses[9] {
		t.Errorf("%d replies, the last after %v", w.Replies.Count(), w.Replies.Quantile(1))
	}
	if err := p.Watch(0, 0); err != nil {
		t.Fatal(err)
	}
	if w, err = p.Window(t.Context(), func() error { return nil }); err != nil || len(w.Pauses) != 0 {
		t.Errorf("window %+v, %v: want none that is watched", brief(w), err)
	}
	checkAlive(t, p, 20)
}

func brief(w *Window) Window { b := *w; b.Replies = Histogram{}; return b }

func checkAlive(t *testing.T, p *Pinger, want int) {
	t.Helper()
	if alive, err := p.Check(t.Context()); err != nil || alive != want {
		losses, _ := p.Losses()
		t.Errorf("%d alive, %v, losses %+v; want %d alive", alive, err, losses, want)
	}
}

// TestPingerOutlivesLosses: sessions that are cut or reset, or get wrong bytes, are counted, and the others go on.
func TestPingerOutlivesLosses(t *testing.T) {
	r := startRelay(t, startEcho(t).Addrs()[0])
	p := startPinger(t, r.addr)
	if err := p.Open(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	if err := p.Watch(4, 0); err != nil {
		t.Fatal(err)
	}
	w, err := p.Window(t.Context(), func() error {
		r.each(func(i int, client *net.TCPConn) {
			switch i {
			case 0:
				client.CloseWrite()
			case 1, 2:
				client.SetLinger(0)
				client.Close()
			case 3:
				client.Write([]byte("more"))
			}
		})
		return p.await(t.Context(), time.Minute, func() bool { return p.losses.All() == 4 })
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.Losses()
	if err != nil || l.Ended != 1 || l.Reset != 2 || l.Wrong != 1 || l.First == nil || w.Lost != 4 {
		t.Errorf("losses %+v, %d in the window, %v", l, w.Lost, err)
	}
	checkAlive(t, p, 8)
}

func TestPingerRefused(t *testing.T) {
	port := systest.ReservePort(t)
	p := startPinger(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)))
	if err := p.Open(t.Context(), 3); err == nil {
		t.Error("sessions are open where nobody listens")
	}
	checkAlive(t, p, 0)
}

// TestPingerStopsWaiting: sessions whose replies do not come hold nobody for ever, and are not taken for alive, those that
// were not even asked included.
func TestPingerStopsWaiting(t *testing.T) {
	r := startRelay(t, startEcho(t).Addrs()[0])
	p, err := StartPinger(Pings{Target: r.addr, Size: 64}) // nothing is under way when all are open
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := p.Open(t.Context(), sweepWidth+10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.hold.Lock()
	cancel()
	if _, err := p.Check(ctx); err == nil {
		t.Error("sessions have answered whose replies are held back")
	}
	if alive, err := p.check(t.Context(), 50*time.Millisecond); err != nil || alive != 0 {
		t.Errorf("%d alive, %v; want none", alive, err)
	}
	r.hold.Unlock()
	checkAlive(t, p, sweepWidth+10)
}

func TestCaller(t *testing.T) {
	b := startEcho(t)
	c := startCaller(t, b.Addrs()[0])
	c.Begin()
	if !systest.Wait(time.Minute, func() bool { calls, err := c.End(t.Context()); return err == nil && calls.Made >= 5 }) {
		t.Fatal("there are not five connections")
	}
	calls, err := c.End(t.Context())
	if err != nil || calls.First != nil || calls.Longest == 0 || int(calls.Latency.Count()) != calls.Made {
		t.Errorf("%d made, the longest took %v, error %v %v", calls.Made, calls.Longest, calls.First, err)
	}
	port := systest.ReservePort(t)
	failing(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)), func(l Calls) int { return l.Refused })
	reset := accepting(t, func(c *net.TCPConn) { c.SetLinger(0) })
	failing(t, reset, func(l Calls) int { return l.Reset })
	failing(t, accepting(t, func(*net.TCPConn) {}), func(l Calls) int { return l.Reset })
	failing(t, accepting(t, func(c *net.TCPConn) { c.Write(make([]byte, 64)) }), func(l Calls) int { return l.Other })
}

func startCaller(t *testing.T, target netip.AddrPort) *Caller {
	t.Helper()
	c, err := StartCaller(target, 2, 64, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// failing checks that every connection is counted as one that failed in its way, and that another follows.
func failing(t *testing.T, target netip.AddrPort, in func(Calls) int) {
	t.Helper()
	c := startCaller(t, target)
	if !systest.Wait(time.Minute, func() bool { calls, _ := c.End(t.Context()); return in(calls) >= 2 }) {
		calls, _ := c.End(t.Context())
		t.Errorf("calls %d made, %d refused, %d reset, %d silent, %d other", calls.Made, calls.Refused, calls.Reset, calls.Silent, calls.Other)
	}
	if calls, _ := c.End(t.Context()); calls.Made > 0 || calls.First == nil {
		t.Errorf("%d made, first error %v", calls.Made, calls.First)
	}
}

// accepting closes what connects, after then.
func accepting(t *testing.T, then func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 64)) // a close with bytes unread is a reset
			then(c.(*net.TCPConn))
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// A relay passes bytes on, and none to a client while hold is held.
type relay struct {
	addr netip.AddrPort
	hold sync.RWMutex

	mu      sync.Mutex
	clients []*net.TCPConn
}

func startRelay(t *testing.T, to netip.AddrPort) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().(*net.TCPAddr).AddrPort()}
	t.Cleanup(func() {
		l.Close()
		r.each(func(_ int, c *net.TCPConn) { c.Close() })
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to.String())
			if err != nil {
				client.Close()
				continue
			}
			r.mu.Lock()
			r.clients = append(r.clients, client.(*net.TCPConn))
			r.mu.Unlock()
			go r.copy(server, client, nil)
			go r.copy(client, server, r.hold.RLocker())
		}
	}()
	return r
}

func (r *relay) copy(dst, src net.Conn, hold sync.Locker) {
	defer dst.Close()
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		if hold != nil {
			hold.Lock()
		}
		_, err = dst.Write(buf[:n])
		if hold != nil {
			hold.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// each calls f for every client in the order in which they came.
func (r *relay) each(f func(int, *net.TCPConn)) {
	r.mu.Lock()
	clients := slices.Clone(r.clients)
	r.mu.Unlock()
	for i, c := range clients {
		f(i, c)
	}
}

// TestPingerAsMany: many more than are opened at a time.
func TestPingerAsMany(t *testing.T) {
	if _, err := sysutil.RaiseFileLimit(); err != nil {
		t.Fatal(err)
	}
	p := startPinger(t, startEcho(t).Addrs()[0])
	if err := p.Open(t.Context(), 500); err != nil {
		t.Fatal(err)
	}
	if err := p.Open(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	checkAlive(t, p, 501)
}
