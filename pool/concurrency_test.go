package pool

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Sessions come and go on many goroutines while states change under them. Held counts the sessions of a backend from
// after Reserve to before Release, so it may lag behind Active but never passes it.
func TestReserveConcurrently(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		const backends, limit, workers, sessions = 5, 3, 8, 1500
		bs := weights(1, 2, 3, 4, 5)
		for i := range bs {
			bs[i].MaxConns = limit
			bs[i].Backup = i == 4
		}
		p := newPool(t, policy, bs)
		var held [backends]atomic.Int64

		var changers, all sync.WaitGroup
		stop := make(chan struct{})
		changers.Go(func() { changeStates(p, stop) })
		for w := range workers {
			all.Go(func() {
				client := netip.AddrFrom4([4]byte{10, 0, 0, byte(w)})
				for range sessions {
					b, err := p.Reserve(client, nil)
					if err != nil {
						if !errors.Is(err, ErrFull) && !errors.Is(err, ErrNoBackend) {
							t.Errorf("Reserve: %v", err)
						}
						continue
					}
					if n := held[position(b)].Add(1); n > limit {
						t.Errorf("%s holds %d sessions, limit %d", b.Name(), n, limit)
					}
					b.Dialed(DialOK)
					if n := b.Stats().Active; n < 1 || n > limit {
						t.Errorf("%s has %d active while one is held, limit %d", b.Name(), n, limit)
					}
					held[position(b)].Add(-1)
					b.Release()
				}
			})
		}
		all.Wait()
		close(stop)
		changers.Wait()
		for _, b := range p.Backends() {
			if n := b.Stats().Active; n != 0 {
				t.Errorf("%s has %d active in the end", b.Name(), n)
			}
		}
	})
}

// changeStates flips every state of random backends until stop is closed.
func changeStates(p *Pool, stop <-chan struct{}) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		b := p.Backends()[rnd.IntN(len(p.Backends()))]
		b.SetUp(rnd.IntN(4) > 0)
		b.SetEjected(rnd.IntN(4) == 0)
		b.SetAdmin(AdminState(rnd.IntN(6) / 3)) // ready or drain
		b.SetBackup(rnd.IntN(3) == 0)
		if i%100 == 0 { // a new Maglev table takes a while
			_ = b.SetWeight(rnd.IntN(4))
		}
		runtime.Gosched() // on a single CPU the sessions would get a turn every 10 ms only
	}
}
