package l4

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// startServer runs a server with its own goroutines and the real clock. When
// the test is over it is shut down, if the test has not done so.
func startServer(t *testing.T, loops int, p *pool.Pool, l ListenerConfig, onEnd func(End)) *Server {
	t.Helper()
	l.Name, l.Target.Pool = "test", p
	if l.Bind == nil {
		l.Bind = []pool.Address{{TCP: netip.MustParseAddrPort("127.0.0.1:0")}}
	}
	srv, err := New(Config{
		Loops: loops, Listeners: []ListenerConfig{l}, OnEnd: onEnd,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return srv
}

// shutDown ends a server and every session on it.
func shutDown(t *testing.T, srv *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	srv.Shutdown(ctx)
	if n := srv.sessionCount(); n != 0 {
		t.Errorf("%d sessions are left after the shutdown", n)
	}
	if n := srv.pipes.Open(); n != 0 {
		t.Errorf("%d pipes are left after the shutdown", n)
	}
}

func (srv *Server) testAddress() string {
	return (*srv.listeners()[0].sockets.Load())[0].bound.String()
}

// An echo is a backend that answers everything with the same.
type echo struct {
	net.Listener
	open  atomic.Int64
	conns sync.WaitGroup
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	e := &echo{Listener: listenTCP(t, "127.0.0.1:0")}
	e.conns.Go(func() {
		for {
			c, err := e.Accept()
			if err != nil {
				return
			}
			e.open.Add(1)
			e.conns.Go(func() {
				// Not io.Copy(c, c): package net would splice, and keep the pipes
				// until the collector finds them.
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				c.Close()
				e.open.Add(-1)
			})
		}
	})
	return e
}

// stop waits for the backend's connections to be closed by the others.
func (e *echo) stop() {
	e.Close()
	e.conns.Wait()
}

// dialEcho opens a session and makes sure that it is relayed.
func dialEcho(t *testing.T, srv *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", srv.testAddress())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patient))
	talk(t, c)
	return c
}

func talk(t *testing.T, c net.Conn) {
	t.Helper()
	buf := []byte("ping")
	if _, err := c.Write(buf); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("echo: %q, %v", buf, err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !systest.Wait(patient, holds) {
		t.Fatalf("%s: not in %v", what, patient)
	}
}
