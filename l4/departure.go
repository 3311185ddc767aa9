package l4

import (
	"errors"
)

// A Departure is a server that hands over to one in another process: it accepts nobody, and
// its sessions leave it a batch at a time. Its sockets stay open: who connects waits in the
// kernel's backlog, for whichever of the two accepts next. Nothing else about the server
// changes meanwhile: Prepare waits. One of Abandon and Finish must follow.
//
// Its methods wait for the loops, so they must not be called on one; nor by several
// goroutines at once.
type Departure struct {
	srv  *Server
	over bool
}

// errStopped is why nothing can be changed any more.
var errStopped = errors.New("the server has stopped accepting for good")

// Depart begins a hand-over. When it returns nothing is accepted any more, and every
// connection that was is a session. It waits for a change that is being made.
func (srv *Server) Depart() (*Departure, error) {
	srv.changing.Lock()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopped || srv.life.Err() != nil {
		srv.changing.Unlock()
		return nil, errStopped
	}
	d := &Departure{srv: srv}
	srv.departure = d
	srv.tellSockets(nil)
	if srv.started() {
		srv.askLoops(answerNow, nil) // what one has accepted for another is in the other's inbox, before this
	}
	return d, nil
}

// Left returns how many sessions are here.
func (d *Departure) Left() int { return d.srv.sessionCount() }

// Abandon ends a hand-over that has failed: the server accepts again, those first who have
// waited. After Finish it does nothing.
func (d *Departure) Abandon() {
	if d.over {
		return
	}
	srv := d.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	d.end()
	if srv.stopped { // meanwhile: it is left to this one to give the sockets up
		srv.retireRest(srv.doors())
		return
	}
	srv.tellSockets(srv.doors())
}

// Finish ends a hand-over after which the sockets are the other process's. They are closed
// here and their files stay, so nobody notices. The server can only be shut down from then
// on; sessions that are left go on until then. After Abandon it does nothing.
func (d *Departure) Finish() {
	if d.over {
		return
	}
	srv := d.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	d.end()
	srv.stop()
	for _, door := range srv.doors() {
		door.leave()
	}
}

// end lets the server change again.
func (d *Departure) end() {
	d.over = true
	d.srv.departure = nil
	d.srv.changing.Unlock()
}
