package pool

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkUpdate is an update of which a few backends of many are concerned. What is locked is what sessions wait for.
func BenchmarkUpdate(b *testing.B) {
	f := func(policy Policy, backends int) {
		b.Run(fmt.Sprintf("%v-%d", policy, backends), func(b *testing.B) {
			c := Config{Name: "test", Balance: policy, QueueMax: 1024}
			for i := range backends {
				c.Backends = append(c.Backends, BackendConfig{
					Name: fmt.Sprint("b", i), Address: Address{Unix: fmt.Sprint("/run/", i)}, Weight: 1,
				})
			}
			p, err := New(c)
			if err != nil {
				b.Fatal(err)
			}
			locked := time.Duration(0)
			b.ReportAllocs()
			for turn := 0; b.Loop(); turn++ {
				c.Backends[turn%backends].Weight = turn%7 + 1
				c.Backends[(turn+1)%backends].Name = fmt.Sprint("new", turn)
				u, err := p.Prepare(c)
				if err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				u.Commit()
				locked += time.Since(began)
			}
			b.ReportMetric(float64(locked.Microseconds())/float64(b.N), "µs-locked/op")
		})
	}
	f(LeastConn, 20)
	f(LeastConn, 10_000)
	f(SourceHash, 10_000)
}
