package l4

import (
	"fmt"
	"net/netip"

	"sluice/l4/clients"
	"sluice/pool"
)

// rules are what a listener does with its sessions: a value that does not change. A
// listener points at those for new sessions, and a session at those under which its client
// was let in. What is counted is no part of them, and outlives them.
type rules struct {
	listener *listener
	config   ListenerConfig
	targets  *targets
	access   *clients.Access // nil = everybody may come in
	clients  *clients.Table  // nil = no limits per client
}

// newRules makes the rules of a listener.
func (ls *listener) newRules(config ListenerConfig, own *ownPorts) (*rules, error) {
	targets, err := ls.newTargets(&config, own)
	if err != nil {
		return nil, err
	}
	r := &rules{listener: ls, config: config, targets: targets, access: accessFor(config.Allow, config.Deny)}
	if limits := config.PerClient; limits.Sessions != 0 || limits.Rate != 0 {
		r.clients = clients.New(limits)
	}
	return r, nil
}

// SetAccess replaces the lists of who may come in through a listener. Sessions that
// are open stay. The error says that there is no such listener. It is called by one
// goroutine at a time.
func (srv *Server) SetAccess(listener string, allow, deny []netip.Prefix) error {
	for _, ls := range srv.listeners {
		if ls.name == listener {
			next := *ls.rules.Load()
			next.access = accessFor(allow, deny)
			ls.rules.Store(&next)
			return nil
		}
	}
	return fmt.Errorf("listener %q: there is none", listener)
}

func accessFor(allow, deny []netip.Prefix) *clients.Access {
	if len(allow)+len(deny) == 0 {
		return nil
	}
	return clients.NewAccess(allow, deny)
}

// tallyOf returns what is counted of the sessions of a listener on a pool.
func (ls *listener) tallyOf(p *pool.Pool) *tally {
	known := ls.tallies[p]
	if known == nil {
		known = new(tally)
		ls.tallies[p] = known
	}
	return known
}
