package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The phases of a run, in order.
const (
	phaseWarm int32 = iota
	phaseMeasure
	phaseDrain // outstanding replies are awaited, nothing new is asked
	phaseAbort
)

// run is one plan being executed. The loops own their sessions; what is here is shared with the controller.
type run struct {
	plan        *Plan
	dialer      *dialer
	base        time.Time // every session time is relative to it
	phase       atomic.Int32
	established atomic.Int64 // sessions that have had an answer
	loops       []*loop
	live        sync.WaitGroup

	failOnce sync.Once
	failure  error
	failed   chan struct{} // closed once failure is set
}

// Run executes a plan. Any error of any session ends it: a report is never built on a measurement that went wrong.
func Run(ctx context.Context, plan Plan) (*Report, error) {
	if err := plan.validate(); err != nil {
		return nil, fmt.Errorf("check plan: %w", err)
	}
	if plan.Patience == 0 {
		plan.Patience = defaultPatience
	}
	r := &run{plan: &plan, dialer: newDialer(plan.Target, plan.Sources), base: time.Now(), failed: make(chan struct{})}
	defer r.closeLoops()
	if err := r.openLoops(); err != nil {
		return nil, err
	}
	for _, l := range r.loops {
		r.live.Go(l.serve)
	}
	elapsed, err := r.control(ctx)
	if err != nil {
		r.enter(phaseAbort)
	}
	r.live.Wait()
	if err != nil {
		return nil, err
	}
	report := r.report(elapsed)
	return report, report.checkProgress(&plan)
}

func (r *run) openLoops() error {
	for i, flow := range r.plan.Flows {
		n := min(max(flow.Loops, 1), flow.Sessions)
		for j := range n {
			// The remainder goes to the first loops, one each.
			sessions := (flow.Sessions + n - 1 - j) / n
			l, err := newLoop(r, i, sessions)
			if err != nil {
				return err
			}
			r.loops = append(r.loops, l)
		}
	}
	return nil
}

func (r *run) closeLoops() {
	for _, l := range r.loops {
		l.close()
	}
}

// control leads the loops through the phases and returns the length of the measurement.
func (r *run) control(ctx context.Context) (elapsed time.Duration, err error) {
	if err := r.await(ctx, r.plan.Patience, r.allEstablished); err != nil {
		return 0, fmt.Errorf("%w (%d sessions answered)", err, r.established.Load())
	}
	if err := r.await(ctx, r.plan.Warmup, nil); err != nil {
		return 0, err
	}
	if err := edge(r.plan.Begin); err != nil {
		return 0, err
	}
	began := time.Now()
	r.enter(phaseMeasure)
	if err := r.measure(ctx); err != nil {
		return 0, err
	}
	if err := edge(r.plan.End); err != nil {
		return 0, err
	}
	elapsed = time.Since(began)
	r.enter(phaseDrain)
	return elapsed, r.drain(ctx)
}

func edge(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (r *run) measure(ctx context.Context) error {
	err := r.await(ctx, r.plan.Duration, r.limitReached)
	if errors.Is(err, errPatience) {
		return nil
	}
	return err
}

var errPatience = errors.New("time is up")

// await returns nil once done holds; after patience it returns errPatience,
// or nil when there is no condition. It returns early when the run fails.
func (r *run) await(ctx context.Context, patience time.Duration, done func() bool) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.failed:
			return r.failure
		case <-deadline.C:
			if done == nil {
				return nil
			}
			return errPatience
		case <-tick.C:
			if done != nil && done() {
				return nil
			}
		}
	}
}

func (r *run) allEstablished() bool {
	want := 0
	for _, f := range r.plan.Flows {
		want += f.Sessions
	}
	return r.established.Load() >= int64(want)
}

// limitReached reports whether a flow has made all the replies it may, the ones of the warm-up included.
func (r *run) limitReached() bool {
	made := make([]uint64, len(r.plan.Flows))
	for _, l := range r.loops {
		made[l.flowIndex] += l.replies.Load()
	}
	for i, f := range r.plan.Flows {
		if f.Limit > 0 && made[i] >= uint64(f.Limit) {
			return true
		}
	}
	return false
}

// drain waits until every loop has ended. A session that never gets its
// outstanding answer has lost bytes, and is an error.
func (r *run) drain(ctx context.Context) error {
	ended := func() bool { return r.pending() == 0 }
	if err := r.await(ctx, r.plan.Patience, ended); err != nil {
		return fmt.Errorf("wait for the last answers: %w (%d sessions without)", err, r.pending())
	}
	return nil
}

func (r *run) pending() (n int64) {
	for _, l := range r.loops {
		n += l.live.Load()
	}
	return n
}

// report sums what the loops have measured; they have ended.
func (r *run) report(elapsed time.Duration) *Report {
	report := &Report{Elapsed: elapsed, Flows: make([]FlowReport, len(r.plan.Flows))}
	for _, l := range r.loops {
		flow := &report.Flows[l.flowIndex]
		flow.Latency.Merge(&l.latency)
		flow.Replies = flow.Latency.Count()
		flow.Bytes += l.bytes
	}
	return report
}

// ErrNothingMoved: the measurement was too short for the machine, or the system stands still.
var ErrNothingMoved = errors.New("nothing moved")

// checkProgress refuses a report in which a flow stood still; a measurement of no length has none that moved.
func (r *Report) checkProgress(plan *Plan) error {
	for i, f := range r.Flows {
		if plan.Duration > 0 && plan.Flows[i].Work != Hold && f.Replies == 0 && f.Bytes == 0 {
			return fmt.Errorf("flow %d: %w in %v of measurement", i, ErrNothingMoved, r.Elapsed.Round(time.Millisecond))
		}
	}
	return nil
}

// enter starts a phase and tells the loops. An aborted run stays aborted.
func (r *run) enter(phase int32) {
	r.phase.Store(phase)
	for _, l := range r.loops {
		l.waker.Wake()
	}
}

// fail records the first error of the run; it is called on the loops.
func (r *run) fail(err error) {
	r.failOnce.Do(func() {
		r.failure = err
		close(r.failed)
	})
}
