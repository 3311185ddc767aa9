package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"sluice/bench/load"
	"sluice/bench/proc"
)

// startPatience bounds the time from starting a system to its first answer;
// tests shorten it.
var startPatience = 5 * time.Second

// A bed is one system running between the generator and a backend, for one
// measurement.
type bed struct {
	system  system
	duty    duty
	bin     string // as it was given
	dir     string
	backend *process
	process *process
	target  netip.AddrPort
	aside   netip.AddrPort
	pids    []int // of the system, workers included
}

// newBed starts a backend and the system, and waits until the system answers.
func newBed(ctx context.Context, s system, bin string, d duty) (_ *bed, err error) {
	b := &bed{system: s, bin: bin, duty: d}
	defer func() {
		if err != nil {
			err = b.close(err)
		}
	}()
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	var backends []netip.AddrPort
	if b.backend, backends, err = startBackend(d.proxy); err != nil {
		return nil, err
	}
	if b.target, err = load.FreePort(); err != nil {
		return nil, err
	}
	for b.aside == (netip.AddrPort{}) || b.aside == b.target {
		if b.aside, err = load.FreePort(); err != nil {
			return nil, err
		}
	}
	c, err := s.command(setup{dir: b.dir, bin: bin, listen: b.target, aside: b.aside, backends: backends, duty: d})
	if err != nil {
		return nil, err
	}
	if b.process, err = startProcess(s.name, c, nil); err != nil {
		return nil, err
	}
	if err := b.awaitAnswer(ctx, d.first()); err != nil {
		return nil, fmt.Errorf("wait for %s: %w", s.name, err)
	}
	b.pids, err = proc.Tree(b.process.pid())
	return b, err
}

// awaitAnswer tries the system until all sessions of a flow succeed.
func (b *bed) awaitAnswer(ctx context.Context, first load.Flow) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errors.New("no answer"))
	defer cancel()
	for {
		_, err := load.Run(ctx, load.Plan{Target: b.target, Patience: time.Second, Flows: []load.Flow{first}})
		if err == nil || b.process.alive() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// close stops what was started. It returns err, the result so far, with what
// went wrong besides: above all, a process that had ended before it was asked.
func (b *bed) close(err error) error {
	errs := []error{err}
	for _, p := range []*process{b.process, b.backend} {
		if p != nil {
			errs = append(errs, p.alive(), p.stop())
		}
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	err = errors.Join(errs...)
	for _, p := range []*process{b.process, b.backend} {
		if p != nil {
			err = p.explain(err)
		}
	}
	return err
}

// run executes a plan and returns the CPU time that the system spent on it.
func (b *bed) run(ctx context.Context, plan load.Plan) (*load.Report, time.Duration, error) {
	var before, after proc.CPU
	plan.Target = b.target
	plan.Begin = func() (err error) { before, err = proc.CPUTime(b.pids); return err }
	plan.End = func() (err error) { after, err = proc.CPUTime(b.pids); return err }
	report, err := load.Run(ctx, plan)
	if err != nil {
		return nil, 0, err
	}
	return report, after.Since(before), nil
}

// usage is the memory and the descriptors of the system.
type usage struct {
	resident    int64
	descriptors int
}

func (b *bed) usage() (u usage, err error) {
	if u.resident, err = proc.Resident(b.pids); err != nil {
		return u, err
	}
	u.descriptors, err = proc.Descriptors(b.pids)
	return u, err
}

// settle returns the usage once it has not changed for a quarter of a second,
// and after two seconds as it is then: a garbage collector may never rest.
func (b *bed) settle(ctx context.Context) (last usage, err error) {
	const interval, calm, most = 50 * time.Millisecond, 5, 40
	same := 0
	for range most {
		now, err := b.usage()
		if err != nil {
			return last, err
		}
		if now != last {
			same = 0
		} else if same++; same == calm {
			break
		}
		last = now
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case <-time.After(interval):
		}
	}
	return last, nil
}
