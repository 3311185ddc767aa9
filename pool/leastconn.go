package pool

import "net/netip"

// leastConn picks the lowest active/weight. Those that tie, as all do in an idle pool, take weighted turns: always
// taking the first would send every session of a quiet pool to one backend.
type leastConn struct{ turns turns }

func (l *leastConn) pick(candidates []*Backend, _ netip.Addr) *Backend {
	var least *Backend
	for _, b := range candidates {
		if b.free() && (least == nil || lessLoaded(b, least)) {
			least = b
		}
	}
	if least == nil {
		return nil
	}
	for _, b := range candidates {
		if b.free() && !lessLoaded(least, b) {
			l.turns.offer(b)
		}
	}
	return l.turns.take()
}

// lessLoaded reports whether a has fewer active connections for its effective weight than b. It compares the fractions
// active/weight by cross multiplication, which is exact.
func lessLoaded(a, b *Backend) bool { return a.active*b.effective() < b.active*a.effective() }
