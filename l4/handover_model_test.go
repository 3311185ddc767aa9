package l4

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// handoverSeeds is for a longer run by hand: go test ./l4 -run Handover -handover-seeds 100000.
var handoverSeeds = flag.Uint64("handover-seeds", 1500, "random plays with hand-overs, of all kinds together")

// eachSeed runs plays of one kind, so many in a hundred of all.
func eachSeed(t *testing.T, share, stream uint64, play func(t *testing.T, rnd *rand.Rand)) {
	for seed := range *handoverSeeds * share / 100 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { play(t, rand.New(rand.NewPCG(seed, stream))) })
	}
}

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
	eachSeed(t, 25, 12, func(t *testing.T, rnd *rand.Rand) {
		p := &play{rig: newRig(t, pipesOf(rnd)), rnd: rnd, buf: make([]byte, 256<<10), moves: 10 + rnd.IntN(70)}
		p.start(t, p.pair())
	})
}

// TestHandoverOpenings is TestRandomOpenings with sessions that go from server to server in any
// state.
func TestHandoverOpenings(t *testing.T) {
	eachSeed(t, 50, 13, func(t *testing.T, rnd *rand.Rand) {
		p := newOpeningPlay(t, rnd)
		p.moves = 3 + p.rnd.IntN(30)
		p.run()
	})
}

// TestHandoverPostgresPlays is TestRandomPostgresPlays with sessions that go from server to server,
// between two pieces of a packet too.
func TestHandoverPostgresPlays(t *testing.T) {
	eachSeed(t, 10, 14, func(t *testing.T, rnd *rand.Rand) { postgresPlay(t, rnd, 4+rnd.IntN(40)) })
}

// TestHandoverCuts is TestRandomCuts with sessions that go from server to server, before they are
// cut and while what is finished is delivered.
func TestHandoverCuts(t *testing.T) {
	eachSeed(t, 15, 15, func(t *testing.T, rnd *rand.Rand) {
		config := pipesOf(rnd)
		config.fin = time.Hour
		p := &play{rig: newRig(t, config), rnd: rnd, buf: make([]byte, 256<<10), moves: 10 + rnd.IntN(40)}
		p.cutOnce(t)
	})
}

// pipesOf returns a configuration in which pipes may be scarce.
func pipesOf(rnd *rand.Rand) (c rigConfig) {
	if rnd.IntN(2) == 0 {
		c.pipes = sysutil.NewPipeBudget(rnd.IntN(2), PipeSize)
	}
	return c
}
