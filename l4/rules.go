package l4

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"

	"sluice/l4/clients"
)

// rules are what a listener does with its sessions: a value that does not change. A
// listener points at those for new sessions, and a session at those under which its client
// was let in. What is counted outlives them: rules that replace others take it over.
type rules struct {
	listener *listener
	config   ListenerConfig
	targets  *targets
	access   *clients.Access // nil = everybody may come in
	clients  *clients.Table  // nil = no limits per client
	cancels  *cancelLimits   // nil = the protocol has no cancel requests

	_        [64]byte     // keeps what follows off the cache lines that every session reads
	sessions atomic.Int64 // that have these rules, those on their way in an inbox included
}

// newRules makes the rules of a listener. They are those in force, if these are the same.
func (ls *listener) newRules(config ListenerConfig, own *ownPorts) (*rules, error) {
	old := ls.rules.Load()
	if old != nil && old.config.equal(&config) {
		return old, nil
	}
	targets, err := ls.newTargets(&config, own)
	if err != nil {
		return nil, err
	}
	r := &rules{listener: ls, config: config, targets: targets, clients: ls.tableFor(config.PerClient)}
	if old != nil && slices.Equal(old.config.Allow, config.Allow) && slices.Equal(old.config.Deny, config.Deny) {
		r.access = old.access // it may be large
	} else {
		r.access = accessFor(config.Allow, config.Deny)
	}
	switch {
	case !config.Protocol.HasCancels():
	case old != nil && old.cancels != nil:
		r.cancels = old.cancels
	default:
		r.cancels = newCancelLimits()
	}
	return r, nil
}

// equal reports whether two configurations are the same, with the same pools.
func (l *ListenerConfig) equal(other *ListenerConfig) bool {
	if l.Target.Pool != other.Target.Pool || len(l.Routes) != len(other.Routes) ||
		!slices.Equal(l.Allow, other.Allow) || !slices.Equal(l.Deny, other.Deny) {
		return false
	}
	for i := range l.Routes {
		if l.Routes[i].Target.Pool != other.Routes[i].Target.Pool {
			return false
		}
	}
	return reflect.DeepEqual(l.withoutPools(), other.withoutPools())
}

// withoutPools returns a copy that can be compared as a value: without the pools, which
// change while they are looked at, and without the lists, which may be long.
func (l *ListenerConfig) withoutPools() ListenerConfig {
	c := *l
	c.Allow, c.Deny, c.Target.Pool, c.Routes = nil, nil, nil, slices.Clone(l.Routes)
	for i := range c.Routes {
		c.Routes[i].Target.Pool = nil
	}
	return c
}

// tableFor returns the table of a listener's clients for some limits; nil = there are none.
// The one that counts the sessions that are open goes on, unless clients are other networks
// now than those that it counts.
func (ls *listener) tableFor(limits clients.Limits) *clients.Table {
	if limits.Sessions == 0 && limits.Rate == 0 {
		return nil
	}
	for _, r := range ls.everyRules() {
		if r.clients != nil && prefixOf(r.config.PerClient) == prefixOf(limits) {
			return r.clients
		}
	}
	return clients.New(limits)
}

func prefixOf(limits clients.Limits) int { return cmp.Or(limits.IPv6Prefix, clients.DefaultIPv6Prefix) }

func accessFor(allow, deny []netip.Prefix) *clients.Access {
	if len(allow)+len(deny) == 0 {
		return nil
	}
	return clients.NewAccess(allow, deny)
}
