package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/bench/load"
	"sluice/bench/record"
)

// A size is what upgrades of sluice did with so many sessions.
type size struct {
	sessions      int
	trials        []trial
	losses        losses
	before, after int64 // memory before the first and after the last
}

// measureSize upgrades sluice several times in a row.
func measureSize(ctx context.Context, o options, sessions int) (s size, err error) {
	s.sessions = sessions
	b, err := newBed(ctx, o, systems()[0])
	if err != nil {
		return s, err
	}
	defer func() { err = b.close(err) }()
	if err := b.pinger.Open(ctx, sessions); err != nil {
		return s, err
	}
	if s.before, err = b.keeper.resident(); err != nil {
		return s, err
	}
	for i := range o.runs {
		t, err := b.try(ctx, i)
		if err != nil {
			return s, err
		}
		s.trials = append(s.trials, t)
		s.losses.add(t.upgrade, t.quiet)
	}
	if err := s.losses.count(ctx, b.pinger); err != nil {
		return s, err
	}
	s.after, err = b.keeper.resident()
	return s, err
}

// A spread is a duration in all trials.
type spread []time.Duration

func (s *size) each(of func(*trial) time.Duration) spread {
	var all spread
	for i := range s.trials {
		all = append(all, of(&s.trials[i]))
	}
	slices.Sort(all)
	return all
}

func (s spread) median() time.Duration {
	var values []float64
	for _, d := range s {
		values = append(values, float64(d))
	}
	return time.Duration(record.Median(values))
}

// quantile is what the share q does not exceed; s is sorted. With few values that is the largest.
func (s spread) quantile(q float64) time.Duration {
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// pauses are those of all watched sessions in all trials.
func (s *size) pauses(of func(*trial) *load.Window) spread {
	var all spread
	for i := range s.trials {
		all = append(all, of(&s.trials[i]).Pauses...)
	}
	slices.Sort(all)
	return all
}

// longest is the longest of any session in any trial.
func (s *size) longest(of func(*trial) *load.Window) (longest time.Duration) {
	for i := range s.trials {
		longest = max(longest, of(&s.trials[i]).Longest)
	}
	return longest
}

func upgradeOf(t *trial) *load.Window { return t.upgrade.sessions }
func quietOf(t *trial) *load.Window   { return t.quiet.sessions }

// fit is the straight line through the medians of the total time: fixed and for each session, by least squares.
func fit(sizes []size) (fixed, each time.Duration, err error) {
	if len(sizes) < 2 {
		return 0, 0, fmt.Errorf("fit a line: %d numbers of sessions", len(sizes))
	}
	var x, y, xx, xy float64
	n := float64(len(sizes))
	for i := range sizes {
		at := float64(sizes[i].sessions)
		took := float64(sizes[i].each(func(t *trial) time.Duration { return t.told.total }).median())
		x, y, xx, xy = x+at, y+took, xx+at*at, xy+at*took
	}
	slope := (n*xy - x*y) / (n*xx - x*x)
	return time.Duration((y - slope*x) / n), time.Duration(slope), nil
}
