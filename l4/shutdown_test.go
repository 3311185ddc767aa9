package l4

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// shutdownInBackground delivers the result of Shutdown.
func shutdownInBackground(ctx context.Context, srv *Server) <-chan error {
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(ctx) }()
	return done
}

func TestShutdownWaits(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	var reasons [numReasons]atomic.Int64
	srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{},
		func(e End) { reasons[e.Reason].Add(1) })
	var conns []net.Conn
	for range 10 {
		conns = append(conns, dialEcho(t, srv))
	}
	done := shutdownInBackground(t.Context(), srv)
	eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", srv.testAddress())
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	for i, c := range conns {
		talk(t, c)
		select {
		case err := <-done:
			t.Fatalf("Shutdown returned (%v) with %d sessions open", err, len(conns)-i)
		default:
		}
	}
	for _, c := range conns {
		c.Close()
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := reasons[Shutdown].Load(); n != 0 {
		t.Errorf("%d sessions were cut", n)
	}
	if n := reasons[ClientClosed].Load(); n < 10 {
		t.Errorf("%d sessions were closed by clients, want at least 10", n)
	}
}

func TestShutdownCuts(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	var cut atomic.Int64
	p := newPool(t, 2, 0, tcpAddress(backend.Addr()))
	srv := startServer(t, 2, p, ListenerConfig{}, func(e End) {
		if e.Reason == Shutdown {
			cut.Add(1)
		}
	})
	var conns []net.Conn
	for range 10 {
		conns = append(conns, dialEcho(t, srv))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := shutdownInBackground(ctx, srv)
	for _, c := range conns {
		talk(t, c)
	}
	reason := errors.New("out of patience")
	cancel(reason)
	err := <-done
	if !errors.Is(err, reason) || !strings.HasPrefix(err.Error(), "10 sessions cut") {
		t.Errorf("Shutdown: %v, want 10 sessions cut: %v", err, reason)
	}
	if cut.Load() != 10 || p.Backends()[0].Stats().Active != 0 {
		t.Errorf("%d sessions were cut, %d slots are taken, want 10 and 0", cut.Load(), p.Backends()[0].Stats().Active)
	}
	for _, c := range conns {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a client reads on: %v", err)
		}
		c.Close()
	}
}

func TestShutdownIdle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front")
	bind := []pool.Address{{Unix: path}, {TCP: netip.MustParseAddrPort("127.0.0.1:0")}}
	srv := startServer(t, 3, newPool(t, 3, 0, refusing(t)), ListenerConfig{Bind: bind}, nil)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody waits for, nobody to cut
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is still there: %v", err)
	}
	select {
	case err := <-srv.Failed():
		t.Errorf("a loop failed: %v", err)
	default:
	}
}

// Connections keep coming while the server stops: each is either refused or
// served to its end, and all of them are accounted for.
func TestShutdownInAFlood(t *testing.T) {
	for range 2 {
		backend := newEcho(t)
		var ended atomic.Uint64
		p := newPool(t, 3, 0, tcpAddress(backend.Addr()))
		srv := startServer(t, 3, p, ListenerConfig{}, func(End) { ended.Add(1) })
		var flood sync.WaitGroup
		for range 8 {
			flood.Go(func() {
				for {
					c, err := net.Dial("tcp", srv.testAddress())
					if err != nil {
						return
					}
					c.Write([]byte("ping"))
					c.Read(make([]byte, 4))
					c.Close()
				}
			})
		}
		eventually(t, "the flood flows", func() bool { return srv.Stats().Listeners[0].Accepts > 100 })
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		flood.Wait()
		stats := srv.Stats()
		if accepts := stats.Listeners[0].Accepts; accepts != ended.Load() || accepts != endedTotal(stats) || stats.Listeners[0].Sessions != 0 {
			t.Errorf("%d accepts, %d ends reported, stats %+v", accepts, ended.Load(), stats)
		}
		if n := p.Backends()[0].Stats().Active; n != 0 {
			t.Errorf("%d slots are taken in the end", n)
		}
		backend.stop()
	}
}

// aboutToHandOver returns a server of two loops that nobody runs yet, and a
// connection that the first will hand to the second: 10 sessions too many are
// on its books.
func aboutToHandOver(t *testing.T, backend net.Addr) (*Server, net.Conn) {
	t.Helper()
	p := newPool(t, 2, 0, tcpAddress(backend))
	bind := []pool.Address{{TCP: netip.MustParseAddrPort("127.0.0.1:0")}}
	srv, err := New(Config{Loops: 2, Listeners: []ListenerConfig{{Name: "test", Bind: bind, Target: Target{Pool: p}}}})
	if err != nil {
		t.Fatal(err)
	}
	giver := srv.loops[0]
	giver.watchListeners()
	giver.load.Add(10)
	c, err := net.Dial("tcp", srv.testAddress())
	if err != nil {
		t.Fatal(err)
	}
	return srv, c
}

