package l4

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sluice/l4/clients"
	"sluice/l4/pgwire"
	"sluice/pool"
)

// Anybody may send a CancelRequest: 16 bytes, for which servers get connections. So it
// goes to as few as may own the session that it is for, and whoever does not know a key
// may not send many:
//
//   - The server that gave the key to a client in clear. Who knows the key has logged in.
//   - Of a key that nobody has seen, the servers at which the client's address has
//     encrypted sessions.
//   - Of an address that has none, a stranger's, any that are live: its sessions may be
//     those of a process before this one.
const (
	// maxAsked bounds the servers that one request is for. If more may own the session,
	// the next request goes to others.
	maxAsked = 8
	// cancelRate and cancelBurst are for the requests of one client whose keys are not
	// known, per second and at once: as many as a program has queries that it gives up
	// together.
	cancelRate  = 10
	cancelBurst = 100
	// strangerRate and strangerBurst are for those of all strangers of a listener.
	strangerRate  = 50
	strangerBurst = 200
	// cancelTable is how many clients are known that have sent some.
	cancelTable = 4096
)

// An ownerTarget is a server that may own a session, and the target whose header it gets.
type ownerTarget struct {
	target  *target
	backend *pool.Backend
}

// owners returns who is to be asked to cancel; ok is false when the client has asked too
// often.
func (l *loop) owners(s *session) (list []ownerTarget, ok bool) {
	own := s.rules.targets
	if b := l.server.cancelKeys.owner(pgwire.CancelKey(s.opening.packet)); b != nil {
		return backendsOf(l.server.targetsOf(own, b.Pool()), func(c *pool.Backend) bool { return c == b }), true
	}
	list = backendsOf(s.rules.listener.everyTarget(), func(b *pool.Backend) bool {
		return l.server.sealed.has(s.client.Addr(), b) && mayOwn(b)
	})
	stranger := len(list) == 0
	if stranger {
		list = backendsOf(own.all, mayOwn)
	}
	cancels := s.rules.cancels
	if !cancels.admit(s.client.Addr(), stranger, l.now) {
		return nil, false
	}
	return cancels.some(list), true
}

// backendsOf returns the servers of some targets that meet a condition, each once: one may
// be in several pools. One that was removed from its pool may have sessions still.
func backendsOf(targets []*target, meets func(*pool.Backend) bool) (list []ownerTarget) {
	known := make(map[pool.Address]bool)
	for _, t := range targets {
		for _, b := range t.config.Pool.All() {
			if !known[b.Address()] && meets(b) {
				known[b.Address()] = true
				list = append(list, ownerTarget{t, b})
			}
		}
	}
	return list
}

// address makes for each server the header that it gets. The session counts for the
// listener's pool of the first one.
func (l *loop) address(s *session, c *cancellation, list []ownerTarget) error {
	var header []byte
	for i, to := range list {
		if i == 0 || s.target != to.target {
			s.target = to.target
			n, err := l.putHeader(s)
			if err != nil {
				return err
			}
			header = slices.Clone(l.scratch[:n])
		}
		c.asked = append(c.asked, addressee{to.backend, header, to.target.dial(to.backend)})
	}
	own := s.rules.targets
	s.target = own.all[0]
	if len(list) > 0 {
		s.target = cmp.Or(own.of(list[0].backend.Pool()), s.target)
	}
	return nil
}

// targetsOf returns the target of a pool, preferably that of a listener's own: a server
// may be of other listeners only, or of rules that only sessions still have, and then gets
// the header that it gets there.
func (srv *Server) targetsOf(own *targets, p *pool.Pool) []*target {
	if t := own.of(p); t != nil {
		return []*target{t}
	}
	for _, ls := range srv.set.Load().all() {
		for _, r := range ls.everyRules() {
			if t := r.targets.of(p); t != nil {
				return []*target{t}
			}
		}
	}
	return nil
}

// mayOwn reports whether a session may be b's: it takes new ones, or still has some.
func mayOwn(b *pool.Backend) bool {
	stats := b.Stats()
	return stats.Usable || stats.Active > 0
}

// cancelLimits bounds the requests that come through one listener with keys that are not
// known. Loops share it.
type cancelLimits struct {
	clients *clients.Table
	mu      sync.Mutex
	bucket  clients.Bucket // of all strangers
	full    time.Duration  // when it is full
	now     time.Duration  // the latest that a loop has said
	turn    int            // where the next request begins, when there are too many to ask
}

func newCancelLimits() *cancelLimits {
	return &cancelLimits{
		clients: clients.New(clients.Limits{Rate: cancelRate, Burst: cancelBurst, Table: cancelTable}),
		bucket:  clients.Limits{Rate: strangerRate, Burst: strangerBurst}.Bucket(),
	}
}

// admit reports whether a client may send one more request now.
func (c *cancelLimits) admit(client netip.Addr, stranger bool, now time.Duration) bool {
	if c.clients.Admit(client, now) == clients.RateLimited {
		return false
	}
	if !stranger {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = max(c.now, now)
	full, ok := c.bucket.Take(c.full, c.now)
	if ok {
		c.full = full
	}
	return ok
}

// debt returns in how long the bucket of all strangers is full.
func (c *cancelLimits) debt(now time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.full-now)
}

// assume adds to what strangers have to wait for what they had to in another process.
func (c *cancelLimits) assume(debt, now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = max(c.full, now+debt)
}

// some returns as many of a list as one request may be for, others with every call.
func (c *cancelLimits) some(list []ownerTarget) []ownerTarget {
	if len(list) <= maxAsked {
		return list
	}
	c.mu.Lock()
	from := c.turn % len(list)
	c.turn = from + maxAsked
	c.mu.Unlock()
	return slices.Concat(list[from:], list[:from])[:maxAsked]
}

// sealedSessions counts the encrypted sessions that clients have at servers: nobody but
// the two of them knows the keys of those. Loops share it; it is touched twice per such
// session.
type sealedSessions struct {
	mu    sync.Mutex
	count map[clientAt]int
}

// A clientAt is a client, as its limits know it, at a server.
type clientAt struct {
	client  clients.Key
	backend *pool.Backend
}

func (c *sealedSessions) add(client netip.Addr, b *pool.Backend, n int) {
	at := clientAt{clients.KeyOf(client, clients.DefaultIPv6Prefix), b}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = make(map[clientAt]int)
	}
	if c.count[at] += n; c.count[at] == 0 {
		delete(c.count, at)
	}
}

func (c *sealedSessions) has(client netip.Addr, b *pool.Backend) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[clientAt{clients.KeyOf(client, clients.DefaultIPv6Prefix), b}] > 0
}

// seal notes a session of Postgres that begins to relay and whose login cannot be read.
func (l *loop) seal(s *session) {
	if s.traits().cancels && s.login == nil {
		s.sealed = true
		l.server.sealed.add(s.client.Addr(), s.backend, 1)
	}
}
