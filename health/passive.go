package health

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/pool"
)

// Observe takes the result of a session's connect to a backend as evidence. A failed one also makes the backend's probe
// run at once, unless the last one is recent. Observe may be called on an event loop: it takes no mutex for a success
// unless there are failures to forget, and holds one for a moment otherwise.
// Failures that are not the backend's, such as a lack of descriptors or local ports, must not be passed on.
//
// Without Run running, and for a backend of a pool that is not watched, it does nothing. A backend that is not usable is
// not ejected.
func (m *Monitor) Observe(b *pool.Backend, r pool.DialResult) {
	one := m.member(b)
	if one == nil || r == pool.DialOK && !one.blamed.Load() {
		return
	}
	m.take(one, r)
}

// take takes in a result of a backend that may have been removed since it was looked up.
func (m *Monitor) take(one *member, r pool.DialResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.running || one.removed:
	case r == pool.DialOK:
		one.evidence.succeeded()
		one.blamed.Store(false)
	default:
		now := time.Now()
		one.nudge(now)
		m.countFailed(one, r, now)
	}
}

// nudge makes the backend's server be probed at once, unless it was asked a moment ago. The mutex is held.
func (b *member) nudge(now time.Time) {
	if t := b.target; t != nil && !t.schedule.wanted && now.Sub(t.schedule.started) > t.cfg.FastInterval {
		t.hurry()
	}
}

// countFailed counts a failed connect and ejects the backend when that is one too many. The mutex is held.
func (m *Monitor) countFailed(b *member, r pool.DialResult, now time.Time) {
	w, c := b.pool, b.pool.cfg.Eject
	// Dials that began before the backend went out still end; they are not to prolong it.
	if c.Failures == 0 || !b.backend.Usable() {
		return
	}
	b.blamed.Store(true)
	if !b.evidence.failed(now, c) || !mayEject(c, len(w.members), w.ejected, w.pool.Usable()) {
		return
	}
	b.evidence.eject(now, c)
	b.blamed.Store(false)
	w.ejected++
	b.backend.SetEjected(true)
	m.say(slog.LevelWarn, "backend ejected", backendAttrs(b.backend),
		slog.String("reason", fmt.Sprintf("%d connects failed in a row, the last: %v", c.Failures, r)),
		slog.Duration("duration", c.Duration))
	wakeUp(m.wakeEject)
}

// endEjections brings ejected backends back, until ctx is done.
func (m *Monitor) endEjections(ctx context.Context) {
	timer := newTimer()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wakeEject:
		case <-timer.C:
		}
		if next := m.turnover(time.Now()); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// turnover ends the ejections that are over, and returns when the next one is: zero when there is none.
func (m *Monitor) turnover(now time.Time) (next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.pools {
		for _, b := range w.members {
			if b.evidence.over(now) {
				b.takeBack()
				m.say(slog.LevelInfo, "backend returned", backendAttrs(b.backend),
					slog.String("reason", "its ejection is over"))
			}
			if e := &b.evidence; e.ejected() && (next.IsZero() || e.until.Before(next)) {
				next = e.until
			}
		}
	}
	return next
}

// takeBack ends an ejection. The mutex is held.
func (b *member) takeBack() {
	b.evidence.until = time.Time{}
	b.pool.ejected--
	b.backend.SetEjected(false)
}
