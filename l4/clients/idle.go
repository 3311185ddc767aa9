package clients

// The idle clients of a shard form a binary heap by the time at which their bucket is full. Each entry knows its place,
// so that any can be taken out. container/heap is not used because its calls through an interface cost more than the
// comparisons.

// before reports whether a client is to be forgotten rather than another.
func (s *shard) before(slot, other uint32) bool {
	return s.entries[slot].full < s.entries[other].full
}

func (s *shard) setIdle(place, slot uint32) {
	s.idle[place] = slot
	s.entries[slot].place = place
}

func (s *shard) addIdle(slot uint32) {
	s.idle = append(s.idle, slot) // there is room for all
	s.rise(uint32(len(s.idle) - 1))
}

func (s *shard) removeIdle(place uint32) {
	s.entries[s.idle[place]].place = 0
	end := uint32(len(s.idle) - 1)
	last := s.idle[end]
	s.idle = s.idle[:end]
	if place == end {
		return
	}
	s.idle[place] = last
	if place > 1 && s.before(last, s.idle[place/2]) {
		s.rise(place)
	} else {
		s.sink(place)
	}
}

// rise moves the client at place towards the front, as far as it belongs there.
func (s *shard) rise(place uint32) {
	slot := s.idle[place]
	for place > 1 && s.before(slot, s.idle[place/2]) {
		s.setIdle(place, s.idle[place/2])
		place /= 2
	}
	s.setIdle(place, slot)
}

// sink moves the client at place away from the front, as far as it belongs there.
func (s *shard) sink(place uint32) {
	slot, end := s.idle[place], uint32(len(s.idle))
	for 2*place < end {
		child := 2 * place
		if child+1 < end && s.before(s.idle[child+1], s.idle[child]) {
			child++
		}
		if !s.before(s.idle[child], slot) {
			break
		}
		s.setIdle(place, s.idle[child])
		place = child
	}
	s.setIdle(place, slot)
}
