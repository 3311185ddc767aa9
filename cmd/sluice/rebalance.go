package main

import (
	"context"
	"time"

	"sluice/cmd/sluice/internal/rebalance"
	"sluice/pool"
)

// rebalance evens out the sessions of the pools that ask for it until ctx is done.
func (w *world) rebalance(ctx context.Context) {
	watches := make(map[*pool.Pool]*rebalance.Watch)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(time.Until(w.rebalanceDue(ctx, watches)))
	}
}

// rebalanceDue does what is due in every pool, and returns when something is due again. When sluice leaves nothing is:
// a session that is closed then could not come back.
func (w *world) rebalanceDue(ctx context.Context, watches map[*pool.Pool]*rebalance.Watch) (next time.Time) {
	next = time.Now().Add(time.Second)
	if w.leaves() {
		return next
	}
	g, now := w.now.Load(), time.Now()
	asking := make(map[*pool.Pool]bool)
	for i, p := range g.pools {
		config := g.force.Pools[i].Rebalance
		if config.Rate == 0 {
			continue
		}
		asking[p] = true
		if watches[p] == nil {
			watches[p] = rebalance.NewWatch(p, w.server, w.log)
		}
		if at := watches[p].Step(ctx, config, now); at.Before(next) {
			next = at
		}
	}
	for p := range watches {
		if !asking[p] {
			delete(watches, p)
		}
	}
	return next
}

// leaves reports whether nothing changes any more.
func (w *world) leaves() bool {
	w.applying.Lock()
	defer w.applying.Unlock()
	return w.leaving
}
