package dns

import (
	"cmp"
	"slices"

	"sluice/pool"
	"sluice/pool/discovery"
)

// found makes backends of what was found, each address once, in the order of addresses: instances that ask in different
// ways have the same.
func found(places []place) []discovery.Found {
	places = slices.Clone(places)
	// Of an address that is listed twice, what says most of it comes first.
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.priority, b.priority), cmp.Compare(b.weight, a.weight))
	})
	places = slices.CompactFunc(places, func(a, b place) bool { return a.at == b.at })
	var first, backups scale
	lowest := lowestPriority(places)
	for _, p := range places {
		first.see(p, p.priority == lowest)
		backups.see(p, p.priority != lowest)
	}
	all := make([]discovery.Found, len(places))
	for i, p := range places {
		all[i].Address = pool.Address{TCP: p.at}
		if p.priority == lowest {
			all[i].Weight = first.of(p.weight)
		} else {
			all[i].Weight, all[i].Backup = backups.of(p.weight), &backup
		}
	}
	return all
}

// backup is what all backups of all answers share.
var backup = true

// lowestPriority is that of the servers that are to be used before all others. The tier that comes next is that of the
// backups, and so is every other: a pool has two.
func lowestPriority(places []place) uint16 {
	if len(places) == 0 {
		return 0
	}
	return slices.MinFunc(places, func(a, b place) int { return cmp.Compare(a.priority, b.priority) }).priority
}

// A scale turns the weights of one tier, which are 0 to 65535, into those of backends.
type scale struct {
	most   uint16
	zeroes bool // some are 0, which means very little beside the others: RFC 2782
}

func (s *scale) see(p place, counts bool) {
	if counts {
		s.most, s.zeroes = max(s.most, p.weight), s.zeroes || p.weight == 0
	}
}

// of returns the weight of a backend; nil = the records say nothing of weights. What fits stays as it is written; beside a
// weight of 0, which is made 1, all others become as large as they can.
func (s *scale) of(weight uint16) *int {
	if s.most == 0 {
		return nil
	}
	w := int(weight)
	if s.most > pool.MaxWeight || s.zeroes {
		w = max(1, (w*pool.MaxWeight+int(s.most)/2)/int(s.most))
	}
	return &w
}
