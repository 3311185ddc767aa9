package clients

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// An Access says who may come in: the allow and deny lists of a listener. It never
// changes; a reload makes a new one and swaps it in as a whole.
//
// The two lists are worked out into one beforehand: the addresses at which the answer changes, in ascending order. The
// first of them turns it to yes, the second to no, and so on. A look-up is one binary search, whatever the lists say,
// and 100,000 networks of IPv4 take less than a megabyte.
type Access struct {
	v4 []uint32
	v6 []wide
}

// NewAccess makes the answer from networks that are valid. Deny wins over allow; an empty allow list means everybody.
// An IPv6 network says nothing about IPv4, see Network.
func NewAccess(allow, deny []netip.Prefix) *Access {
	if len(allow) == 0 {
		allow = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	a := &Access{v6: slices.Clone(changes(allow, deny, 128))}
	v4 := changes(allow, deny, 32)
	a.v4 = make([]uint32, len(v4))
	for i, at := range v4 {
		a.v4[i] = uint32(at.hi >> 32)
	}
	return a
}

// Network returns a network in the form in which clients' addresses are compared with it: one of IPv4-mapped addresses
// (::ffff:10.0.0.0/104) is that of the IPv4 ones. Every list of networks goes through it.
func Network(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Permits reports whether a client may come in. One without an address, on a
// Unix socket, has passed the file system's permissions.
func (a *Access) Permits(addr netip.Addr) bool {
	addr = addr.Unmap()
	var changes int // up to addr
	switch w := wideOf(addr); {
	case !addr.IsValid():
		return true
	case addr.Is4():
		v4 := uint32(w.hi >> 32)
		changes = sort.Search(len(a.v4), func(i int) bool { return v4 < a.v4[i] })
	default:
		changes = sort.Search(len(a.v6), func(i int) bool { return w.less(a.v6[i]) })
	}
	return changes%2 == 1
}

// wide is an address as a number of 128 bits. An IPv4 address is in its top 32,
// so that both families follow the same rules.
type wide struct{ hi, lo uint64 }

func wideOf(addr netip.Addr) wide {
	if addr.Is4() {
		b := addr.As4()
		return wide{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := addr.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (w wide) less(other wide) bool {
	return w.hi < other.hi || w.hi == other.hi && w.lo < other.lo
}

// after is the first address beyond the network of w with so many bits; zero when there is none.
func (w wide) after(bits int) wide {
	lo := w.lo | ^uint64(0)>>max(bits-64, 0)
	hi := w.hi | ^uint64(0)>>min(bits, 64)
	if lo++; lo == 0 {
		hi++
	}
	return wide{hi, lo}
}

// A border is where a network begins or ends: of each list, so many more networks hold what follows, or fewer.
type border struct {
	at          wide
	allow, deny int8
}

// changes returns where the answer changes for addresses of one family, which is named by its number of bits.
func changes(allow, deny []netip.Prefix, family int) (changes []wide) {
	borders := make([]border, 0, 2*(len(allow)+len(deny)))
	borders = addBorders(borders, allow, family, 1, 0)
	borders = addBorders(borders, deny, family, 0, 1)
	slices.SortFunc(borders, func(x, y border) int {
		return cmp.Or(cmp.Compare(x.at.hi, y.at.hi), cmp.Compare(x.at.lo, y.at.lo))
	})
	allowed, denied, permitted := 0, 0, false
	for i, b := range borders {
		allowed += int(b.allow)
		denied += int(b.deny)
		if i+1 < len(borders) && borders[i+1].at == b.at {
			continue // what counts is the sum of all that is at one place
		}
		if permits := allowed > 0 && denied == 0; permits != permitted {
			changes = append(changes, b.at)
			permitted = permits
		}
	}
	return changes
}

func addBorders(borders []border, list []netip.Prefix, family int, allow, deny int8) []border {
	for _, p := range list {
		if p = Network(p); p.Addr().BitLen() != family {
			continue
		}
		first := wideOf(p.Masked().Addr())
		borders = append(borders, border{first, allow, deny})
		if after := first.after(p.Bits()); after != (wide{}) {
			borders = append(borders, border{after, -allow, -deny})
		}
	}
	return borders
}
