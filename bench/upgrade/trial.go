package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/bench/load"
)

// A view is what the clients saw of a stretch of time.
type view struct {
	sessions *load.Window
	calls    load.Calls
}

// A trial is one upgrade, and as much time without one after it.
type trial struct {
	told           told
	outside        time.Duration // from asking for it to its end
	upgrade, quiet view
	cpu            time.Duration // that all processes spent in the time of the upgrade, without what the same time cost after it
}

// watchAnew chooses which sessions this trial watches: others than the one before.
func (b *bed) watchAnew(number int) error {
	const step = 17
	return b.pinger.Watch(b.watched, number*step)
}

// look lets the time pass that during takes, but not less than the least.
func (b *bed) watch(ctx context.Context, least time.Duration, during func() error) (v view, err error) {
	b.caller.Begin()
	v.sessions, err = b.pinger.Window(ctx, func() error {
		began := time.Now()
		if err := during(); err != nil {
			return err
		}
		return pause(ctx, least-time.Since(began))
	})
	if err != nil {
		return v, err
	}
	v.calls, err = b.caller.End(ctx)
	return v, err
}

// try upgrades once.
func (b *bed) try(ctx context.Context, number int) (t trial, err error) {
	if err := b.watchAnew(number); err != nil {
		return t, err
	}
	before, err := b.keeper.spent()
	if err != nil {
		return t, err
	}
	t.upgrade, err = b.watch(ctx, b.look, func() (err error) {
		began := time.Now()
		t.told, err = b.upgrade(ctx)
		t.outside = time.Since(began)
		return err
	})
	if err != nil {
		return t, fmt.Errorf("upgrade %d: %w", number+1, err)
	}
	between, err := b.keeper.spent()
	if err != nil {
		return t, err
	}
	length := t.upgrade.sessions.Elapsed
	t.quiet, err = b.watch(ctx, length, func() error { return nil })
	if err != nil {
		return t, err
	}
	after, err := b.keeper.spent()
	t.cpu = between - before - (after - between)
	return t, err
}

// pause waits, not at all if d is negative.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// losses are the sessions and connections that came to harm.
type losses struct {
	alive            int   // sessions that answer in the end
	cut              int   // sessions that were ended
	made             int   // connections that got their reply
	refused, reset   int   // connections
	silent           int   // connections and sessions that got no reply in time
	sessions, others error // the first of each
}

func (l *losses) add(views ...view) {
	for _, v := range views {
		l.made += v.calls.Made
		l.refused += v.calls.Refused
		l.reset += v.calls.Reset + v.calls.Other
		l.silent += v.calls.Silent + v.sessions.Silent
		if l.others == nil {
			l.others = v.calls.First
		}
	}
}

// count adds what became of the sessions.
func (l *losses) count(ctx context.Context, p *load.Pinger) (err error) {
	if l.alive, err = p.Check(ctx); err != nil {
		return err
	}
	all, err := p.Losses()
	l.cut, l.sessions = all.All(), all.First
	return err
}

// harm is nil when nobody came to any.
func (l *losses) harm() error {
	if l.cut+l.refused+l.reset+l.silent == 0 {
		return nil
	}
	return errors.Join(fmt.Errorf("%d sessions cut, %d connections refused, %d reset, %d without a reply",
		l.cut, l.refused, l.reset, l.silent), l.sessions, l.others)
}
