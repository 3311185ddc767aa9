package configs

import (
	"slices"
	"time"

	"sluice/pool"
)

// Rebalance says how a pool closes idle sessions when a backend has come that would be given them if they began now.
type Rebalance struct {
	Skew float64       // the part of its fair share that a backend may have too much
	Rate float64       // sessions closed per second; 0 = none is
	Idle time.Duration // how long nothing must have moved on one
}

// maxRebalanceRate is beyond what anybody calls gentle.
const maxRebalanceRate = 1000

// DefaultRebalance is what holds of a pool that says no more than that it is to be rebalanced, or is told to be, once.
func DefaultRebalance() Rebalance {
	return Rebalance{Skew: 0.1, Rate: 5, Idle: 30 * time.Second}
}

var rebalanceFields = fields[Rebalance]{
	percent("skew", func(r *Rebalance) *float64 { return &r.Skew }),
	{key: "rate", read: readRebalanceRate},
	duration("idle", time.Second, func(r *Rebalance) *time.Duration { return &r.Idle }),
}

func readRebalance(d *decoder, v value, to *poolDraft) {
	to.Rebalance = DefaultRebalance()
	rebalanceFields.decode(d, v, &to.Rebalance)
	to.NoteReady = to.Rebalance.Rate > 0
}

func readRebalanceRate(d *decoder, v value, to *Rebalance) {
	switch rate, ok := d.rate(v); {
	case !ok:
	case rate > maxRebalanceRate:
		d.reportAt(v, "rate is %s: write at most %d/s", scalarText(v.node), maxRebalanceRate)
	default:
		to.Rate = rate
	}
}

// rebalances are the policies by which a session that was closed and begins again goes to another backend.
var rebalances = []pool.Policy{pool.LeastConn, pool.RoundRobin, pool.Random}

// CanRebalance reports whether a session of the pool that is closed and begins again may go to another backend.
func (p *Pool) CanRebalance() bool { return slices.Contains(rebalances, p.Config.Balance) }

// finishRebalance refuses to close sessions that would come back to where they were.
func (p *poolDraft) finishRebalance(d *decoder) {
	if v, ok := p.has("rebalance"); ok && p.Rebalance.Rate > 0 && !p.bad["balance"] && !p.CanRebalance() {
		d.report(v.at, "rebalance is of no use with balance: %v, whose sessions come back to where they were: remove it, or "+
			"write balance: least_conn", p.Config.Balance)
	}
}
