package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"sluice/bench/record"
	"sluice/sysutil"
)

// bench builds what is measured, measures, prints and keeps the result.
func bench(ctx context.Context, o options) error {
	if _, err := sysutil.RaiseFileLimit(); err != nil {
		return err
	}
	// Room for the loops of two flows, the controller and the runtime.
	runtime.GOMAXPROCS(2*loadLoops() + 2)
	bin, err := os.MkdirTemp("", "bench-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	root, err := build(ctx, bin, o.systems)
	if err != nil {
		return err
	}
	e := readEnvironment(bin, o.systems)
	e.rounds, e.duration, e.quick = o.rounds, o.duration, o.quick
	r := newResults(o.rows, o.systems)
	if err := measureAll(ctx, o, bin, r); err != nil {
		return err
	}
	if err := keep(o, root, &e, r); err != nil {
		return err
	}
	if n := len(r.failures()); n > 0 {
		return fmt.Errorf("%d measurements failed", n)
	}
	return nil
}

// measureAll goes round by round, so that a disturbance of the machine meets
// all systems alike; each round starts with another system.
func measureAll(ctx context.Context, o options, bin string, r *results) error {
	for round := range o.rounds {
		for _, row := range o.rows {
			for i := range o.systems {
				s := o.systems[(i+round)%len(o.systems)]
				if !s.takesPart(row) {
					continue
				}
				f, err := measure(ctx, row, s, bin, o.duration)
				if ctx.Err() != nil {
					return fmt.Errorf("interrupted: %w", context.Cause(ctx))
				}
				r.add(row, s, round+1, f, err)
				progress(o.stderr, round+1, row, s, f, err)
			}
		}
	}
	return nil
}

// measure is one row for one system, from start to stop.
func measure(ctx context.Context, row row, s system, bin string, duration time.Duration) (f figures, err error) {
	b, err := newBed(ctx, s, bin, row.duty)
	if err != nil {
		return nil, err
	}
	f, err = row.measure(ctx, b, duration)
	if err := b.close(err); err != nil {
		return nil, err
	}
	return f, nil
}

func progress(w io.Writer, round int, row row, s system, f figures, err error) {
	var parts []string
	for _, m := range row.columns {
		if err == nil {
			parts = append(parts, m.format(f[m])+" "+string(m))
		}
	}
	if err != nil {
		parts = []string{"FAILED: " + record.OneLine(err)}
	}
	fmt.Fprintf(w, "round %d  %-14s %-20s %s\n", round, row.name, s.name, strings.Join(parts, ", "))
}
