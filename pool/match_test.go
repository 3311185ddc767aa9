package pool

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestMatch: wherever a backend stands in two configurations it is found, and nothing else is.
func TestMatch(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		p := newPool(t, LeastConn, weights(ones(20)...))
		before, leaving := p.Backends(), []*Backend(nil)
		configs := configs(p)
		for range rnd.IntN(3) { // some are leaving; of one name there may be another one with another address
			i := rnd.IntN(len(before))
			leaving, before = append(leaving, before[i]), slices.Delete(slices.Clone(before), i, i+1)
			if rnd.IntN(2) == 0 {
				other := configs[0]
				other.Name, other.Address = leaving[0].name, testAddr(100+i)
				if !slices.ContainsFunc(before, func(b *Backend) bool { return b.name == other.Name }) {
					before = append(before, newBackend(p, other))
				}
			}
		}
		switch rnd.IntN(4) {
		case 0:
			rnd.Shuffle(len(configs), func(i, j int) { configs[i], configs[j] = configs[j], configs[i] })
		case 1:
			from := rnd.IntN(len(configs))
			configs = slices.Delete(configs, from, from+rnd.IntN(len(configs)-from))
		case 2:
			i, j := rnd.IntN(len(configs)), rnd.IntN(len(configs))
			configs[i], configs[j] = configs[j], configs[i]
		}
		for range rnd.IntN(3) {
			fresh := BackendConfig{Name: "fresh", Address: testAddr(200 + rnd.IntN(2)), Weight: 1}
			configs = slices.Insert(configs, rnd.IntN(len(configs)+1), fresh)
		}
		matched, gone := match(before, leaving, configs)
		want := slices.Clone(before)
		for i, c := range configs {
			is := func(b *Backend) bool { return b.name == c.Name && b.Address() == c.Address }
			b := (*Backend)(nil)
			if at := slices.IndexFunc(slices.Concat(before, leaving), is); at >= 0 {
				b = slices.Concat(before, leaving)[at]
			}
			if matched[i] != b {
				t.Fatalf("seed %d: %s is %p, want %p", seed, c.Name, matched[i], b)
			}
			want = slices.DeleteFunc(want, func(other *Backend) bool { return other == b })
		}
		if !slices.Equal(gone, want) {
			t.Fatalf("seed %d: %d are gone, want %d", seed, len(gone), len(want))
		}
	}
}
