package l4

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// waitingServer is a server at a limit of one session, which open has, and clients that
// wait in the kernel's backlog and have sent something.
func waitingServer(t *testing.T, c Config, bind pool.Address, clients int) (srv *Server, open net.Conn, waiting []net.Conn) {
	t.Helper()
	backend := newEcho(t)
	t.Cleanup(backend.stop)
	c.Loops, c.Logger = 2, slog.New(slog.NewTextHandler(io.Discard, nil))
	limit := 1 - c.MaxSessions // by the one or by the other
	c.Listeners = []ListenerConfig{{
		Name: "test", Bind: []pool.Address{bind}, MaxSessions: limit,
		Target: Target{Pool: newPool(t, c.Loops, 0, tcpAddress(backend.Addr()))},
	}}
	srv = must(New(c))
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		conn := must(net.Dial(bind.Network(), strings.TrimPrefix(srv.testAddress(), "unix:")))
		conn.SetDeadline(time.Now().Add(patient))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	open = dial()
	talk(t, open)
	for range clients {
		conn := dial()
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, conn)
	}
	eventually(t, "the listener rests at its limit", func() bool {
		l := srv.Stats().Listeners[0]
		return l.Resting && l.AtLimit && !l.Scarce && l.Accepts == 1
	})
	return srv, open, waiting
}

var anyPort = pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:0")}

// Who waits in the kernel's backlog when the server is told to end has been promised to
// be served, and is, though the session at the limit stays.
func TestShutdownServesTheBacklog(t *testing.T) {
	const clients = 25
	f := func(name string, c Config, bind pool.Address) {
		t.Run(name, func(t *testing.T) {
			var reasons [numReasons]atomic.Int64
			c.OnEnd = func(e End) { reasons[e.Reason].Add(1) }
			srv, open, waiting := waitingServer(t, c, bind, clients)
			done := shutdownInBackground(t.Context(), srv)
			for i, conn := range waiting {
				answer := make([]byte, 4)
				if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "ping" {
					t.Fatalf("client %d of %d that waited: %q, %v", i+1, clients, answer, err)
				}
			}
			talk(t, open)
			for _, conn := range append(waiting, open) {
				conn.Close()
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n := reasons[ClientClosed].Load(); n != clients+1 {
				t.Errorf("%d sessions were closed by their clients, want %d", n, clients+1)
			}
			if stats := srv.Stats(); endedTotal(stats) != clients+1 || stats.Listeners[0].Accepts != clients+1 {
				t.Errorf("%+v: want %d sessions", stats, clients+1)
			}
			if all, own := srv.places.taken.Load(), srv.listeners()[0].places.taken.Load(); all != 0 || own != 0 {
				t.Errorf("%d and %d places are taken in the end", all, own)
			}
		})
	}
	f("process", Config{MaxSessions: 1}, anyPort)
	f("listener", Config{}, anyPort)
	f("ipv6", Config{}, pool.Address{TCP: netip.MustParseAddrPort("[::1]:0")})
	f("unix", Config{}, pool.Address{Unix: filepath.Join(t.TempDir(), "front")})
	f("abstract", Config{}, pool.Address{Unix: "@sluice-test-" + filepath.Base(t.TempDir())})
}

// A client whose connect succeeds while the server stops is served like every other.
func TestShutdownResetsNobody(t *testing.T) {
	for _, bind := range []pool.Address{anyPort, {Unix: filepath.Join(t.TempDir(), "front")}} {
		for range 2 {
			backend := newEcho(t)
			srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{Bind: []pool.Address{bind}}, nil)
			var flood sync.WaitGroup
			for range 8 {
				flood.Go(func() {
					for {
						c, err := net.Dial(bind.Network(), strings.TrimPrefix(srv.testAddress(), "unix:"))
						if err != nil {
							return
						}
						c.SetDeadline(time.Now().Add(patient))
						buf := []byte("ping")
						if _, err = c.Write(buf); err == nil {
							_, err = io.ReadFull(c, buf)
						}
						if c.Close(); err != nil {
							t.Errorf("a client that was connected: %v", err)
							return
						}
					}
				})
			}
			eventually(t, "the flood flows", func() bool { return srv.Stats().Listeners[0].Accepts > 100 })
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			flood.Wait()
			backend.stop()
		}
	}
}

// A client whose handshake is under way when the server is told to end is served: it is
// connected, as far as it knows.
func TestShutdownFinishesHandshakes(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	everywhere := []pool.Address{{TCP: netip.MustParseAddrPort("0.0.0.0:0")}}
	srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{Bind: everywhere}, nil)
	// The kernel does not let a handshake end before data has come.
	if err := syscall.SetsockoptInt(srv.doors()[0].fd, syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 60); err != nil {
		t.Fatal(err)
	}
	c := must(net.Dial("tcp", srv.testAddress()))
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	srv.tellSockets(nil)
	ctx, enough := context.WithCancel(t.Context())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		srv.finishHandshakes(ctx, srv.doors(), patient)
	}()
	talk(t, c)
	enough()
	<-finished
	done := shutdownInBackground(t.Context(), srv)
	talk(t, c)
	c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Without descriptors the listening socket stays until there are some.
func TestShutdownWithoutDescriptors(t *testing.T) {
	srv, open, waiting := waitingServer(t, Config{}, anyPort, 10)
	restore := useUpDescriptors(t, 0)
	done := shutdownInBackground(t.Context(), srv)
	eventually(t, "accept fails", func() bool { return srv.Stats().Listeners[0].AcceptErrors > 0 })
	talk(t, open)
	restore()
	for _, conn := range waiting {
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	open.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// When the time for the drain is over as well, they are cut like the rest, and counted.
func TestShutdownCutsTheBacklog(t *testing.T) {
	const clients = 10
	var cut atomic.Int64
	srv, _, waiting := waitingServer(t, Config{OnEnd: func(e End) {
		if e.Reason == Shutdown || e.Errno == syscall.EMFILE { // there is one for the client and none for the backend
			cut.Add(1)
		}
	}}, anyPort, clients)
	restore := useUpDescriptors(t, 0)
	defer restore()
	ctx, enough := context.WithCancel(t.Context())
	done := shutdownInBackground(ctx, srv)
	eventually(t, "accept fails", func() bool { return srv.Stats().Listeners[0].AcceptErrors > 0 })
	enough()
	if err := <-done; err == nil {
		t.Error("Shutdown: no error, want one session cut")
	}
	if n := endedTotal(srv.Stats()); n != clients+1 || cut.Load() != clients+1 {
		t.Errorf("%d sessions have ended, %d of them were cut; want %d", n, cut.Load(), clients+1)
	}
	for _, conn := range waiting {
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a client that was cut: %v, want a reset", err)
		}
	}
}
