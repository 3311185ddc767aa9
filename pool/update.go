package pool

import (
	"errors"
	"fmt"
	"slices"
)

// A Change is what an update has done to the backends of a pool.
type Change struct {
	Added   []*Backend // new, or back, in configured order
	Kept    []*Backend // in configured order
	Removed []*Backend // in the order that they had
}

// Update replaces the pool's configuration while it is in use. It may be called from any goroutine, but not from
// Waiter.Granted; of several calls one comes after the other. It is all or nothing: an error, which lists everything that
// is wrong with the configuration, means that nothing has changed. Name and Shards stay as they are.
//
// A backend is its name and its address. One that is in both configurations is kept, the same *Backend: its counters,
// active connections, health, ejection, slow start and turns go on. Its weight, limit and state are as c says, and whether
// it has vanished. So is its tier if c differs there from the configuration before; if not, what SetBackup made of it stays.
//
// A backend that is not in c is removed. It is not usable any more and is given no sessions; slots that were taken, those
// that a waiter was granted and has not collected among them, are kept until they are released. With the last one the
// pool forgets it. Its methods go on working for who holds it.
//
// A backend that c adds comes up as one does that was down: it ramps if the pool has a slow start, and takes those who
// wait. It is a new *Backend, unless it was removed and has sessions still: then it is the same one, with its counters,
// active connections and ejection, and as up or down as it was, if it is not to begin Down.
//
// Those who wait keep their places, even those that a smaller QueueMax would not have let in. Sessions that a lower limit
// would not have let in stay, too.
func (p *Pool) Update(c Config) (Change, error) {
	u, err := p.Prepare(c)
	if err != nil {
		return Change{}, err
	}
	return u.Commit(), nil
}

// Prepare works out an Update, and changes nothing. Until Commit or Abandon is called whoever else wants to update the
// pool, or to set a weight in it, waits; sessions go on.
func (p *Pool) Prepare(c Config) (*Update, error) {
	if err := errors.Join(p.checkFixed(c), c.check()); err != nil {
		return nil, fmt.Errorf("update pool %q: %w", p.name, err)
	}
	p.changing.Lock()
	return p.plan(c), nil
}

// An Update is what is to become of a pool. Of Commit and Abandon the first call counts, and there must be one, from
// whatever goroutine; not from two at a time.
type Update struct {
	pool     *Pool // nil: it is over
	change   Change
	config   Config
	all      []*Backend // in the order of config.Backends
	balancer balancer   // made beforehand: that can take long
	anew     bool       // the policy's turns begin anew
}

// Backends returns the backends that the pool is to have, in configured order. Those that are new are in no pool yet. The
// slice must not be changed.
func (u *Update) Backends() []*Backend { return u.all }

// Commit makes the update the pool's configuration, and returns what that has done.
func (u *Update) Commit() Change {
	p := u.pool
	if p == nil {
		return Change{}
	}
	u.pool = nil
	defer p.changing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(u)
	return u.change
}

// Abandon leaves the pool as it is. After Commit it does nothing, so that it can be deferred.
func (u *Update) Abandon() {
	if p := u.pool; p != nil {
		u.pool = nil
		p.changing.Unlock()
	}
}

// checkFixed returns what differs of that which cannot change.
func (p *Pool) checkFixed(c Config) error {
	var name, shards error
	if c.Name != p.name {
		name = fmt.Errorf("name %q: a pool keeps its name", c.Name)
	}
	if max(c.Shards, 1) != p.shards {
		shards = fmt.Errorf("%d shards: a pool keeps its %d", c.Shards, p.shards)
	}
	return errors.Join(name, shards)
}

// plan works out an update. Pool.changing is held.
func (p *Pool) plan(c Config) *Update {
	u := &Update{pool: p, config: c, anew: p.policy != c.Balance}
	p.mu.Lock()
	leaving := slices.Clone(p.leaving)
	p.mu.Unlock()
	u.all, u.change.Removed = match(p.Backends(), leaving, c.Backends)
	weights := make([]int, len(c.Backends))
	u.change.Kept = make([]*Backend, 0, len(c.Backends))
	for i, bc := range c.Backends {
		b := u.all[i]
		switch {
		case b == nil:
			b = newBackend(p, bc)
			fallthrough
		case b.removed:
			u.change.Added = append(u.change.Added, b)
		default:
			u.change.Kept = append(u.change.Kept, b)
			u.anew = u.anew || b.weight != bc.Weight
		}
		u.all[i], weights[i] = b, bc.Weight
	}
	if u.balancer = p.balancer; u.anew || len(u.change.Added)+len(u.change.Removed) > 0 {
		u.balancer = newBalancer(c.Balance, u.all, weights)
	}
	return u
}

