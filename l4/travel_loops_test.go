package l4

import (
	"context"
	"net"
	"testing"
)

// Sessions travel between servers of different numbers of loops, to and fro: each goes on, all loops get some, and no number
// of a session is given twice.
func TestSessionsTravelToOtherLoops(t *testing.T) {
	const most, come = 5, 30 // the pools have a shard for each loop, or more
	backend := newEcho(t)
	defer backend.stop()
	address := tcpAddress(backend.Addr())
	config := handedListener(newPool(t, most, 0, address), 0)
	srv := startServer(t, 1, config.Target.Pool, config, nil)
	var open []net.Conn
	grow := func() {
		for range come {
			open = append(open, dialEcho(t, srv))
		}
	}
	grow()
	named := ids(t, srv)
	for _, loops := range []int{3, 1, 2, most, 1} {
		next := config
		next.Target.Pool = newPool(t, most, 0, address)
		d := depart(t, srv)
		second := succeed(t, d, Config{Loops: loops, Listeners: []ListenerConfig{next}})
		for b := must(d.Next(false)); b != nil; b = must(d.Next(false)) {
			records, files := wire(t, b)
			a, refused, err := second.Adopt(records, files)
			if err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
			b.Commit(nil)
			a.Go()
		}
		if n := d.Left(); n != 0 {
			t.Fatalf("%d sessions are left", n)
		}
		handOver(t, d, second)
		shutDown(t, srv)
		srv = second
		came := ids(t, srv)
		if len(came) != len(named) {
			t.Errorf("%d sessions are there, want %d", len(came), len(named))
		}
		for id := range came {
			if !named[id] {
				t.Errorf("session %d is a new one", id)
			}
		}
		expectEven(t, srv, len(open))
		for _, c := range open {
			exchange(t, c, "goes on")
		}
		grow()
		if named = ids(t, srv); len(named) != len(open) {
			t.Errorf("%d sessions have %d numbers", len(open), len(named))
		}
	}
	for _, c := range open {
		c.Close()
	}
	eventually(t, "all have ended", func() bool { return srv.sessionCount() == 0 })
	shutDown(t, srv)
}

// ids returns the numbers of all sessions.
func ids(t *testing.T, srv *Server) map[uint64]bool {
	t.Helper()
	all := make(map[uint64]bool)
	if err := srv.VisitSessions(context.Background(), func(sessions []SessionStats) error {
		for _, s := range sessions {
			all[s.ID] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
