package pool

import "net/netip"

// roundRobin gives every free candidate turns in proportion to its effective weight.
type roundRobin struct{ turns turns }

func (r *roundRobin) pick(candidates []*Backend, _ netip.Addr) *Backend {
	for _, b := range candidates {
		if b.free() {
			r.turns.offer(b)
		}
	}
	return r.turns.take()
}

// turns is nginx's smooth weighted round robin: whoever is offered a turn earns its effective weight in credit, the
// richest takes the turn and pays what all of them earned. Weights 5, 1, 1 give a a b a c a a, where the plain
// algorithm would send five sessions in a row to a. The credits of a pool always add up to zero. They are forgotten
// when weights change: what was earned at old weights could starve a backend for hundreds of turns.
type turns struct {
	credit []int // by Backend.index
	best   *Backend
	total  int
}

func newTurns(backends int) turns { return turns{credit: make([]int, backends)} }

// offer lets b take part in the next take.
func (t *turns) offer(b *Backend) {
	weight := b.effective()
	t.credit[b.index] += weight
	t.total += weight
	if t.best == nil || t.credit[b.index] > t.credit[t.best.index] {
		t.best = b
	}
}

// take returns who of the offered has the turn, or nil when none was offered.
func (t *turns) take() *Backend {
	b := t.best
	if b != nil {
		t.credit[b.index] -= t.total
	}
	t.best, t.total = nil, 0
	return b
}
