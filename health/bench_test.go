package health

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// idle is a server that answers at once, as often as it is asked.
type idle struct{}

func (idle) Probe(context.Context) (probe.Answer, error) { return probe.Answer{}, nil }
func (idle) Wait(ctx context.Context) bool               { <-ctx.Done(); return false }
func (idle) Close()                                      {}

// fleet is a configuration of many pools.
type fleet struct {
	pools   []*pool.Pool
	watched []Watched
	configs []pool.Config
}

func newFleet(b *testing.B, pools, backends int, cfg Config) *fleet {
	f := &fleet{}
	for i := range pools {
		c := pool.Config{Name: fmt.Sprint("pool", i), QueueMax: 1024}
		for j := range backends {
			c.Backends = append(c.Backends, pool.BackendConfig{
				Name: fmt.Sprint("b", j), Address: pool.Address{Unix: fmt.Sprintf("/run/%d/%d", i, j)}, Weight: 1,
			})
		}
		p, err := pool.New(c)
		if err != nil {
			b.Fatal(err)
		}
		f.pools, f.configs = append(f.pools, p), append(f.configs, c)
		f.watched = append(f.watched, Watched{Pool: p, Config: cfg})
	}
	return f
}

// reload carries out a configuration in which a few backends have changed, and says how long the monitor was locked.
func (f *fleet) reload(b *testing.B, m *Monitor, turn int) (locked time.Duration) {
	for i := range 5 {
		bs := f.configs[i*len(f.configs)/5].Backends
		bs[turn%len(bs)].Weight = turn%7 + 1
		bs[i%len(bs)].Name = fmt.Sprint("new", i, "-", turn)
	}
	updates := make([]*pool.Update, len(f.pools))
	for i, p := range f.pools {
		u, err := p.Prepare(f.configs[i])
		if err != nil {
			b.Fatal(err)
		}
		updates[i], f.watched[i].Backends = u, u.Backends()
	}
	prepared, err := m.Prepare(f.watched)
	if err != nil {
		b.Fatal(err)
	}
	for _, u := range updates {
		u.Commit()
	}
	prepared.plan.compare(m.targets) // as Commit does
	began := time.Now()
	m.carryOut(prepared.plan, began)
	return time.Since(began)
}

// BenchmarkApply is a reload of 10,000 backends, a few of which change, while their checks run.
func BenchmarkApply(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Interval, cfg.FastInterval = time.Hour, time.Hour
	postgres := cfg
	postgres.Probe.Kind, postgres.Role = probe.Postgres, RolePrimary
	f := func(name string, pools, backends int, cfg Config) {
		b.Run(name, func(b *testing.B) {
			fleet := newFleet(b, pools, backends, cfg)
			m, err := New(fleet.watched, Options{NewProber: func(probe.Config, pool.Address) (probe.Prober, error) { return idle{}, nil }})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			var running sync.WaitGroup
			running.Go(func() { m.Run(ctx) })
			fleet.reload(b, m, 0)
			time.Sleep(2 * firstWithin) // the first probes are over: they are not what is measured
			b.ReportAllocs()
			b.ResetTimer()
			locked := time.Duration(0)
			for turn := 1; b.Loop(); turn++ {
				locked += fleet.reload(b, m, turn)
			}
			b.ReportMetric(float64(locked.Microseconds())/float64(b.N), "µs-locked/op")
			cancel()
			running.Wait()
		})
	}
	f("500x20", 500, 20, cfg)
	f("1x10000", 1, 10_000, cfg)
	f("10000x1", 10_000, 1, cfg)
	f("500x20-postgres", 500, 20, postgres)
}
