package l4

import (
	"errors"
	"slices"

	"sluice/pool"
)

// A Departure is a server that hands over to one in another process: it accepts nobody, and
// its sessions leave it a batch at a time. Its sockets stay open: who connects waits in the
// kernel's backlog, for whichever of the two accepts next. Nothing else about the server
// changes meanwhile: Prepare waits. One of Abandon and Finish must follow.
//
// Its methods wait for the loops, so they must not be called on one; nor by several
// goroutines at once.
type Departure struct {
	srv     *Server
	over    bool
	rival   bool   // it was abandoned, and PeerEnded has not been called
	retired []door // that were given up, see Retire
	hunt    hunt   // for the next batch
	batch   *Batch // the last one
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

// Retire gives up the sockets that are bound to some addresses, since the other server does not
// take them, as a Commit does: who has connected there is served here.
func (d *Departure) Retire(addresses []pool.Address) {
	srv := d.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	gone := slices.DeleteFunc(srv.doors(), func(door door) bool { return !slices.Contains(addresses, door.bound) })
	if len(gone) == 0 || srv.stopped {
		return
	}
	for _, door := range gone {
		door.listener.sockets.Store(new(slices.DeleteFunc(slices.Clone(*door.listener.sockets.Load()), func(k *listenSocket) bool {
			return k == door.listenSocket
		})))
	}
	d.retired = append(d.retired, gone...)
	srv.retireRest(gone)
}

// reopen binds again what Retire has given up.
func (d *Departure) reopen() {
	for _, door := range d.retired {
		k := door.listenSocket
		if !k.shared {
			var err error
			if k, err = openSocket(door.bound, &door.listener.rules.Load().config); err != nil {
				d.srv.log.Error("an address that was given up for an upgrade that has failed is not served: reload to bind it",
					"listener", door.listener.name, "address", door.bound.String(), "error", bindHint(err, door.bound))
				continue
			}
			k.address = door.address
		}
		door.listener.sockets.Store(new(append(slices.Clone(*door.listener.sockets.Load()), k)))
	}
	d.retired = nil
}

// Left returns how many sessions are here.
func (d *Departure) Left() int { return d.srv.sessionCount() }

// Abandon ends a hand-over that has failed: the server accepts again, those first who have
// waited. The other server may watch the sockets still, and be woken for a connection that it
// does not take any more, or cannot for want of descriptors: until PeerEnded one loop is woken
// for every connection. After Finish it does nothing.
func (d *Departure) Abandon() {
	if d.over {
		return
	}
	srv := d.srv
	d.forgetGone()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	d.end()
	if srv.stopped { // meanwhile: it is left to this one to give the sockets up
		srv.retireRest(srv.doors())
		return
	}
	d.reopen()
	d.rival = true
	srv.rivals++
	srv.tellRivals()
	srv.tellSockets(srv.doors())
}

// PeerEnded says, after Abandon, that the process of the other server has ended.
func (d *Departure) PeerEnded() {
	srv := d.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !d.rival {
		return
	}
	d.rival = false
	srv.rivals--
	srv.tellRivals()
}

// tellRivals lets the first loop be woken for every connection while there are rivals. One loop is
// enough: what it accepts goes to whichever has room.
func (srv *Server) tellRivals() {
	l, rivalled := srv.loops[0], srv.rivals > 0
	if srv.started() {
		srv.onLoop(l, func() { l.setRivalled(rivalled) })
	} else {
		l.setRivalled(rivalled)
	}
}

// forgetGone lets what is counted be what is here again.
func (d *Departure) forgetGone() {
	for _, p := range d.srv.pools() {
		for _, b := range p.All() {
			b.Expect(0)
		}
	}
	for _, ls := range d.srv.listeners() {
		if table := ls.rules.Load().clients; table != nil {
			table.Forget()
		}
	}
}

// Finish ends a hand-over after which the sockets are the other process's. They are closed
// here and their files stay, so nobody notices. The server can only be shut down from then
// on; sessions that are left go on until then, and may still be handed over. After Abandon it
// does nothing.
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
