package rebalance

import (
	"context"
	"time"

	"sluice/configs"
	"sluice/pool"
)

// Planned returns what is too many now, once slow starts are over.
func Planned(backends []*pool.Backend, config configs.Rebalance) Plan {
	all := stats(backends)
	for i := range all {
		all[i].Share = 100
	}
	return Surplus(all, config.Skew)
}

// Once closes what is too many now, at the rate, and returns how many sessions that were. It ends when it is done, when none
// of the sessions that are left can be closed now, or ctx is done.
func (w *Watch) Once(ctx context.Context, config configs.Rebalance) int {
	w.begin(w.pool.Backends(), config, time.Now())
	for len(w.left) > 0 {
		closed := w.closed
		next := w.close(ctx, w.pool.Backends(), config, time.Now())
		if w.closed == closed || len(w.left) == 0 {
			break
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return w.closed
		}
	}
	return w.closed
}
