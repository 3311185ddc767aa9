package l4

import (
	"context"
	"fmt"
)

// Shutdown is called once, after Start. It stops accepting, waits until every
// session has ended by itself, and releases everything. What the kernel has accepted
// before that is served like the rest, beyond the limits of sessions if need be. When
// ctx is done before all have ended, the sessions that are left are ended with reason
// shutdown, and the error says how many. Those in which a peer has finished and that
// only deliver the rest of what it said have as long as that goes on, or until EndAll
// is called.
func (srv *Server) Shutdown(ctx context.Context) error {
	full := srv.StopAccepting(ctx)
	for _, l := range srv.loops {
		l.inbox.post(message{kind: reportDrained})
	}
	err := srv.waitDrained(ctx)
	if full != nil {
		srv.cutBacklogs()
	}
	if err != nil {
		for _, l := range srv.loops {
			l.inbox.post(message{kind: cutSessions})
		}
		_ = srv.waitDrained(srv.hurried)
	}
	for _, l := range srv.loops {
		l.inbox.post(message{kind: endSessions})
		l.inbox.post(message{kind: exitLoop})
	}
	srv.end()
	srv.running.Wait()
	return err
}

// StopAccepting is the first part of Shutdown, for those who have something to do between
// the two: it closes the listening sockets for good. Sessions go on, among them those of
// the clients that the kernel has accepted before; others find the process that listens
// there next, or nobody. An error means that ctx was done while descriptors were wanting
// for some of these clients: their sockets are still open, and Shutdown sees to them.
func (srv *Server) StopAccepting(ctx context.Context) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !srv.stopped {
		srv.stop()
		if srv.departure == nil { // else it sees to them
			srv.held, _ = splitDoors(srv.doors()) // who waits at the others is for the process that listens next
			srv.tellSockets(nil)
			srv.returnLent()
		}
	}
	if !srv.retire(ctx, srv.held) {
		return fmt.Errorf("stop accepting: clients wait in the kernel's backlog, and descriptors are wanting for them: %w",
			context.Cause(ctx))
	}
	srv.held = nil
	return nil
}

// stop lets nothing change any more.
func (srv *Server) stop() {
	srv.stopped = true
	for _, ls := range srv.listeners() {
		ls.leaving.Store(true)
	}
}

// EndAll ends, in a Shutdown whose context is done, the sessions that it still waits for.
func (srv *Server) EndAll() { srv.hurry() }

// cutBacklogs takes what still waits in the kernel, now that sessions are cut and free
// descriptors: each is counted and told, like the others.
func (srv *Server) cutBacklogs() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for accepts, before := uint64(0), uint64(1); accepts != before; {
		before = accepts
		for _, l := range srv.loops {
			l.inbox.post(message{kind: endSessions})
		}
		if srv.emptyBacklogs(srv.held) {
			break
		}
		accepts = 0
		for _, d := range srv.held {
			accepts += d.listener.accepts.Load()
		}
	}
	closeDoors(srv.held)
	srv.held = nil
}

// askLoops lets every loop carry out a message about some sockets, and returns the sum of
// what they answer when all have, or when one of them has failed.
func (srv *Server) askLoops(kind messageKind, doors []door) (sum int) {
	answers := make(chan int, len(srv.loops))
	for _, l := range srv.loops {
		l.inbox.post(message{kind: kind, doors: doors, ended: func(n int) { answers <- n }})
	}
	for range srv.loops {
		select {
		case n := <-answers:
			sum += n
		case <-srv.life.Done():
			return sum
		}
	}
	return sum
}

func counted(n int) string {
	if n == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", n)
}

func (srv *Server) waitDrained(ctx context.Context) error {
	for _, l := range srv.loops {
		select {
		case <-l.drained:
		case <-ctx.Done():
			if n := srv.sessionCount(); n > 0 {
				return fmt.Errorf("%s cut: %w", counted(n), context.Cause(ctx))
			}
		}
	}
	return nil
}
