package discovery

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sluice/pool"
)

// BenchmarkNext is one address of ten thousand that is exchanged for another one, every second.
func BenchmarkNext(b *testing.B) {
	f := func(what, name string, written int) {
		b.Run(what, func(b *testing.B) {
			var found [2][]Found
			for i := range found {
				found[i] = many(10_000, name)
				found[i][5000].Address = testAddress(20_000 + i)
				found[i], _ = tidy(found[i])
			}
			var static []pool.BackendConfig
			for i := range written {
				static = append(static, pool.BackendConfig{Name: fmt.Sprint(i), Address: testAddress(30_000 + i), Weight: 1})
			}
			m := (*Members)(nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				feeds := []Feed{{Source: "x", Template: pool.BackendConfig{Weight: 1}, Found: found[i%2], Answered: true}}
				next := m.Next(static, feeds, Rules{RemoveAfter: 30 * time.Second}, start.Add(time.Duration(i)*time.Second))
				if next.Equal(m) {
					b.Fatal("nothing has changed")
				}
				m = next
			}
		})
	}
	f("alone", "", 0)
	f("beside-one", "", 1)
	f("named", "web", 0)
}

// BenchmarkTake is what it costs to find out that an answer of ten thousand says nothing new.
func BenchmarkTake(b *testing.B) {
	found := many(10_000, "")
	var a Answer
	b.ReportAllocs()
	for b.Loop() {
		set, _ := tidy(found)
		a, _ = a.follow(set, start)
	}
}

// many returns backends with names that begin so, or without names.
func many(n int, name string) (all []Found) {
	for i := range n {
		f := Found{Address: testAddress(i)}
		if name != "" {
			f.Name = fmt.Sprint(name, i)
		}
		all = append(all, f)
	}
	return all
}

func testAddress(i int) pool.Address {
	ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	return pool.Address{TCP: netip.AddrPortFrom(ip, 80)}
}
