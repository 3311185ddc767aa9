package clients

import (
	"math/bits"
	"sync"
	"time"
)

// A shard is one part of the table of clients, under its own mutex, which is held for well under a microsecond.
//
//	heads ──► entry ──► entry       clients by hash, chained through next
//	idle  ──► entry                 clients without sessions, a heap: first the one whose bucket is full first
//
// Nothing is ever freed: an idle entry is known until its place is needed.
type shard struct {
	mu        sync.Mutex
	limit     int32         // open sessions per client; 0 = they are not counted
	now       time.Duration // the latest that a loop has said: their clocks are not quite the same
	bucket    Bucket
	entries   []entry // 0 is not used: as a slot it means none
	heads     []uint32
	idle      []uint32 // slots; 0 is not used, so that the children of i are 2i and 2i+1
	used      uint32   // entries that were ever taken: 1 to used
	sessions  int
	forgotten uint64
	untracked uint64
	changes   map[Key]int32 // see Table.Changes; nil = nobody asks
	elsewhere map[Key]int32 // sessions that are in another process, see Table.Assume
	_         [64]byte      // keeps the next shard's mutex off this cache line
}

// An entry is what is known of one client.
type entry struct {
	key      Key
	full     time.Duration // when its bucket is full
	sessions int32         // that are open
	hash     uint32
	next     uint32 // in the chain of its head
	place    uint32 // in idle; 0 = it is not there
}

// init gives the shard its memory, of which there is one more than it has places.
func (s *shard) init(limits Limits, entries []entry, idle []uint32) {
	s.limit, s.bucket = int32(limits.Sessions), limits.Bucket()
	s.place(entries, idle)
}

// place makes an empty shard of some memory.
func (s *shard) place(entries []entry, idle []uint32) {
	s.entries, s.idle, s.used = entries, idle[:1], 0
	s.heads = make([]uint32, 1<<bits.Len(uint(s.size()-1)))
}

func (s *shard) size() int { return len(s.entries) - 1 }
func (s *shard) busy() int { return int(s.used) - (len(s.idle) - 1) }

func (s *shard) head(hash uint32) *uint32 { return &s.heads[hash&uint32(len(s.heads)-1)] }

func (s *shard) admit(key Key, hash uint32, at time.Duration) Verdict {
	s.now = max(s.now, at)
	now := s.now
	slot := s.find(key, hash)
	if slot == 0 {
		if slot = s.claim(key, hash, now); slot == 0 {
			s.untracked++
			return Uncounted
		}
	}
	e := &s.entries[slot]
	if s.limit > 0 && e.sessions >= s.limit {
		return TooManySessions
	}
	full, ok := s.bucket.Take(e.full, now)
	if !ok {
		return RateLimited
	}
	e.full = full
	if s.limit == 0 {
		s.noteTaken(slot)
		return Uncounted
	}
	if e.place != 0 {
		s.removeIdle(e.place)
	}
	e.sessions++
	s.sessions++
	if s.changes != nil {
		s.changes[key]++
	}
	return Admitted
}

// noteTaken keeps idle in order after a session that is not counted.
func (s *shard) noteTaken(slot uint32) {
	switch e := &s.entries[slot]; {
	case e.place != 0:
		s.sink(e.place)
	case e.sessions == 0: // a new client
		s.addIdle(slot)
	}
}

// leave ends n sessions of a client.
func (s *shard) leave(key Key, hash uint32, n int32) {
	slot := s.find(key, hash)
	if slot == 0 || s.entries[slot].sessions < n {
		panic("clients: a session leaves a client that has none")
	}
	e := &s.entries[slot]
	e.sessions -= n
	s.sessions -= int(n)
	if e.sessions == 0 {
		s.addIdle(slot)
	}
}

// find returns the slot of a client; 0 = it is not known.
func (s *shard) find(key Key, hash uint32) uint32 {
	slot := *s.head(hash)
	for slot != 0 && s.entries[slot].key != key {
		slot = s.entries[slot].next
	}
	return slot
}

// claim gives a new client a place; 0 = there is none. The client is neither idle
// nor busy, until its first session is let in, as every first one is.
func (s *shard) claim(key Key, hash uint32, now time.Duration) (slot uint32) {
	switch {
	case int(s.used) < s.size():
		s.used++
		slot = s.used
	case len(s.idle) > 1:
		slot = s.idle[1]
		s.removeIdle(1)
		s.unlink(slot)
		if s.bucket.lacks(s.entries[slot].full, now) {
			s.forgotten++
		}
	default:
		return 0
	}
	head := s.head(hash)
	s.entries[slot] = entry{key: key, hash: hash, next: *head}
	*head = slot
	return slot
}

// unlink takes an entry out of its chain.
func (s *shard) unlink(slot uint32) {
	link := s.head(s.entries[slot].hash)
	for *link != slot {
		link = &s.entries[*link].next
	}
	*link = s.entries[slot].next
}
