package main

import (
	"bufio"
	"maps"
	"net"
	"slices"

	"sluice/pool"
)

// A modelPool is a pool that runs. One that is configured no more goes on as it was with the sessions that it has.
type modelPool struct {
	name    string
	rules   poolRules // what is in force
	slots   map[slotKey]*modelSlots
	waiting []*modelSession // in their order
	frozen  map[int]bool    // servers that were well when the pool went, and nobody asks since; nil: it is there
}

// A slotKey is what a backend is known by.
type slotKey struct {
	name   string
	server int
}

// modelSlots are what is counted of a backend.
type modelSlots struct{ active, connects, received, sent int }

// A modelListener is a listener that runs, or has sessions still.
type modelListener struct {
	name    string
	rules   listenerRules // the last ones
	leaving bool
	accepts int
	open    []*modelSession // each has a place
	ended   map[endKey]int
}

type endKey struct{ pool, reason string }

// A modelSession is one that is open: whatever changes, it goes on.
type modelSession struct {
	port     int      // that the client connected to
	conn     net.Conn // nil: it was reset at once
	lines    *bufio.Reader
	client   string // IP
	listener *modelListener
	pool     *modelPool
	counted  bool    // among those of its client
	served   bool    // it has a backend; else it waits
	backend  slotKey // of pool
}

// apply carries over what stays, as the names say, and lets in who may come in now.
func (p *applyPlay) apply() {
	p.changed = true
	for name, old := range p.pools {
		if _, stays := p.file.pools[name]; !stays {
			if slices.ContainsFunc(p.sessions, func(s *modelSession) bool { return s.pool == old }) {
				p.happened["a pool goes with sessions on it"]++
			}
			old.freeze(p)
			delete(p.pools, name)
			delete(p.blurred, old)
		}
	}
	for name, rules := range p.file.pools {
		if p.pools[name] == nil {
			p.pools[name] = &modelPool{name: name, slots: make(map[slotKey]*modelSlots)}
		}
		one := p.pools[name]
		was := *one
		one.rules = rules
		one.rules.backends = p.force(name)
		p.noteMoves(&was, one)
		one.keepSlots()
	}
	p.blur()
	for _, one := range p.everyPool() {
		p.grant(one)
	}
	before := p.listenerAt(p.backlog)
	p.applyListeners()
	if s := p.backlog; s != nil && p.listenerAt(s) == nil { // nobody listens there any more: who has come is let in
		p.backlog = nil
		p.happened["let in at an address that is gone"]++
		p.admit(before, s)
		return
	}
	p.admitBacklog()
}

// noteMoves counts backends with sessions that go, or are back.
func (p *applyPlay) noteMoves(was, is *modelPool) {
	for k, n := range is.slots {
		switch before, now := was.inForce(k), is.inForce(k); {
		case n.active == 0:
		case before && !now:
			p.happened["a backend goes with sessions on it"]++
		case now && !before:
			p.happened["a backend is back with sessions on it"]++
		}
	}
}

func (p *applyPlay) applyListeners() {
	for name, l := range p.listeners {
		_, stays := p.file.listeners[name]
		was := l.leaving
		if l.leaving = !stays; l.leaving && len(l.open) == 0 {
			delete(p.listeners, name)
		} else if l.leaving && !was {
			p.happened["a listener goes with sessions on it"]++
		} else if was && !l.leaving {
			p.happened["a listener is back with sessions on it"]++
		}
	}
	for name, rules := range p.file.listeners {
		if p.listeners[name] == nil {
			p.listeners[name] = &modelListener{name: name, ended: make(map[endKey]int)}
		}
		p.listeners[name].rules = rules
	}
	for _, l := range p.listeners { // of a pool that it leads to no more, and has no session in, it knows nothing
		maps.DeleteFunc(l.ended, func(k endKey, _ int) bool {
			inUse := slices.ContainsFunc(l.open, func(s *modelSession) bool { return s.pool.name == k.pool })
			return k.pool != "" && k.pool != l.rules.pool && !inUse
		})
	}
}

// everyPool returns the pools that are configured, or have sessions.
func (p *applyPlay) everyPool() []*modelPool {
	all := slices.Collect(maps.Values(p.pools))
	for _, s := range p.sessions {
		if s.pool != nil && !slices.Contains(all, s.pool) {
			all = append(all, s.pool)
		}
	}
	slices.SortFunc(all, func(a, b *modelPool) int { return len(a.waiting) - len(b.waiting) })
	return all
}

// listenerAt returns the one at whose address somebody waits.
func (p *applyPlay) listenerAt(s *modelSession) *modelListener {
	for _, l := range p.listeners {
		if s != nil && !l.leaving && l.rules.port == s.port {
			return l
		}
	}
	return nil
}

// blur notes the pools that have backends that are ill: until a check finds out, one that is new, or was not checked
// before, may be thought well. For a moment more of those who wait may be served than by what is known in the end.
func (p *applyPlay) blur() {
	for _, one := range p.pools {
		if slices.ContainsFunc(one.rules.backends, func(b modelBackend) bool { return p.isDown(one, b) }) {
			p.blurred[one] = true
		}
	}
}

// freeze notes who is well: that goes on to hold in a pool that is gone.
func (m *modelPool) freeze(p *applyPlay) {
	frozen := make(map[int]bool)
	for _, b := range m.rules.backends {
		frozen[b.server] = !p.isDown(m, b)
	}
	m.frozen = frozen
}

func (p *applyPlay) isDown(one *modelPool, b modelBackend) bool {
	if one.frozen != nil {
		return !one.frozen[b.server]
	}
	return one.rules.way != "" && p.servers.isIll(p.seed, b.server)
}

// able returns the backends that may take a session when they have room for it.
func (p *applyPlay) able(one *modelPool) []modelBackend {
	return slices.DeleteFunc(slices.Clone(one.rules.backends), func(b modelBackend) bool {
		return b.state != pool.Ready || b.weight == 0 || p.isDown(one, b)
	})
}

// keepSlots makes slots for what is in force, and forgets what is neither that nor in use.
func (m *modelPool) keepSlots() {
	for _, b := range m.rules.backends {
		if m.slots[b.key()] == nil {
			m.slots[b.key()] = new(modelSlots)
		}
	}
	maps.DeleteFunc(m.slots, func(k slotKey, n *modelSlots) bool { return n.active == 0 && !m.inForce(k) })
}

func (b modelBackend) key() slotKey { return slotKey{b.name, b.server} }

func (m *modelPool) inForce(k slotKey) bool {
	return slices.ContainsFunc(m.rules.backends, func(b modelBackend) bool { return b.key() == k })
}

func (m *modelPool) hasRoom(b modelBackend) bool {
	return b.maxConns == 0 || m.slots[b.key()].active < b.maxConns
}
