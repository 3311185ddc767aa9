package dns

import (
	"fmt"
	"testing"

	miekg "github.com/miekg/dns"
)

// BenchmarkAnswer is what it costs to make backends of an answer.
func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{1, 200, 4000} {
		q := question{"app.internal.", miekg.TypeA}
		var z zone
		for i := range n {
			z = append(z, fmt.Sprintf("app.internal. 30 IN A 10.1.%d.%d", i/250, i%250))
		}
		m := z.message(b, q.message(true))
		m.Compress = true
		packet, err := m.Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := parse(packet, q, m.Id)
				if err != nil {
					b.Fatal(err)
				}
				if all, _, err := backends(m, q); err != nil || len(all) != n {
					b.Fatal(len(all), err)
				}
			}
		})
	}
}
