package health

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/pool"
)

// ejection is one that began, to be logged by a goroutine that may wait for the log.
type ejection struct {
	backend *pool.Backend
	last    pool.DialResult
}

// Observe takes the result of a session's connect to a backend of the pool as evidence. It may be called on an event
// loop: it holds a mutex for a moment and leaves the log line to another goroutine. Failures that are not the backend's,
// such as a lack of descriptors or local ports, must not be passed on.
//
// Without Run running, for a backend that is not usable, and for one of another pool it does nothing.
func (m *Monitor) Observe(b *pool.Backend, r pool.DialResult) {
	if m.cfg.Eject.Failures == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.targets[b]
	if t == nil || !m.running {
		return
	}
	if r == pool.DialOK {
		t.evidence.succeeded()
		return
	}
	// Dials that began before the backend went out still end; they are not to prolong it.
	if !b.Usable() {
		return
	}
	now := time.Now()
	if t.evidence.failed(now, m.cfg.Eject) && mayEject(m.cfg.Eject, len(m.targets), m.ejected, m.pool.Usable()) {
		t.evidence.eject(now, m.cfg.Eject)
		m.ejected++
		b.SetEjected(true)
		m.ejection = append(m.ejection, ejection{b, r})
		m.wakeUp()
	}
}

// wakeUp tells the goroutine that ends ejections to look again. It never blocks: one wake-up covers all news.
func (m *Monitor) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// endEjections logs ejections and brings ejected backends back, until ctx is done.
func (m *Monitor) endEjections(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		began, over, next := m.turnover(time.Now())
		for _, e := range began {
			m.logEjection(e)
		}
		for _, b := range over {
			m.logger.Info("backend returned", backendAttrs(b), slog.String("reason", "its ejection is over"))
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// turnover ends the ejections that are over. It returns those that began since the last time, the backends that are
// back, in configured order, and when the next ejection is over: zero when there is none.
func (m *Monitor) turnover(now time.Time) (began []ejection, over []*pool.Backend, next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	began, m.ejection = m.ejection, nil
	for _, b := range m.pool.Backends() {
		e := &m.targets[b].evidence
		if e.over(now) {
			m.takeBack(b)
			over = append(over, b)
		}
		if e.ejected() && (next.IsZero() || e.until.Before(next)) {
			next = e.until
		}
	}
	return began, over, next
}

// stopEjecting ends every ejection and takes no more evidence: nobody would be there to bring a backend back.
func (m *Monitor) stopEjecting() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
	for b, t := range m.targets {
		if t.evidence.ejected() {
			m.takeBack(b)
		}
	}
}

// takeBack ends an ejection. The mutex is held.
func (m *Monitor) takeBack(b *pool.Backend) {
	m.targets[b].evidence.until = time.Time{}
	m.ejected--
	b.SetEjected(false)
}

func (m *Monitor) logEjection(e ejection) {
	m.logger.Warn("backend ejected", backendAttrs(e.backend),
		slog.String("reason", fmt.Sprintf("%d connects failed in a row, the last: %v", m.cfg.Eject.Failures, e.last)),
		slog.Duration("duration", m.cfg.Eject.Duration))
}
