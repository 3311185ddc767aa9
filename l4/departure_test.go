package l4

import (
	"net"
	"path/filepath"
	"testing"

	"sluice/pool"
)

// departing are the kinds of addresses from which a hand-over starts.
func departing(t *testing.T) map[string]pool.Address {
	return map[string]pool.Address{
		"TCP":      anyPort,
		"file":     {Unix: filepath.Join(t.TempDir(), "s")},
		"abstract": {Unix: "@sluice-departs-" + t.Name()},
	}
}

// depart begins a hand-over and checks that nobody is accepted: a client that connects waits.
func depart(t *testing.T, srv *Server) *Departure {
	t.Helper()
	d, err := srv.Depart()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Who connects while a server departs waits, and is served when the hand-over has failed. So it is a second time.
func TestDepartureIsAbandoned(t *testing.T) {
	for name, address := range departing(t) {
		t.Run(name, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{Bind: []pool.Address{address}}, nil)
			bound := srv.Stats().Listeners[0].Addresses[0]
			open := dialAddress(t, bound)
			exchange(t, open, "before")
			for range 2 {
				d := depart(t, srv)
				accepts := srv.Stats().Listeners[0].Accepts
				var waiting []net.Conn
				for range 20 {
					waiting = append(waiting, dialAddress(t, bound))
				}
				exchange(t, open, "goes on")
				if stats := srv.Stats().Listeners[0]; stats.Accepts != accepts || d.Left() != stats.Sessions {
					t.Fatalf("%d were accepted, %d sessions are left of %d", stats.Accepts-accepts, d.Left(), stats.Sessions)
				}
				d.Abandon()
				d.Abandon()
				for _, c := range waiting {
					exchange(t, c, "after")
					c.Close()
				}
			}
			open.Close()
			shutDown(t, srv)
			if _, err := srv.Depart(); err == nil {
				t.Error("a server that is shut down departs")
			}
		})
	}
}
