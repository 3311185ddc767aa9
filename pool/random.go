package pool

import (
	"math/rand/v2"
	"net/netip"
)

// random is the best of two draws. Unlike least_conn it does not send the sessions of several balancers, each of
// which sees only its own, to the same backend at the same time; unlike a single draw it evens the load out.
type random struct{}

func (random) pick(candidates []*Backend, _ netip.Addr) *Backend {
	one := draw(candidates, nil)
	if one == nil {
		return nil
	}
	if two := draw(candidates, one); two != nil && lessLoaded(two, one) {
		return two
	}
	return one
}

// draw returns a free candidate other than except, each with a chance in proportion to its effective weight; nil when
// there is none. Excluding the first draw from the second makes two backends a comparison, not a coin toss.
func draw(candidates []*Backend, except *Backend) *Backend {
	total := 0
	for _, b := range candidates {
		if b != except && b.free() {
			total += b.effective()
		}
	}
	if total == 0 {
		return nil
	}
	ticket := rand.IntN(total)
	for _, b := range candidates {
		if b == except || !b.free() {
			continue
		}
		if ticket -= b.effective(); ticket < 0 {
			return b
		}
	}
	return nil
}