// A connection is handed to a loop that has stopped accepting already. It was
// accepted, so it is served, and the shutdown waits for it.
func TestHandOverDuringShutdown(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	srv, c := aboutToHandOver(t, backend.Addr())
	defer c.Close()
	giver, taker := srv.loops[0], srv.loops[1]
	done := shutdownInBackground(t.Context(), srv)
	posted := func(l *loop) int {
		l.inbox.mu.Lock()
		defer l.inbox.mu.Unlock()
		return len(l.inbox.pending)
	}
	eventually(t, "both are told to stop", func() bool { return posted(giver) == 1 && posted(taker) == 1 })
	taker.runOnce(0)
	giver.runOnce(0)
	giver.load.Add(-10)
	if taker.load.Load() != 1 || taker.sessions.chunks != nil {
		t.Fatal("no connection is on its way")
	}
	go func() { talk(t, c); c.Close() }()
	eventually(t, "the shutdown is over", func() bool {
		for _, l := range srv.loops {
			if err := l.runOnce(0); err != nil {
				t.Fatal(err)
			}
		}
		return giver.stopped && taker.stopped
	})
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := endedTotal(srv.Stats()); n != 1 || srv.Stats().Ended[0].Reason != ClientClosed {
		t.Errorf("ended: %+v, want one session closed by the client", srv.Stats().Ended)
	}
	giver.close()
	taker.close()
}

// The same, but nobody has patience: what is in the inbox is cut like the rest.
func TestHandOverCutByShutdown(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	srv, c := aboutToHandOver(t, backend.Addr())
	defer c.Close()
	giver, taker := srv.loops[0], srv.loops[1]
	giver.runOnce(0)
	giver.load.Add(-10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := shutdownInBackground(ctx, srv)
	eventually(t, "the shutdown is over", func() bool {
		giver.runOnce(0)
		taker.runOnce(0)
		return giver.stopped && taker.stopped
	})
	if err := <-done; err == nil {
		t.Error("Shutdown: no error, want one session cut")
	}
	if ended := srv.Stats().Ended; len(ended) != 1 || ended[0].Reason != Shutdown {
		t.Errorf("ended: %+v, want one session cut", ended)
	}
	giver.close()
	taker.close()
}

// New leaves nothing behind when it fails, and says what is wrong.
func TestNewFails(t *testing.T) {
	before := systest.OpenFiles()
	taken := listenTCP(t, "127.0.0.1:0")
	dir := t.TempDir()
	p := newPool(t, 2, 0, tcpAddress(taken.Addr()))
	good := ListenerConfig{Name: "good", Target: Target{Pool: p}, Bind: []pool.Address{
		{Unix: filepath.Join(dir, "good")}, {TCP: netip.MustParseAddrPort("127.0.0.1:0")},
	}}
	f := func(want string, listeners ...ListenerConfig) {
		t.Helper()
		srv, err := New(Config{Loops: 2, Listeners: listeners})
		if err == nil || !strings.Contains(err.Error(), want) || srv != nil {
			t.Errorf("New: %v, want an error with %q", err, want)
		}
	}
	bad := func(addresses ...pool.Address) ListenerConfig {
		return ListenerConfig{Name: "bad", Target: Target{Pool: p}, Bind: addresses}
	}
	f(`"bad": no address`, bad())
	f(`pool "pool" has 1 counter shards for 2 loops`, ListenerConfig{Name: "bad", Bind: good.Bind,
		Target: Target{Pool: newPool(t, 1, 0, tcpAddress(taken.Addr()))}})
	f(`"bad": no pool`, ListenerConfig{Name: "bad", Bind: good.Bind})
	f("another process listens there", good, bad(tcpAddress(taken.Addr())))
	f("another process listens there", good, bad(pool.Address{Unix: filepath.Join(dir, "x")}, tcpAddress(taken.Addr())))
	f("no interface of this machine has it", good, bad(pool.Address{TCP: netip.MustParseAddrPort("203.0.113.1:80")}))
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f("not a socket", good, bad(pool.Address{Unix: plain}))
	f("must have 1 to", good, bad(pool.Address{Unix: strings.Repeat("x", 200)}))
	if _, err := New(Config{Loops: -1, Listeners: []ListenerConfig{good}}); err == nil {
		t.Error("New with -1 loops: no error")
	}
	if names, _ := filepath.Glob(dir + "/*"); len(names) != 1 {
		t.Errorf("socket files left: %v", names)
	}
	taken.Close()
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors left open: %v", left)
	}
}

func TestReasonText(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		text, err := r.MarshalText()
		if err != nil || len(text) == 0 || seen[r.String()] || string(text) != r.String() {
			t.Errorf("reason %d is called %q, %q, %v", r, r, text, err)
		}
		seen[r.String()] = true
	}
	if len(seen) != int(numReasons)-1 || seen["none"] || Reason(200).String() != "Reason(200)" {
		t.Errorf("the reasons are %v", seen)
	}
}
