package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"sluice/bench/record"
	"sluice/sysutil"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == keeperArg {
		record.Exit("upgrade", keep(os.Stdin, os.Stdout))
	}
	record.Main("upgrade", parseOptions, measure)
}

// measure builds sluice, measures, prints and keeps the result.
func measure(ctx context.Context, o options) error {
	if _, err := sysutil.RaiseFileLimit(); err != nil {
		return err
	}
	// A loop that returns from epoll_wait finds a place to run: those of the backend, the sessions' and the caller's.
	runtime.GOMAXPROCS(8)
	root, err := record.Root(ctx)
	if err != nil {
		return err
	}
	if o.bin == "" {
		if o.bin, err = os.MkdirTemp("", "upgrade-bin-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.bin)
		if err := record.Build(ctx, root, o.bin, "./cmd/sluice"); err != nil {
			return err
		}
	}
	r := result{options: o, Machine: record.ReadMachine(o.versions()...)}
	r.measure(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	if err := r.keep(root); err != nil {
		return err
	}
	if n := len(r.failures); n > 0 {
		return fmt.Errorf("%d measurements failed", n)
	}
	return nil
}

// A result is all that was measured.
type result struct {
	options
	record.Machine
	sizes    []size
	chains   []chain
	failures []string
}

// measure takes one number of sessions after the other, and then one system after the other. What fails is noted.
func (r *result) measure(ctx context.Context) {
	for _, n := range r.numbers {
		if ctx.Err() != nil {
			return
		}
		s, err := measureSize(ctx, r.options, n)
		name := fmt.Sprintf("sluice, %s sessions", record.Thousands(int64(n)))
		if r.note(name, errors.Join(err, s.losses.harm())); err == nil {
			r.sizes = append(r.sizes, s)
			fmt.Fprintf(r.stderr, "%s: %s\n", name, s.brief())
		}
	}
	for _, s := range r.systems {
		if ctx.Err() != nil {
			return
		}
		c, err := measureChain(ctx, r.options, s)
		name := s.name + ", " + s.way
		if s.program == sluice {
			r.note(name, c.losses.harm())
		}
		if r.note(name, err); err == nil {
			r.chains = append(r.chains, c)
			fmt.Fprintf(r.stderr, "%s: %s\n", name, c.brief())
		}
	}
}

func (r *result) note(name string, err error) {
	if err != nil {
		text := name + ": " + record.OneLine(err)
		r.failures = append(r.failures, text)
		fmt.Fprintln(r.stderr, "FAILED:", text)
	}
}
