package l4

import (
	"context"
	"errors"
	"testing"
)

// isOver returns what reports whether a channel is closed.
func isOver(done <-chan struct{}) func() bool {
	return func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// A visit that takes its time keeps the loop from none of its sessions: they talk, end and
// begin meanwhile. Who was there all the time is met once, and nobody twice.
func TestVisitSessionsBetweenTurns(t *testing.T) {
	const sessions = walkSlots + 40
	r := newRig(t, rigConfig{})
	var all [][2]conn
	for range sessions {
		all = append(all, r.pair())
	}
	met, chunks := map[uint64]int{}, 0
	paused, goOn, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		if err := r.srv.VisitSessions(context.Background(), func(chunk []SessionStats) error {
			for _, s := range chunk {
				met[s.ID]++
			}
			if chunks++; chunks == 1 {
				close(paused)
				<-goOn
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}()
	r.until("the first of them were met", isOver(paused))
	r.exchange(all[0][client], all[0][server], 3)
	r.exchange(all[sessions-1][server], all[sessions-1][client], 3)
	ended := map[uint64]bool{}
	for _, i := range []int{1, sessions - 2} { // one was met, the other one was not
		reset(all[i][client])
		ended[r.expectLeft().ID] = true
	}
	for range 3 { // two of them in the slots of those that have ended
		r.pair()
	}
	close(goOn)
	r.until("the visit is over", isOver(over))
	if chunks != 2 {
		t.Errorf("%d chunks, want 2", chunks)
	}
	for id := uint64(1); id <= sessions; id++ {
		if met[id] != 1 && !ended[id] {
			t.Errorf("session %d was met %d times", id, met[id])
		}
	}
	for id, n := range met {
		if n != 1 || id == 0 || id > sessions+3 {
			t.Errorf("session %d was met %d times", id, n)
		}
	}
}

// A visit ends with the error of who visits, and with that of its context, though the loop
// does not answer.
func TestVisitSessionsEndsEarly(t *testing.T) {
	r := newRig(t, rigConfig{})
	r.pair()
	enough := errors.New("that will do")
	visits := 0
	var err error
	r.while("VisitSessions", func() error {
		err = r.srv.VisitSessions(context.Background(), func([]SessionStats) error { visits++; return enough })
		return nil
	})
	if err != enough || visits != 1 {
		t.Errorf("%d visits, %v; want 1, %v", visits, err, enough)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	go func() { // nobody steps the loop
		defer close(over)
		err = r.srv.VisitSessions(ctx, func([]SessionStats) error { return nil })
	}()
	cancel(enough)
	<-over
	if err != enough {
		t.Errorf("ended with %v, want %v", err, enough)
	}
	r.settle() // the loop's answer bothers nobody
}

// Of a server that has ended there are no sessions, and nobody waits for it.
func TestVisitSessionsAfterShutdown(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{}, nil)
	shutDown(t, srv)
	err := srv.VisitSessions(context.Background(), func([]SessionStats) error { t.Error("visited"); return nil })
	if err != ErrEnded {
		t.Errorf("VisitSessions: %v, want %v", err, ErrEnded)
	}
	if srv.Kill(SessionRef{ID: 2}) {
		t.Error("Kill has found a session")
	}
}

// However many sessions of a backend are ended, the loop serves the others between.
func TestEndSessionsBetweenTurns(t *testing.T) {
	const sessions = 3*walkEnds + 5
	listeners, addresses := listenMany(t, 2)
	r := newRig(t, rigConfig{backends: addresses})
	for range sessions {
		r.dial()
		r.acceptFrom(listeners[0])
	}
	b := r.pool.Backends()[0]
	b.SetUp(false)
	other := [2]conn{client: r.dial()}
	other[server] = r.acceptFrom(listeners[1])
	over, n := make(chan struct{}), 0
	go func() {
		defer close(over)
		n = r.srv.EndSessions(b, Drained, 0)
	}()
	for before := 0; !isOver(over)(); before = len(r.ended) {
		r.step()
		if in := len(r.ended) - before; in > walkEnds {
			t.Errorf("%d sessions have ended in one turn, want at most %d", in, walkEnds)
		}
	}
	if n != sessions || len(r.ended) != sessions {
		t.Errorf("%d sessions were ended, %d have; want %d", n, len(r.ended), sessions)
	}
	r.exchange(other[client], other[server], 2)
}
