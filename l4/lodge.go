package l4

import (
	"errors"
	"fmt"
	"slices"

	"sluice/pool"
)

// lodge finds for each session that comes the rules and the target under which it goes on, and
// counts it there; one for which there are none is refused.
//
// One that relays goes on under its own terms, whatever the configuration is here: a listener or a
// pool that is not there is made, and is one that takes nobody new. One that does not will yet be
// routed and dialled for: it does so as this process's listener says.
func (srv *Server) lodge(come []*arriving) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, c := range come {
		var err error
		if err = c.record.check(); err == nil {
			if c.record.State == stateRelaying.String() {
				c.rules, c.target, err = srv.rulesToRelay(c.record)
			} else {
				c.rules, c.target, err = srv.rulesToOpen(c.record)
			}
		}
		if err != nil {
			srv.log.Info("a session of the process before goes on there", "session", c.record.ID, "state", c.record.State, "reason", err)
			c.refused = true
			continue
		}
		c.rules.sessions.Add(1)
		c.rules.listener.places.force()
		srv.places.force()
	}
}

// vacate gives back what lodge and adopt have counted of a session that is refused.
func (l *loop) vacate(r *rules) {
	r.sessions.Add(-1)
	l.server.returnPlace(r.listener)
	l.load.Add(-1)
}

// check returns what of a record cannot be.
func (r *Record) check() error {
	s := stateNamed(r.State)
	hasBackend, hasServer := r.Backend != nil, r.ServerEnd != nil
	if s == stateClosed {
		return fmt.Errorf("state %q: no session travels in that", r.State)
	}
	switch {
	case hasBackend && r.Pool == "", hasServer && !hasBackend:
		return errors.New("a backend is missing, or its pool")
	case s == stateRelaying && (!hasServer || r.Opening != nil), s == stateConnecting && !hasServer, s == statePaused && !hasBackend,
		s == stateWaiting && (hasBackend || r.Pool == ""):
		return fmt.Errorf("state %q: does not go with a backend %v and a connection %v", r.State, hasBackend, hasServer)
	case s == stateWaiting && (r.Opening == nil || r.Opening.Waiting == 0), s == statePaused && (r.Opening == nil || r.Opening.Obstacle == nil),
		s == stateAnswering && (!hasServer || r.Opening == nil || len(r.Opening.Packet)+len(r.Opening.Hello) == 0):
		return fmt.Errorf("state %q: what goes with it is missing", r.State)
	}
	return nil
}

// travelling are the states in which sessions travel. Others never stand, or stand for something
// here that is over soon.
var travelling = [...]state{
	stateReadHeader, stateReadHello, stateWaiting, stateConnecting, statePaused, stateAnswering, stateRelaying,
}

// stateNamed returns the state of a name in which sessions travel; stateClosed = there is none.
func stateNamed(name string) state {
	for _, s := range travelling {
		if s.String() == name {
			return s
		}
	}
	return stateClosed
}

// rulesToOpen returns the rules and the target for a session that does not relay yet.
func (srv *Server) rulesToOpen(r *Record) (*rules, *target, error) {
	i := slices.IndexFunc(srv.listeners(), func(ls *listener) bool { return ls.name == r.Listener })
	if i < 0 {
		return nil, nil, fmt.Errorf("listener %q is not here", r.Listener)
	}
	rules := srv.listeners()[i].rules.Load()
	switch {
	case rules.config.Protocol != r.Terms.Protocol:
		return nil, nil, fmt.Errorf("listener %q has protocol %s here", r.Listener, rules.config.Protocol)
	case r.State == stateReadHeader.String() && rules.config.AcceptProxy == nil:
		return nil, nil, fmt.Errorf("listener %q takes no PROXY header here", r.Listener)
	case r.Pool == "":
		return rules, nil, nil
	}
	for _, t := range rules.targets.all {
		if t.config.Pool.Name() == r.Pool {
			return rules, t, nil
		}
	}
	return nil, nil, fmt.Errorf("listener %q has no pool %q here", r.Listener, r.Pool)
}

// rulesToRelay returns the rules and the target for a session that relays.
func (srv *Server) rulesToRelay(r *Record) (*rules, *target, error) {
	ls := srv.listenerNamed(r.Listener)
	if ls != nil {
		for _, rules := range ls.everyRules() {
			for _, t := range rules.targets.all {
				if t.config.Pool.Name() == r.Pool && termsOf(rules, t) == r.Terms {
					return rules, t, nil
				}
			}
		}
	}
	p, err := srv.poolNamed(r.Pool)
	if err != nil {
		return nil, nil, err
	}
	if ls == nil {
		ls = newListener(r.Listener)
		ls.leaving.Store(true)
	}
	rules, err := ls.rulesFor(&r.Terms, p)
	if err != nil {
		return nil, nil, err
	}
	srv.keep(ls, rules)
	return rules, rules.targets.fallback, nil
}

// listenerNamed returns a listener, be it one that is leaving; nil = there is none.
func (srv *Server) listenerNamed(name string) *listener {
	for _, ls := range srv.set.Load().all() {
		if ls.name == name {
			return ls
		}
	}
	return nil
}

// poolNamed returns a pool that is known, or makes one without backends for sessions whose pool is
// not here any more.
func (srv *Server) poolNamed(name string) (*pool.Pool, error) {
	for _, p := range srv.pools() {
		if p.Name() == name {
			return p, nil
		}
	}
	return pool.New(pool.Config{Name: name, Shards: len(srv.loops)})
}

// rulesFor makes rules of terms.
func (ls *listener) rulesFor(t *Terms, p *pool.Pool) (*rules, error) {
	config := ListenerConfig{
		Name: ls.name, Protocol: t.Protocol, IdleTimeout: t.IdleTimeout, FinTimeout: t.FinTimeout, DeadPeer: t.ClientDeadPeer,
		Target: Target{
			Pool: p, DeadPeer: t.BackendDeadPeer, NoteReady: t.NoteReady,
			MaxAge: MaxAge{Age: t.MaxAge, Jitter: t.MaxAgeJitter, IdleOnly: t.MaxAgeIdleOnly},
		},
	}
	if t.UniqueID {
		config.Target.SendProxy, config.Target.TLVs = ProxyV2, []TLV{TLVUniqueID}
	}
	targets, err := ls.newTargets(&config, newOwnPorts())
	if err != nil {
		return nil, err
	}
	r := &rules{listener: ls, config: config, targets: targets}
	if now := ls.rules.Load(); now != nil {
		r.clients, r.cancels = now.clients, now.cancels
	}
	return r, nil
}

// keep puts rules that only sessions of the process before have behind those that there are. srv.mu
// is held.
func (srv *Server) keep(ls *listener, r *rules) {
	if ls.rules.Load() != nil {
		earlier := slices.Concat([]*rules{r}, *ls.earlier.Load())
		ls.earlier.Store(&earlier)
		return
	}
	ls.rules.Store(r)
	set := srv.set.Load()
	srv.set.Store(&listenerSet{active: set.active, leaving: append(slices.Clip(set.leaving), ls)})
}
