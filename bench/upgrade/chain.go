package main

import (
	"context"
	"fmt"
	"time"
)

// A chain is what upgrades in a row left of one system, while sessions came that stay.
type chain struct {
	system     system
	sessions   int
	done       int    // upgrades that took place
	refused    string // why others did not
	trials     []trial
	losses     losses
	processes  int // in the end
	processes0 int // before the first upgrade
	resident   int64
	resident0  int64 // of a process that was never upgraded, with as many sessions
}

// measureChain upgrades a system several times. A share of the sessions comes before each upgrade, as sessions do that
// last longer than it is from one upgrade to the next.
func measureChain(ctx context.Context, o options, s system) (c chain, err error) {
	c = chain{system: s, sessions: o.sessions}
	if c.resident0, err = residentUnchanged(ctx, o, s); err != nil {
		return c, err
	}
	b, err := newBed(ctx, o, s)
	if err != nil {
		return c, err
	}
	defer func() { err = b.close(err) }()
	if c.processes0, err = b.processes(); err != nil {
		return c, err
	}
	for i := range o.upgrades {
		share := o.sessions*(i+1)/o.upgrades - o.sessions*i/o.upgrades
		if err := b.pinger.Open(ctx, share); err != nil {
			return c, fmt.Errorf("before upgrade %d: %w", i+1, err)
		}
		t, err := b.try(ctx, i)
		if err != nil {
			return c, err
		}
		c.trials = append(c.trials, t)
		c.losses.add(t.upgrade, t.quiet)
		if t.told.refused == "" {
			c.done++
		} else {
			c.refused = t.told.refused
		}
	}
	return c, c.end(ctx, b)
}

// end waits until what is to end has ended, and looks what is left.
func (c *chain) end(ctx context.Context, b *bed) (err error) {
	if c.processes, err = b.settled(ctx, c.system.limit+b.calm); err != nil {
		return err
	}
	if err := c.losses.count(ctx, b.pinger); err != nil {
		return err
	}
	c.resident, err = b.keeper.resident()
	return err
}

// residentUnchanged is the memory of a system with all sessions that is not upgraded.
func residentUnchanged(ctx context.Context, o options, s system) (n int64, err error) {
	b, err := newBed(ctx, o, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = b.close(err) }()
	if err := b.pinger.Open(ctx, o.sessions); err != nil {
		return 0, err
	}
	return b.keeper.resident()
}

func (b *bed) processes() (int, error) {
	pids, err := b.keeper.pids()
	return len(pids), err
}

// settled returns the number of processes once it has not changed for calm.
func (b *bed) settled(ctx context.Context, calm time.Duration) (n int, err error) {
	for since := time.Now(); time.Since(since) < calm; {
		now, err := b.processes()
		if err != nil {
			return 0, err
		}
		if now != n {
			n, since = now, time.Now()
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return n, nil
}
