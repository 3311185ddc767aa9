package l4

import (
	"context"
	"errors"
)

// Who looks through the sessions of a loop does so some slots at a time, each time in
// another turn of the loop, which serves its sessions between: of 100,000 none waits for all
// others to be looked at. A session keeps its slot for life, so nobody meets it twice; one
// that begins or ends meanwhile is met or not. One that another process hands over or is handed
// is met when it goes on here, see resume and EndSessions.

const (
	// walkSlots is how many slots a loop looks at in one turn.
	walkSlots = 256
	// walkEnds is how many sessions are ended, or leave their backend, in one turn: each
	// takes two calls at least.
	walkEnds = 32
)

// ErrEnded is what is returned for a server that has ended, or a loop of which has failed.
var ErrEnded = errors.New("the server has ended")

// A walk goes through the slots of one loop, at the pace of the goroutine that walks.
type walk struct {
	srv     *Server
	loop    *loop
	next    int32 // slot
	visited int32 // slots
	stops   chan walkStop
}

// A walkStop is where a loop has stopped, and how many slots it has.
type walkStop struct{ next, size int32 }

// walk begins a walk at a slot.
func (srv *Server) walk(l *loop, from int32) *walk {
	return &walk{srv: srv, loop: l, next: from, stops: make(chan walkStop, 1)}
}

// step lets the loop call visit for each open session in the next slots, until that returns
// false. over: it has been through all slots. Behind the last one it goes on with the first.
// After an error the loop may still be at it.
func (w *walk) step(ctx context.Context, visit func(*session) bool) (over bool, err error) {
	w.loop.inbox.post(message{
		kind: visitSlots, slot: w.next, visit: visit, stopped: func(at walkStop) { w.stops <- at },
	})
	select {
	case at := <-w.stops:
		w.visited += at.next - w.next
		if w.next = at.next; w.next >= at.size {
			w.next = 0
		}
		return w.visited >= at.size, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-w.srv.life.Done():
		return false, ErrEnded
	}
}

// visitSlots is a step of a walk on the loop.
func (l *loop) visitSlots(m message) {
	slot, size := m.slot, l.sessions.size()
	for end := min(slot+walkSlots, size); slot < end; {
		s := l.sessions.at(slot)
		slot++
		if s.state != stateClosed && s.state != stateArriving && !m.visit(s) {
			break
		}
	}
	m.stopped(walkStop{slot, size})
}
