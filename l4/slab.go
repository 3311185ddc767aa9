package l4

// chunkSize sessions are allocated together. Chunks never move and are never
// freed, so a *session stays valid for the life of the loop; whether it is
// still the same session is told by its generation. The runtime gives a chunk whole
// pages of 8 KiB and clears them all: so many sessions nearly fill theirs.
const chunkSize = 256

// A slab holds the sessions of one loop. A free slot is reused last in, first
// out, while its memory is still in the cache.
type slab struct {
	chunks []*[chunkSize]session
	free   []int32
}

func (b *slab) at(slot int32) *session {
	return &b.chunks[uint32(slot)/chunkSize][uint32(slot)%chunkSize]
}

// take returns a session in its initial state, with a generation that no
// token of an earlier session in the slot carries.
func (b *slab) take() *session {
	if len(b.free) == 0 {
		b.grow()
	}
	last := len(b.free) - 1
	slot := b.free[last]
	b.free = b.free[:last]
	s := b.at(slot)
	*s = session{slot: slot, generation: s.generation + 1}
	return s
}

// put gives the slot back. Pointers are dropped, so that the collector can
// take what they point to.
func (b *slab) put(s *session) {
	*s = session{slot: s.slot, generation: s.generation + 1}
	b.free = append(b.free, s.slot)
}

func (b *slab) grow() {
	base := int32(len(b.chunks) * chunkSize)
	b.chunks = append(b.chunks, new([chunkSize]session))
	for i := int32(chunkSize) - 1; i >= 0; i-- {
		b.at(base + i).slot = base + i
		b.free = append(b.free, base+i)
	}
}

// size is how many slots there are.
func (b *slab) size() int32 { return int32(len(b.chunks) * chunkSize) }

// each calls f for every session that is open.
func (b *slab) each(f func(*session)) {
	for _, chunk := range b.chunks {
		for i := range chunk {
			if chunk[i].state != stateClosed {
				f(&chunk[i])
			}
		}
	}
}

// A token is what epoll gives back with an event: which descriptor it was
// registered for, in 64 bits.
//
//	63    62    61..56   55..32  31..0
//	side  kind  attempt  slot    generation
//
// A token whose generation is not the session's belongs to a session that was
// closed earlier in the same batch of events, and is dropped. So is one of a
// connection to a backend that the session has since exchanged for another.
type token uint64

const (
	serverBit    = 1 << 63
	specialBit   = 1 << 62 // not a session: the inbox or a listening socket
	attemptShift = 56
	attemptMask  = 1<<6 - 1
	slotShift    = 32
	slotMask     = 1<<24 - 1 // sessions of one loop: 16 million, far more than it has descriptors for
)

// tokenInbox is the token of the loop's own waker; listening socket i has
// tokenInbox + 1 + i.
const tokenInbox token = specialBit

func (s *session) token(side side) token {
	t := token(uint32(s.slot))<<slotShift | token(s.generation)
	if side == server {
		t |= serverBit | token(s.attempt&attemptMask)<<attemptShift
	}
	return t
}

// find returns the session that t was made for, or nil when it, or its
// connection to that backend, has ended.
func (b *slab) find(t token) *session {
	s := b.at(int32(t >> slotShift & slotMask))
	if s.generation != uint32(t) || t&serverBit != 0 && t != s.token(server) {
		return nil
	}
	return s
}
