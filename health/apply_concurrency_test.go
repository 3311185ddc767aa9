package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/pool"
)

// TestApplyWhileAtWork: pools come and go while connects are observed, states are read and changed, and servers fail.
func TestApplyWhileAtWork(t *testing.T) {
	fast := with(func(c *Config) {
		c.Interval, c.FastInterval, c.DownInterval = 20*time.Millisecond, 10*time.Millisecond, 20*time.Millisecond
		c.Eject.Duration, c.Eject.Failures, c.Eject.MaxPercent = 30*time.Millisecond, 2, 100
		c.OnDown.Failed = CloseRule{Close: true, Grace: 20 * time.Millisecond, Rate: 1000}
	})
	first := spec{"web", "a b c", fast}
	inBubble(t, []spec{first, {"app", "b c d", fast}}, nil, func(r *rig) {
		web, app := r.pools["web"], r.pools["app"]
		backends := append(web.Backends(), app.Backends()...)
		for _, b := range web.Backends() {
			r.sessions.open(b, 1000)
		}
		ctx, stop := context.WithCancel(r.t.Context())
		var all sync.WaitGroup
		for i := range uint64(4) {
			all.Go(func() { r.disturb(ctx, rand.New(rand.NewPCG(6, i)), backends) })
		}
		for i := range 300 {
			next := []spec{first}
			if i%5 == 0 {
				next[0].backends = "b a"
			}
			next[0].cfg.Timeout += time.Duration(i % 3)
			next[0].cfg.Probe.ProxyVersion = uint8(i / 10 % 3)
			next[0].cfg.OnDown.Failed.Rate = 100 * (i % 4)
			if i%2 == 0 {
				next = append(next, spec{"app", "b c d", fast})
			}
			if err := r.Apply(r.watched(next)); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Duration(i%7) * 5 * time.Millisecond) // the fake clock
		}
		stop()
		all.Wait()
		for _, s := range r.servers {
			s.set(nil)
		}
		for _, b := range backends {
			b.SetAdmin(pool.Ready)
		}
		after(time.Minute)
		r.apply(first)
		after(time.Minute)
		r.wantOpen("in the end", "a=1 b=1 c=1 d=0")
		r.wantUp("in the end", "web", "a b c")
		for _, b := range backends {
			if b.Stats().Ejected {
				t.Errorf("%s is ejected", b.Name())
			}
		}
	})
}

// disturb does anything until ctx is done.
func (r *rig) disturb(ctx context.Context, random *rand.Rand, backends []*pool.Backend) {
	for ctx.Err() == nil {
		b := backends[random.IntN(len(backends))]
		switch random.IntN(8) {
		case 0:
			r.servers[b.Name()].set(errDead)
		case 1:
			r.servers[b.Name()].set(nil)
		case 2:
			r.servers[b.Name()].fallSilent()
		case 3:
			b.SetAdmin(pool.AdminState(random.IntN(3)))
		case 4:
			_ = fmt.Sprint(r.Status(b), r.PoolStatus(b.Pool()))
		case 5:
			r.Observe(b, pool.DialOK)
		default:
			r.Observe(b, pool.DialTimeout)
		}
		time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond) // the fake clock
	}
}
