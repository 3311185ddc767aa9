package l4

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"sluice/l4/pgwire"
	"sluice/l4/route"
	"sluice/pool"
)

// targets are the pools of one listener, and the routes to them. They do not change,
// so loops share them.
type targets struct {
	all      []*target    // each pool once, in configured order
	routed   []*target    // by the number of the route
	fallback *target      // of sessions that no route takes; nil = they are refused
	routes   *route.Table // nil: there are none
	// byTLS: routes ask for what is known of TLS. byStartup: for what is known of a
	// Postgres start-up in clear.
	byTLS, byStartup bool
}

// A target is a Target with what is counted of one listener's sessions on it.
type target struct {
	*tally
	config Target
	own    *ownPorts
	dials  atomic.Pointer[dialTargets] // of the backends that the pool had at the last look; nil = none yet
	tlvs   [numTLVs]bool
}

// A tally is what is known of one listener's sessions on one pool, whatever the rules.
type tally struct {
	ended   endCounters
	retries atomic.Uint64 // backends tried after one had failed

	// What the servers have said to a question for encryption, by its kind.
	encrypts, refuses [pgwire.GSSENCRequest + 1]atomic.Bool
}

// noteAnswer notes a server's answer to a question for encryption.
func (t *tally) noteAnswer(kind pgwire.Kind, yes bool) {
	said := &t.refuses[kind]
	if yes {
		said = &t.encrypts[kind]
	}
	if !said.Load() { // loops share the cache line
		said.Store(true)
	}
}

// neverEncrypts reports whether servers have said no to a question for encryption, and
// none has ever said yes.
func (t *tally) neverEncrypts(kind pgwire.Kind) bool {
	return t.refuses[kind].Load() && !t.encrypts[kind].Load()
}

func (ls *listener) newTargets(config *ListenerConfig, own *ownPorts) (*targets, error) {
	t, known := new(targets), make(map[string]*target)
	for _, old := range ls.everyTarget() {
		known[old.config.Pool.Name()] = old
	}
	for _, r := range config.Routes {
		t.routed = append(t.routed, t.add(r.Target, own, known))
		t.byTLS = t.byTLS || len(r.SNI)+len(r.ALPN) > 0
		t.byStartup = t.byStartup || len(r.Database)+len(r.User) > 0
	}
	if config.Target.Pool != nil {
		t.fallback = t.add(config.Target, own, known)
	}
	if len(config.Routes) == 0 {
		return t, nil
	}
	var err error
	t.routes, err = route.New(config.routeList())
	return t, err
}

// add returns the target of a pool, which is made when the pool is first named: of what the
// listener has known of a pool of that name.
func (t *targets) add(config Target, own *ownPorts, known map[string]*target) *target {
	if made := t.of(config.Pool); made != nil {
		return made
	}
	made := &target{tally: new(tally), config: config, own: own}
	if old := known[config.Pool.Name()]; old != nil {
		made.tally = old.tally
		if old.config.Pool == config.Pool && slices.Equal(old.config.Sources, config.Sources) && old.own.equal(own) {
			made.dials.Store(old.dials.Load()) // there may be thousands
		}
	}
	for _, tlv := range config.TLVs {
		made.tlvs[tlv] = true
	}
	t.all = append(t.all, made)
	return made
}

// of returns the target of a pool; nil = there is none.
func (t *targets) of(p *pool.Pool) *target {
	for _, known := range t.all {
		if known.config.Pool == p {
			return known
		}
	}
	return nil
}

// choose returns where a session goes; nil = nowhere.
func (t *targets) choose(k route.Key) *target {
	if t.routes != nil {
		if i, ok := t.routes.Match(k); ok {
			return t.routed[i]
		}
	}
	return t.fallback
}

func (l *ListenerConfig) routeList() []route.Rule {
	list := make([]route.Rule, len(l.Routes))
	for i, r := range l.Routes {
		list[i] = r.Rule
	}
	return list
}

// CheckRoutes returns what is wrong with the routes of a listener together, and
// for its protocol.
func CheckRoutes(protocol Protocol, list []route.Rule) error {
	if !protocol.Peeks() && len(list) > 0 {
		return errors.New("routes need a protocol whose first bytes are read: tls or postgres")
	}
	for i, r := range list {
		if !protocol.HasStartup() && len(r.Database)+len(r.User) > 0 {
			return fmt.Errorf("route %d: database and user are not known of TLS: they need protocol postgres", i+1)
		}
	}
	_, err := route.New(list)
	return err
}

// checkTargets returns what is wrong with where a listener's sessions go, for so
// many loops.
func (l *ListenerConfig) checkTargets(loops int) error {
	if l.Target.Pool == nil && len(l.Routes) == 0 {
		return errors.New("no pool")
	}
	if err := CheckRoutes(l.Protocol, l.routeList()); err != nil {
		return err
	}
	for i, r := range l.Routes {
		if r.Target.Pool == nil {
			return fmt.Errorf("route %d: no pool", i+1)
		}
		if err := r.Target.check(loops); err != nil {
			return err
		}
	}
	if l.Target.Pool == nil {
		return nil
	}
	return l.Target.check(loops)
}

func (t *Target) check(loops int) error {
	if shards := t.Pool.Shards(); shards < loops {
		return fmt.Errorf("pool %q has %d counter shards for %d loops", t.Pool.Name(), shards, loops)
	}
	if len(t.TLVs) > 0 && t.SendProxy != ProxyV2 {
		return fmt.Errorf("pool %q: TLVs need a PROXY header of version 2", t.Pool.Name())
	}
	return nil
}