// find returns the backend whose configuration c is; nil = none. Pool.changing is held.
func find(backends []*Backend, c BackendConfig) *Backend {
	for _, b := range backends {
		if b.is(c) {
			return b
		}
	}
	return nil
}

// is reports whether a configuration is that of b.
func (b *Backend) is(c BackendConfig) bool { return b.name == c.Name && b.address == c.Address }

// Same reports whether two configurations are of one backend: of one name and one address.
func (c BackendConfig) Same(other BackendConfig) bool {
	return c.Name == other.Name && c.Address == other.Address
}

// carryOut makes an update the pool's configuration. Both mutexes are held.
func (p *Pool) carryOut(u *Update) {
	for _, b := range u.change.Removed {
		p.remove(b)
	}
	for i, b := range u.all {
		if b.removed {
			p.revive(b, u.config.Backends[i])
		}
		b.configure(u.config.Backends[i])
	}
	if inherit(u.change.Removed, u.change.Kept); u.anew {
		forgetTurns(u.all)
	}
	all := u.all // of its own: a pointer into u would keep those that are removed
	p.set.Store(&all)
	p.policy, p.balancer = u.config.Balance, u.balancer
	p.queueMax, p.slowStart = u.config.QueueMax, u.config.SlowStart
	p.candidates = make([]*Backend, 0, len(u.all)) // the old one may still point to those that have left
	if p.keeps != u.config.NoFailback {
		p.keeps, p.leader, p.led = u.config.NoFailback, nil, false
		p.findCandidates()
		p.led = p.leader != nil && p.leader.active > 0
	}
	p.leaving = slices.DeleteFunc(p.leaving, func(b *Backend) bool { return b.active == 0 }) // those that nobody came to
	p.hope()
	p.refresh()
}

// hope lets backends be up of which nobody knows whether they serve, if none is usable otherwise. The mutex is held.
func (p *Pool) hope() {
	all := p.Backends()
	if slices.ContainsFunc(all, (*Backend).usable) {
		return
	}
	for _, b := range all {
		if b.unproven && !b.up {
			b.up = true
			b.changes++
		}
	}
}

// remove takes a backend out of the set. Both mutexes are held.
func (p *Pool) remove(b *Backend) {
	b.removed = true
	p.noteUsable(b)
	if b.active > 0 {
		p.leaving = append(p.leaving, b)
	}
}

// forget drops a backend that was removed once it has no sessions any more, here or elsewhere. The mutex is held.
func (p *Pool) forget(b *Backend) {
	if b.active == 0 {
		p.leaving = slices.DeleteFunc(p.leaving, func(other *Backend) bool { return other == b })
	}
}

// revive brings a backend back that was removed. Its last session may have ended since that was planned. Both mutexes are
// held.
func (p *Pool) revive(b *Backend, c BackendConfig) {
	p.leaving = slices.DeleteFunc(p.leaving, func(other *Backend) bool { return other == b })
	b.removed = false
	b.restart(c)
}

// restart gives a backend that comes back its tier, and lets it begin down where it is to. The mutex is held.
func (b *Backend) restart(c BackendConfig) {
	b.backup, b.unproven = c.Backup, c.Unproven
	if (c.Down || c.Unproven) && b.up {
		b.up = false
		b.changes++
	}
}

// configure gives a backend what may change. Both mutexes are held.
func (b *Backend) configure(c BackendConfig) {
	if b.admin != c.State {
		b.changes++
	}
	if b.config.Backup != c.Backup {
		b.backup = c.Backup
	}
	b.config, b.admin, b.weight, b.maxConns = c, c.State, c.Weight, c.MaxConns
}
