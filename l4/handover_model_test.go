package l4

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"sluice/pool"
	"sluice/sysutil"
)

// handoverSeeds is for a longer run by hand: go test ./l4 -run Handover -handover-seeds 100000.
var handoverSeeds = flag.Uint64("handover-seeds", 500, "random plays with hand-overs, of each kind")

// move hands all sessions over to another server, or takes some out of service and puts them
// back.
func (r *rig) move(rnd *rand.Rand) {
	if rnd.IntN(3) > 0 {
		r.succeed(rnd)
		return
	}
	d := r.depart()
	if b := r.next(d, rnd.IntN(2) == 0); b != nil {
		b.Records()
		for range rnd.IntN(3) {
			r.step()
		}
		r.giveBack(b)
	}
	r.abandon(d)
}

// everyPool returns the pools of all servers that the session has been at.
func (r *rig) everyPool() []*pool.Pool {
	all := []*pool.Pool{r.pool}
	for _, f := range r.formers {
		all = append(all, f.pool)
	}
	return all
}

// TestHandoverPlays is TestRandomPlays with sessions that go from server to server at any moment.
// Neither side is to notice.
func TestHandoverPlays(t *testing.T) {
	for seed := range *handoverSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 12))
			config := rigConfig{}
			if rnd.IntN(2) == 0 {
				config.pipes = sysutil.NewPipeBudget(rnd.IntN(2), PipeSize)
			}
			p := &play{rig: newRig(t, config), rnd: rnd, buf: make([]byte, 256<<10), moves: 10 + rnd.IntN(70)}
			p.start(t, p.pair())
		})
	}
}
