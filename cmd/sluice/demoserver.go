package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// A demoServer is a small HTTP server behind a PROXY header. It can stop and come back at the same address. It is safe
// for concurrent use.
type demoServer struct {
	name    string
	address string // of the first start

	mu     sync.Mutex
	server *http.Server // nil: stopped
}

type demoServers []*demoServer

// startDemoServers starts a server for each name, on free ports.
func startDemoServers(names ...string) (demoServers, error) {
	var all demoServers
	for _, name := range names {
		s := &demoServer{name: name, address: "127.0.0.1:0"}
		if err := s.start(); err != nil {
			all.close()
			return nil, fmt.Errorf("start demo backend %s: %w", name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func (all demoServers) close() {
	for _, s := range all {
		s.close()
	}
}

func (s *demoServer) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(s.answer),
		ConnContext:       withPeer,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	s.address, s.server = l.Addr().String(), server
	// Without a valid header a connection is refused: it is what tells the client's address.
	go func() { _ = server.Serve(&proxyproto.Listener{Listener: l, ReadHeaderTimeout: 5 * time.Second}) }()
	return nil
}

// close stops the server and cuts its connections, like a crash.
func (s *demoServer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		_ = s.server.Close() // it only reports that the listener was closed
		s.server = nil
	}
}

type peerKey struct{}

// withPeer notes the address at the other end of the socket; the request has the one of the header.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if proxied, ok := c.(*proxyproto.Conn); ok {
		return context.WithValue(ctx, peerKey{}, proxied.Raw().RemoteAddr())
	}
	return ctx
}

func (s *demoServer) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "backend %s\n"+
		"client  %s, as the PROXY header says\n"+
		"peer    %v, as the socket says: that is sluice\n",
		s.name, r.RemoteAddr, r.Context().Value(peerKey{}))
}
