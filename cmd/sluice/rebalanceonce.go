package main

import (
	"context"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/rebalance"
	"sluice/configs"
)

// Rebalance closes what the backends of a pool have too many, once, as the pool's rebalance says, or its defaults.
func (w *world) Rebalance(ctx context.Context, name string, by admin.By) (admin.Rebalanced, error) {
	g := w.now.Load()
	p := g.pool(name)
	if p == nil {
		return admin.Rebalanced{}, g.noPool(name)
	}
	of := g.force.Pool(name)
	if !of.CanRebalance() {
		return admin.Rebalanced{}, admin.Conflictf("pool %s has balance: %v, so that sessions that are closed come back to where they were",
			name, of.Config.Balance)
	}
	config := of.Rebalance
	if config.Rate == 0 { // it is not to happen by itself
		config = configs.DefaultRebalance()
	}
	plan := rebalance.Planned(p.Backends(), config)
	done := admin.Rebalanced{Pool: name, Backends: []admin.Surplus{}}
	for _, b := range p.Backends() {
		done.Backends = append(done.Backends, admin.Surplus{Backend: b.Name(), Sessions: b.Stats().Active, Surplus: plan[b.Name()]})
	}
	if by.DryRun || plan.Total() == 0 {
		return done, nil
	}
	w.log.Info("a pool is to be rebalanced", "pool", name, "by", by.User)
	done.Ended = rebalance.NewWatch(p, w.server, w.log).Once(ctx, config)
	return done, nil
}
