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
//
// The credits are the backends' own, and stay with them when others come and go.
type turns struct {
	best  *Backend
	total int
}

// offer lets b take part in the next take.
func (t *turns) offer(b *Backend) {
	weight := b.effective()
	b.credit += weight
	t.total += weight
	if t.best == nil || b.credit > t.best.credit {
		t.best = b
	}
}

// take returns who of the offered has the turn, or nil when none was offered.
func (t *turns) take() *Backend {
	b := t.best
	if b != nil {
		b.credit -= t.total
	}
	t.best, t.total = nil, 0
	return b
}

// forgetTurns lets all begin anew. The pool's mutex is held.
func forgetTurns(backends []*Backend) {
	for _, b := range backends {
		b.credit = 0
	}
}

// inherit shares the credit of backends that leave out among those that stay, so that the sum is zero still, and one that
// comes, with none, is neither preferred nor put back. The pool's mutex is held.
func inherit(leave, stay []*Backend) {
	credit := 0
	for _, b := range leave {
		credit += b.credit
	}
	forgetTurns(leave)
	shareOut(credit, stay)
}

// shareOut gives backends a credit that was nobody's any more. The pool's mutex is held.
func shareOut(credit int, to []*Backend) {
	for i, b := range to {
		share := credit / (len(to) - i)
		b.credit += share
		credit -= share
	}
}
