package pool

import "net/netip"

// first fills one backend up to its limit before it touches the next, so that the last ones can be switched off. Where
// there is no way back from a stand-in, the pool puts that first, see Config.NoFailback.
type first struct{}

func (first) pick(candidates []*Backend, _ netip.Addr) *Backend {
	for _, b := range candidates {
		if b.free() {
			return b
		}
	}
	return nil
}
