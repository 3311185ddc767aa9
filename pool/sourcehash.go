package pool

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
)

const (
	// maglevSize is the number of entries of a table: a prime, as the algorithm needs, and the smaller size of the
	// Maglev paper. With N backends an entry is wrong for weights by less than N/65537.
	maglevSize = 65537

	// rehashes bounds the search for a stand-in. A pool where fewer than 1 in 64 can take a session, and that by
	// bad luck is not found in 64 draws, is worth no more work under the lock.
	rehashes = 64
)

// sourceHash looks the client's address up in a Maglev table (Eisenbud et al., NSDI 2016, section 3.4).
//
// The table holds all backends with a weight, of whatever tier and whether they are usable now or not, and a client
// whose backend cannot take it draws again. So a backend that goes down or changes its tier moves its own clients
// only, spread by weight over the others, and gets the same clients back later. One that ramps gets them back one
// after another; each stays where it was until then. Only a change of weights or of the backends themselves makes a
// new table, and that too moves few of the clients that need not move.
//
// A table depends on nothing but names and weights: it is the same after a restart and on every balancer that has
// these backends, in whatever order.
type sourceHash struct {
	all     []*Backend
	table   []uint16 // positions in all
	unnamed uint64   // clients without an address so far, who are spread: nothing tells them apart
}

func newSourceHash(all []*Backend, weights []int) *sourceHash {
	return &sourceHash{all: all, table: maglevTable(maglevClaims(all, weights))}
}

func (s *sourceHash) pick(candidates []*Backend, client netip.Addr) *Backend {
	home := s.home(client)
	h, backup := home, candidates[0].backup
	for range rehashes {
		b := s.all[s.table[h%maglevSize]]
		if b.backup == backup && b.usable() && b.free() && b.admits(home, candidates) {
			return b
		}
		h = mix(h)
	}
	return firstFreeFrom(candidates, int(h%uint64(len(candidates))))
}

// home returns the hash of a client, or one of its own for each without an address.
func (s *sourceHash) home(client netip.Addr) uint64 {
	if client.IsValid() {
		return hashAddr(client)
	}
	s.unnamed++
	return mix(s.unnamed)
}

// firstFreeFrom returns the first free candidate at or after start, going around; nil when none is free.
func firstFreeFrom(candidates []*Backend, start int) *Backend {
	for i := range candidates {
		if b := candidates[(start+i)%len(candidates)]; b.free() {
			return b
		}
	}
	return nil
}

// maglevTable returns the table that the claims make, or nil when there are none. It takes a few milliseconds.
//
// Backends take turns to claim the next free entry of their own permutation of the table. A backend joins a round when
// it has saved up the largest weight; starting one round short of it gives even the lightest an entry.
func maglevTable(claims []maglevClaim) []uint16 {
	if len(claims) == 0 {
		return nil
	}
	heaviest := slices.MaxFunc(claims, func(a, b maglevClaim) int { return a.weight - b.weight }).weight
	for i := range claims {
		claims[i].saved = heaviest - claims[i].weight
	}
	table := make([]uint16, maglevSize)
	taken := make([]bool, maglevSize)
	for free := maglevSize; ; {
		for i := range claims {
			c := &claims[i]
			if c.saved += c.weight; c.saved < heaviest {
				continue
			}
			c.saved -= heaviest
			table[c.next(taken)] = c.index
			if free--; free == 0 {
				return table
			}
		}
	}
}

// maglevClaim is one backend's part in filling a table.
type maglevClaim struct {
	name           string
	index          uint16
	weight         int
	saved          int
	position, skip uint32 // the permutation: position, position+skip, position+2*skip ... modulo maglevSize
}

// maglevClaims returns a claim for each backend that has a weight, in an order that does not depend on the
// configuration's.
func maglevClaims(all []*Backend, weights []int) []maglevClaim {
	var claims []maglevClaim
	for i, b := range all {
		if weights[i] == 0 {
			continue
		}
		h := hashName(b.name)
		claims = append(claims, maglevClaim{
			name: b.name, index: uint16(i), weight: weights[i],
			position: uint32(h % maglevSize), skip: uint32(mix(h)%(maglevSize-1)) + 1,
		})
	}
	slices.SortFunc(claims, func(a, b maglevClaim) int { return strings.Compare(a.name, b.name) })
	return claims
}

// next takes the next free entry of the permutation. There must be one.
func (c *maglevClaim) next(taken []bool) uint32 {
	for {
		p := c.position
		if c.position += c.skip; c.position >= maglevSize {
			c.position -= maglevSize
		}
		if !taken[p] {
			taken[p] = true
			return p
		}
	}
}

func hashName(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return mix(h.Sum64())
}

// hashAddr hashes an IPv4 address and its IPv4-mapped IPv6 form alike.
func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	return mix(mix(binary.BigEndian.Uint64(b[:8])) ^ binary.BigEndian.Uint64(b[8:]))
}

// mix is one step of splitmix64: neighbouring values give unrelated ones.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
