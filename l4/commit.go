package l4

import (
	"context"
	"slices"
	"time"
)

// retireTime bounds how long a Commit waits for descriptors to serve those who have connected
// to an address that is gone.
const retireTime = 10 * time.Second

// Abandon gives up what Prepare has bound. After Commit it does nothing.
func (p *Prepared) Abandon() {
	if p.over {
		return
	}
	p.over = true
	p.closeOpened()
	p.srv.changing.Unlock()
}

// Commit puts a prepared update in force. It cannot fail. It returns when the sockets that are
// gone are closed, and those who had connected there are served: mostly in 50 ms, in a quarter
// of a second where clients may be far away, and in ten where descriptors are wanting for them.
// A server that stops accepting meanwhile has nothing to put in force.
//
// Sessions that are open keep the rules with which they began. A listener that is gone is in
// Stats until its last session has ended. Commit waits for the loops, so it must not be called
// on one.
func (p *Prepared) Commit() {
	if p.over {
		panic("l4: Commit of an update that is in force or given up")
	}
	p.over = true
	defer p.srv.changing.Unlock()
	srv := p.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopped {
		p.closeOpened()
		return
	}
	before := srv.doors()
	p.putInForce()
	srv.tellSockets(srv.doors())
	for _, ls := range srv.set.Load().all() {
		ls.forget()
	}
	srv.retireRest(p.gone(before))
}

// putInForce changes all that is in memory: new sessions have the new rules from now on. The
// loops do not know of new sockets yet.
func (p *Prepared) putInForce() {
	srv, set := p.srv, new(listenerSet)
	srv.places.limit.Store(int64(p.maxSessions))
	for i := range p.next {
		n := &p.next[i]
		set.active = append(set.active, n.listener)
		n.putInForce()
		for k, owners := range n.owners {
			srv.changeOwners(n.listener, k, owners)
		}
	}
	for _, ls := range srv.set.Load().all() {
		if slices.Contains(set.active, ls) {
			continue
		}
		n, _ := ls.sessionCount()
		if wasActive := !ls.leaving.Swap(true); wasActive || n > 0 {
			set.leaving = append(set.leaving, ls)
		}
	}
	srv.set.Store(set)
}

func (n *nextListener) putInForce() {
	config, ls := &n.rules.config, n.listener
	ls.leaving.Store(false)
	ls.places.limit.Store(int64(config.MaxSessions))
	ls.setSockets(n.sockets)
	if n.rules != ls.rules.Load() && n.rules.clients != nil {
		n.rules.clients.SetLimits(config.PerClient)
	}
	ls.setRules(n.rules)
}

// changeOwners lets others connect to the file of a socket that stays.
func (srv *Server) changeOwners(ls *listener, k *listenSocket, owners SocketFile) {
	if k.lent {
		k.wanted = &owners
		return
	}
	if err := k.file.Own(owners); err != nil {
		srv.log.Warn("the file of a socket keeps its owners and mode: give them by hand, or start sluice again",
			"listener", ls.name, "socket", k.address.Unix, "error", err)
		return
	}
	k.owners = owners
}

// gone returns those of some sockets that are no listener's any more.
func (p *Prepared) gone(before []door) []door {
	stay := make(map[*listenSocket]bool)
	for _, n := range p.next {
		for _, k := range n.sockets {
			stay[k] = true
		}
	}
	return slices.DeleteFunc(before, func(d door) bool { return stay[d.listenSocket] })
}

// retireRest closes sockets that are gone. A client for whom there is no descriptor in all
// the time is reset.
func (srv *Server) retireRest(gone []door) {
	if !srv.started() { // nobody has been promised anything
		closeDoors(gone)
		return
	}
	gone, shared := splitDoors(gone)
	if len(shared) > 0 {
		srv.emptyBacklogs(shared) // they stay open, but nobody listens there any more
	}
	ctx, stop := context.WithTimeout(srv.life, retireTime)
	defer stop()
	if srv.retire(ctx, gone) {
		return
	}
	if ctx.Err() != nil && srv.life.Err() == nil {
		srv.log.Warn("addresses that are gone are closed though clients wait there: no descriptors are left to serve them",
			"sockets", len(gone))
	}
	closeDoors(gone)
}

// tellSockets makes these the sockets on which the loops accept, and returns when all know.
// While nobody is to be accepted they are none.
func (srv *Server) tellSockets(doors []door) {
	if srv.holding || srv.departure != nil {
		doors = nil
	}
	if !srv.started() {
		for _, l := range srv.loops {
			l.setSockets(doors)
		}
		return
	}
	srv.askLoops(setSockets, doors)
}

// started reports whether the loops accept.
func (srv *Server) started() bool { return srv.loops[0].watching }
