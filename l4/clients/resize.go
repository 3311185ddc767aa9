package clients

import (
	"cmp"
	"slices"
)

// setLimits changes the limits. Nobody has to wait longer than after a whole burst of the
// new ones.
func (s *shard) setLimits(limits Limits) {
	s.limit = int32(limits.Sessions)
	if bucket := limits.Bucket(); bucket != s.bucket {
		s.bucket = bucket
		for slot := uint32(1); slot <= s.used; slot++ { // the order of idle stays
			e := &s.entries[slot]
			e.full = min(e.full, s.now+bucket.depth)
		}
	}
}

// resize gives the shard so many places, or as many as it needs for the clients that have
// sessions. The idle ones that find none are those whose buckets are full the soonest.
func (s *shard) resize(size int) {
	known := slices.Clone(s.entries[1 : s.used+1])
	slices.SortFunc(known, func(a, b entry) int {
		if busy := cmp.Compare(min(b.sessions, 1), min(a.sessions, 1)); busy != 0 {
			return busy
		}
		return cmp.Compare(b.full, a.full)
	})
	size = max(size, s.busy())
	lost := known[min(size, len(known)):]
	for _, e := range lost {
		if s.bucket.lacks(e.full, s.now) {
			s.forgotten++
		}
	}
	s.place(make([]entry, size+1), make([]uint32, size+1))
	for _, e := range known[:len(known)-len(lost)] {
		s.used++
		head := s.head(e.hash)
		s.entries[s.used] = entry{key: e.key, full: e.full, sessions: e.sessions, hash: e.hash, next: *head}
		*head = s.used
		if e.sessions == 0 {
			s.addIdle(s.used)
		}
	}
}
