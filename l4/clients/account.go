package clients

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// A process that takes over from another one gets what that one knows of its clients, while some of their sessions are
// still there. Both tables then count all sessions of a client:
//
//	the process that sessions leave                     the one that they come to
//	Account: from now on, Changes tells what            Assume: all sessions are elsewhere
//	begins and ends here                        ──►     Apply: so it does there
//	Depart: one has gone, and is told of by itself ──►  Arrive: one of them has come, and must Leave
//	                                                    Settle: none of those that are elsewhere comes any more

// An Account is what a Table knows of its clients.
type Account struct {
	Prefix int `json:"prefix"` // bits of an IPv6 network that is one client
	// Clients are records of 28 bytes, numbers in network byte order: the client's key (16 bytes), how many sessions it
	// has open (4) and in how many nanoseconds its bucket is full (8).
	Clients []byte `json:"clients,omitempty"`
}

const (
	accountSize = 28
	changeSize  = 20
)

// known is what travels of one client.
type known struct {
	key      Key
	sessions int32
	debt     time.Duration // until its bucket is full
}

// Account returns what is known of at most so many clients, those first who have the most to lose, and how many they
// are. From then on the table notes what Changes tells.
func (c *Table) Account(now time.Duration, most int) (Account, int) {
	var list []known
	for i := range c.shards {
		list = c.shards[i].account(list, now)
	}
	if len(list) > most {
		slices.SortFunc(list, func(a, b known) int {
			return cmp.Or(cmp.Compare(min(b.sessions, 1), min(a.sessions, 1)), cmp.Compare(b.debt, a.debt))
		})
		list = list[:most]
	}
	a := Account{Prefix: c.prefix, Clients: make([]byte, 0, len(list)*accountSize)}
	for _, k := range list {
		a.Clients = k.key.append(a.Clients)
		a.Clients = binary.BigEndian.AppendUint32(a.Clients, uint32(k.sessions))
		a.Clients = binary.BigEndian.AppendUint64(a.Clients, uint64(k.debt))
	}
	return a, len(list)
}

func (s *shard) account(list []known, now time.Duration) []known {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = max(s.now, now)
	s.changes = make(map[Key]int32)
	for slot := uint32(1); slot <= s.used; slot++ {
		e := &s.entries[slot]
		k := known{key: e.key, sessions: e.sessions}
		if s.bucket.lacks(e.full, s.now) {
			k.debt = e.full - s.now
		}
		if k.sessions > 0 || k.debt > 0 {
			list = append(list, k)
		}
	}
	return list
}

// Changes returns how many sessions more or fewer clients have here than when this was last asked, those that have
// departed left out: records of 20 bytes, the client's key and the number (4 bytes, signed).
func (c *Table) Changes() (all []byte) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for key, n := range s.changes {
			if n != 0 {
				all = binary.BigEndian.AppendUint32(key.append(all), uint32(n))
			}
		}
		clear(s.changes)
		s.mu.Unlock()
	}
	return all
}

// Forget ends what Account has begun: nothing is noted any more.
func (c *Table) Forget() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.changes = nil
		s.mu.Unlock()
	}
}

