package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// target is one server that is probed, for every backend that asks it the same.
type target struct {
	key    targetKey // for Monitor.Apply alone
	prober probe.Prober
	wake   chan struct{} // something that changes when the next probe starts

	// Guarded by Monitor.mu.
	stop    context.CancelFunc // of its goroutines; nil: they were not started
	cfg     *Config            // of the first member's pool, as it was then: they agree in all that is used here
	members []*member
	knowledge
}

// knowledge is what a target knows of its server. It is guarded by Monitor.mu.
type knowledge struct {
	schedule schedule
	paused   bool       // every member is in maintenance
	checks   checkState // does it answer?
	last     finished
	shortage string    // why the last probe could not be made, on this machine; "" = it could
	stale    time.Time // a probe that started before is not news any more
	excused  bool      // the last probe that ended was late by this process's fault, and did not count

	certificateEnds time.Time // of the server's certificate that was seen last; zero: none was

	answer       *probe.DatabaseAnswer // the last one; nil: none
	current      bool                  // the server has not gone down since it gave that answer
	asked        time.Time             // start of the probe that it answered
	primarySince time.Time             // start of the first of the latest probes that it answered as a primary
}

// finished is one probe that has ended.
type finished struct {
	started time.Time
	took    time.Duration
	err     error
	stalled bool // it took longer than it may, by stallTime
}

// run probes a target until ctx is done.
func (m *Monitor) run(ctx context.Context, t *target) {
	defer t.prober.Close()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		for t.prober.Wait(ctx) {
			m.lost(t)
		}
	})
	timer := newTimer()
	defer timer.Stop()
	for {
		started, timeout, next := m.due(t, time.Now())
		if !started.IsZero() {
			all.Go(func() { m.probe(ctx, t, started, timeout) })
			continue
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-timer.C:
		}
	}
}

// due starts the next probe when it is time for it: started is not zero then. Otherwise next is when it will be; zero:
// not before t.wake.
func (m *Monitor) due(t *target, now time.Time) (started time.Time, timeout time.Duration, next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.paused {
		return time.Time{}, 0, time.Time{}
	}
	next, ok := t.schedule.next(*t.cfg, t.pace())
	if !ok || next.After(now) {
		return time.Time{}, 0, next
	}
	t.schedule.begin(now, rand.Float64())
	return now, t.cfg.Timeout, time.Time{}
}

// pace returns how urgent the next probe is. The mutex is held.
func (t *target) pace() pace {
	p := pace{
		hurry: !t.checks.decided || t.checks.changing(),
		down:  t.checks.down(),
	}
	for _, b := range t.members {
		p.hurry = p.hurry || b.lag.changing() || b.pool.stranded && !b.maint
	}
	return p
}

// probe asks once and acts on the answer.
func (m *Monitor) probe(ctx context.Context, t *target, started time.Time, timeout time.Duration) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	answer, err := t.prober.Probe(limited)
	cancel()
	took := time.Since(started)
	p := finished{started, took, err, took > timeout+stallTime}
	backends := m.record(t, p, answer, ctx.Err() != nil)
	wakeUp(t.wake)
	if m.onProbe == nil {
		return
	}
	for _, b := range backends {
		m.onProbe(b, p.took, p.err)
	}
}

// record takes in a finished probe. One that was cut short, or never sent for want of something on this machine, says
// nothing about the server. It returns the backends that the probe was made for.
func (m *Monitor) record(t *target, p finished, answer probe.Answer, cut bool) (backends []*pool.Backend) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.schedule.end(p.started)
	if cut || t.paused || t.excuse(p) {
		return nil
	}
	t.shortage = ""
	if !answer.CertificateEnds.IsZero() {
		t.certificateEnds = answer.CertificateEnds
	}
	if probe.Local(p.err) {
		t.shortage = p.err.Error()
		m.decideFor(t)
		return nil
	}
	for _, b := range t.members {
		if !b.maint {
			backends = append(backends, b.backend)
		}
	}
	if !p.started.Before(t.stale) {
		t.last = p
		t.hear(p, answer)
		m.decideFor(t)
	}
	return backends
}

// stallTime is how late a probe ends that this process was not there for: stopped, frozen with its cgroup, or on a
// machine that was moved. The server may have answered in time.
const stallTime = 500 * time.Millisecond

// excuse reports whether a failure is this process's own and says nothing about the server. Then the server is asked
// again at once, and what else was asked before does not count either. A process that is always late is believed, though:
// it would never find a dead server. The mutex is held.
func (t *target) excuse(p finished) bool {
	if p.started.Before(t.stale) {
		return false
	}
	again := t.excused
	t.excused = p.err != nil && p.stalled
	if !t.excused || again {
		return false
	}
	t.stale = p.started.Add(p.took)
	t.hurry()
	return true
}

// hear counts an answer, or a failure. The mutex is held.
func (t *target) hear(p finished, answer probe.Answer) {
	fall := t.cfg.Fall
	if probe.Unavailable(p.err) {
		fall = 1 // its own word
	}
	t.checks.observe(p.err == nil, t.cfg.Rise, fall)
	ended := p.started.Add(p.took)
	if p.err == nil {
		t.answered(p.started, answer.Database)
	} else if t.checks.down() {
		t.current = false
	}
	for _, b := range t.members {
		b.hear(ended, p.err == nil)
	}
}

// answered takes in what the server said. The mutex is held.
func (t *target) answered(asked time.Time, a *probe.DatabaseAnswer) {
	wasPrimary := t.current && t.answer != nil && t.answer.Primary
	if a != nil && a.Primary && !wasPrimary {
		t.primarySince = asked
	}
	t.answer, t.current, t.asked, t.stale = a, true, asked, asked
}

// lost makes the target probe at once: the connection that was kept is gone.
func (m *Monitor) lost(t *target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.hurry()
}

// hurry makes the next probe start at once. The mutex is held.
func (t *target) hurry() {
	t.schedule.wanted = true
	wakeUp(t.wake)
}

// heedMaint stops or starts the probes as the members want it. The mutex is held.
func (t *target) heedMaint(now time.Time) {
	unwanted := t.unwanted()
	switch {
	case unwanted && !t.paused:
		t.pause()
	case !unwanted && t.paused:
		t.resume(now)
	}
}

// unwanted reports whether nobody wants the target probed. The mutex is held.
func (t *target) unwanted() bool {
	for _, b := range t.members {
		if !b.maint {
			return false
		}
	}
	return true
}

// pause stops the probes: every member is in maintenance. The mutex is held.
func (t *target) pause() {
	t.paused = true
	t.checks.forget()
	t.current = false
}

// resume starts them again, with one at once that decides alone. The mutex is held.
func (t *target) resume(now time.Time) {
	t.paused, t.stale = false, now
	t.hurry()
}
