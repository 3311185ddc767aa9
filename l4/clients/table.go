package clients

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"time"
)

// A Verdict is what the limits say of a new session.
type Verdict uint8

// The verdicts.
const (
	Admitted        Verdict = iota // it counts as the client's until Leave
	Uncounted                      // it comes in, but is not counted: Leave must not be called
	RateLimited                    // the client has begun too many lately
	TooManySessions                // the client has too many open
)

// A Table enforces the limits per client of one listener, for all loops: how many
// sessions each client has open, and how fast it begins them.
//
// Its memory is fixed, however many addresses there are. A client of which there is nothing to remember, without a
// session and with its bucket full, gives its place to a new one. When there is none, the client without a session
// whose bucket is full the soonest is forgotten: it loses the least, and one that has used up its burst stays until as
// many addresses as there are places have used up theirs. A client with open sessions is never forgotten, so counts are
// exact.
//
// When all places are taken by clients with open sessions, a new client comes in uncounted. To refuse it would hand
// whoever holds that many sessions the power to lock everybody else out, and it would be the honest ones that are hurt:
// who has 65,536 addresses has no need to break a limit per address. The total is for max_sessions to bound, and with a
// table that is large enough for it, see Limits.Table, this does not come to pass.
type Table struct {
	seed   maphash.Seed // clients cannot choose addresses that collide
	prefix int          // bits of an IPv6 network that is one client
	shift  uint8        // of a hash, to the number of its shard
	shards []shard
}

const (
	maxShards    = 64   // loops seldom meet in one
	minShardSize = 1024 // fewer places would fill up too unevenly
)

// New makes a table for limits that Check has found good.
func New(limits Limits) *Table {
	size, shards := cmp.Or(limits.Table, DefaultTable), 1
	for shards < maxShards && size/(2*shards) >= minShardSize {
		shards *= 2
	}
	c := &Table{
		seed:   maphash.MakeSeed(),
		prefix: cmp.Or(limits.IPv6Prefix, DefaultIPv6Prefix),
		shift:  uint8(64 - bits.TrailingZeros(uint(shards))),
		shards: make([]shard, shards),
	}
	size /= shards
	// One piece of memory for all shards: one each would be rounded up.
	entries, idle := make([]entry, shards*(size+1)), make([]uint32, shards*(size+1))
	for i := range c.shards {
		from, to := i*(size+1), (i+1)*(size+1)
		c.shards[i].init(limits, entries[from:to:to], idle[from:to:to])
	}
	return c
}

// Admit decides on a session that a client begins now. The address is the real client's; one without an address, on a
// Unix socket, has no limits. When the answer is Admitted, Leave must be called for it, once.
func (c *Table) Admit(addr netip.Addr, now time.Duration) Verdict {
	if !addr.IsValid() {
		return Uncounted
	}
	key := KeyOf(addr, c.prefix)
	shard, hash := c.place(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.admit(key, hash, now)
}

// Leave ends a session that was admitted. It panics when the client has none: one
// has then left twice, and every count since is wrong.
func (c *Table) Leave(addr netip.Addr) {
	key := KeyOf(addr, c.prefix)
	shard, hash := c.place(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.leave(key, hash, 1)
	if shard.changes != nil {
		shard.changes[key]--
	}
}

// SetLimits changes the limits for all who come from now on. Sessions and what is left of
// bursts are still counted. IPv6Prefix must be that of New. A smaller table forgets those
// who lose the least, but nobody with a session.
func (c *Table) SetLimits(limits Limits) {
	size := max(1, cmp.Or(limits.Table, DefaultTable)/len(c.shards))
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.setLimits(limits)
		if size != s.size() {
			s.resize(size)
		}
		s.mu.Unlock()
	}
}

// Stats describes the table behind a listener's limits per client.
type Stats struct {
	Table     int    `json:"table"`     // clients that can be known at a time
	Busy      int    `json:"busy"`      // those with open sessions
	Sessions  int    `json:"sessions"`  // that are counted now
	Forgotten uint64 `json:"forgotten"` // clients that gave up their place before their bucket was full again
	Untracked uint64 `json:"untracked"` // sessions let in without limits, because all places were taken by busy clients
}

// Stats returns the sums of all shards, each exact at its moment.
func (c *Table) Stats() (sum Stats) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		sum.Table += s.size()
		sum.Busy += s.busy()
		sum.Sessions += s.sessions
		sum.Forgotten += s.forgotten
		sum.Untracked += s.untracked
		s.mu.Unlock()
	}
	return sum
}

// place returns the shard that a client belongs to, and the part of its hash that is used there.
func (c *Table) place(key Key) (*shard, uint32) {
	hash := maphash.Comparable(c.seed, key)
	return &c.shards[hash>>c.shift], uint32(hash)
}

// A Key stands for a client: the network of so many bits that its IPv6 address is in, or its
// IPv4 address among the multicast ones of IPv6, where no client can be.
type Key wide

// KeyOf returns the key of the client with an address.
func KeyOf(addr netip.Addr, bits int) Key {
	w := wideOf(addr.Unmap())
	if addr.Unmap().Is4() {
		return Key{hi: 0xff<<56 | w.hi>>32}
	}
	w.hi &^= ^uint64(0) >> min(bits, 64)
	w.lo &^= ^uint64(0) >> max(bits-64, 0)
	return Key(w)
}