// Depart is Leave for a session that goes on in another process.
func (c *Table) Depart(addr netip.Addr) {
	key := KeyOf(addr, c.prefix)
	shard, hash := c.place(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.leave(key, hash, 1)
}

var errAccount = errors.New("what is said of clients is cut short")

// Assume adds what another process knows of its clients. Their sessions are elsewhere for now. Those of a table in which
// clients are other networks are not counted here; for a client for whom there is no place neither.
func (c *Table) Assume(a Account, now time.Duration) error {
	if len(a.Clients)%accountSize != 0 {
		return errAccount
	}
	if a.Prefix != c.prefix {
		return nil
	}
	for _, idle := range []bool{false, true} { // the busy ones first: none of them is to find no place
		for list := a.Clients; len(list) > 0; list = list[accountSize:] {
			k := known{
				key: keyFrom(list), sessions: int32(binary.BigEndian.Uint32(list[16:])),
				debt: time.Duration(binary.BigEndian.Uint64(list[20:])),
			}
			if (k.sessions <= 0) == idle {
				shard, hash := c.place(k.key)
				shard.mu.Lock()
				shard.assume(k, hash, now)
				shard.mu.Unlock()
			}
		}
	}
	return nil
}

func (s *shard) assume(k known, hash uint32, now time.Duration) {
	s.now = max(s.now, now)
	debt := min(max(k.debt, 0), s.bucket.depth) // nobody has to wait longer than after a whole burst
	if k.sessions <= 0 && debt == 0 {
		return
	}
	s.expect(k.key, hash, max(k.sessions, 0), s.now+debt)
}

// expect counts sessions that a client has elsewhere.
func (s *shard) expect(key Key, hash uint32, n int32, full time.Duration) {
	slot := s.find(key, hash)
	if slot == 0 {
		if slot = s.claim(key, hash, s.now); slot == 0 {
			s.untracked += uint64(n)
			return
		}
	}
	e := &s.entries[slot]
	e.full = max(e.full, full)
	if e.place != 0 {
		s.removeIdle(e.place)
	}
	e.sessions += n
	s.sessions += int(n)
	if e.sessions == 0 {
		s.addIdle(slot)
	}
	if n > 0 {
		if s.elsewhere == nil {
			s.elsewhere = make(map[Key]int32)
		}
		s.elsewhere[key] += n
	}
}

// Arrive notes that a session of a client has come that was elsewhere. It reports false for one that is not among those
// that are counted: Leave must not be called for it then.
func (c *Table) Arrive(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	key := KeyOf(addr, c.prefix)
	shard, _ := c.place(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.unexpect(key, 1) == 1
}

// Retract takes an Arrive back that has reported true: the session is still elsewhere.
func (c *Table) Retract(addr netip.Addr) {
	key := KeyOf(addr, c.prefix)
	shard, _ := c.place(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.elsewhere == nil {
		shard.elsewhere = make(map[Key]int32)
	}
	shard.elsewhere[key]++
}

// unexpect counts at most n sessions fewer as elsewhere, and returns how many.
func (s *shard) unexpect(key Key, n int32) int32 {
	if n = min(n, s.elsewhere[key]); n == 0 {
		return 0
	}
	if s.elsewhere[key] -= n; s.elsewhere[key] == 0 {
		delete(s.elsewhere, key)
	}
	return n
}

// Apply puts in force what Changes has told of sessions that are elsewhere.
func (c *Table) Apply(changes []byte) error {
	if len(changes)%changeSize != 0 {
		return errAccount
	}
	for ; len(changes) > 0; changes = changes[changeSize:] {
		key, n := keyFrom(changes), int32(binary.BigEndian.Uint32(changes[16:]))
		shard, hash := c.place(key)
		shard.mu.Lock()
		if n > 0 {
			shard.expect(key, hash, n, 0)
		} else if fewer := shard.unexpect(key, -max(n, -1<<30)); fewer > 0 {
			shard.leave(key, hash, fewer)
		}
		shard.mu.Unlock()
	}
	return nil
}

// Settle ends the sessions that are still elsewhere: they have ended there.
func (c *Table) Settle() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		gone := s.elsewhere
		s.elsewhere = nil
		for key, n := range gone {
			_, hash := c.place(key)
			s.leave(key, hash, n)
		}
		s.mu.Unlock()
	}
}

// AddCounters adds what another table has counted.
func (c *Table) AddCounters(forgotten, untracked uint64) {
	s := &c.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten += forgotten
	s.untracked += untracked
}

func (k Key) append(to []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(to, k.hi), k.lo)
}

func keyFrom(b []byte) Key {
	return Key{hi: binary.BigEndian.Uint64(b), lo: binary.BigEndian.Uint64(b[8:])}
}
