package dns

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"sluice/pool"
)

// TestWeights: shares stay as the records have them, in each tier by itself, within what a backend can have.
func TestWeights(t *testing.T) {
	for _, c := range []struct{ weights, want []int }{
		{[]int{0, 0}, []int{-1, -1}},
		{[]int{1, 2, 256}, []int{1, 2, 256}},
		{[]int{100}, []int{100}},
		{[]int{0, 10, 20}, []int{1, 128, 256}},
		{[]int{1, 65535}, []int{1, 256}},
		{[]int{1000, 2000, 4000}, []int{64, 128, 256}},
		{[]int{257}, []int{256}},
	} {
		for _, priority := range []uint16{0, 5} { // the tier of the rest, and of backups
			places := []place{{at: netip.MustParseAddrPort("10.9.0.0:1"), weight: 777}}
			for i, w := range c.weights {
				places = append(places, place{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1), priority, uint16(w)})
			}
			if priority == 0 {
				places = places[1:]
			}
			for i, f := range found(places)[:len(c.weights)] {
				got := -1
				if f.Weight != nil {
					got = *f.Weight
				}
				if got != c.want[i] || (f.Backup != nil && *f.Backup) != (priority > 0) {
					t.Errorf("weights %v of priority %d: the %d. is %d, want %d", c.weights, priority, i+1, got, c.want[i])
				}
			}
		}
	}
}

// TestFoundIsTheSame whatever the order of the records.
func TestFoundIsTheSame(t *testing.T) {
	var places []place
	for range 200 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rand.N(50))}), uint16(1+rand.N(2)))
		places = append(places, place{at, uint16(rand.N(3)), uint16(rand.N(1000))})
	}
	want := text(&answer{found: found(places)}, nil)
	for range 20 {
		rand.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
		all := found(places)
		if got := text(&answer{found: all}, nil); got != want {
			t.Fatalf("%s\nis now\n%s", want, got)
		}
		seen := make(map[pool.Address]bool)
		for _, f := range all {
			if seen[f.Address] {
				t.Fatalf("%v is there twice", f.Address)
			}
			seen[f.Address] = true
		}
	}
}
