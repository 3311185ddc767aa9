package health

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"time"

	"sluice/pool"
)

// firstWithin bounds the wait for a backend's first check: a dead backend is to be found at once, but the checks of
// hundreds of backends are not to start in the same instant.
const firstWithin = 200 * time.Millisecond

// watch checks one backend until ctx is done.
func (m *Monitor) watch(ctx context.Context, b *pool.Backend) {
	timer := time.NewTimer(rand.N(min(m.cfg.Interval, firstWithin)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := time.Now().Add(jittered(m.cfg.Interval, m.cfg.Jitter, rand.Float64()))
		if b.Admin() == pool.Maint {
			m.forget(b)
		} else {
			m.probe(ctx, b)
		}
		timer.Reset(time.Until(next)) // at once when the check outlasted the interval
	}
}

// jittered returns the interval made shorter or longer by up to the given part of it, evenly for random in [0, 1).
func jittered(interval time.Duration, part, random float64) time.Duration {
	return interval + time.Duration(float64(interval)*part*(2*random-1))
}

// probe runs one check and acts on its result.
func (m *Monitor) probe(ctx context.Context, b *pool.Backend) {
	started := time.Now()
	limited, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	err := m.checker.Check(limited, b)
	cancel()
	took := time.Since(started)
	if ctx.Err() != nil || isLocal(err) {
		return // cut short, or never sent: that says nothing about the backend
	}
	m.record(b, probe{started, took, err})
	if m.onProbe != nil {
		m.onProbe(b, took, err)
	}
}

// isLocal reports whether a check failed for want of something on this machine: descriptors, memory, a local port. A
// balancer at its limits must not take that for the death of every backend.
func isLocal(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// record counts a finished check, switches the backend, and logs when it went up or down.
func (m *Monitor) record(b *pool.Backend, p probe) {
	m.mu.Lock()
	t := m.targets[b]
	t.last = p
	changed := t.checks.observe(p.started.Add(p.took), p.err == nil, m.cfg.Rise, m.cfg.Fall)
	s := t.checks
	b.SetUp(s.up)
	m.mu.Unlock()

	switch {
	case changed && s.up:
		m.logger.Info("backend up", backendAttrs(b), slog.Int("successes", s.successes))
	case changed:
		m.logger.Warn("backend down", backendAttrs(b), slog.Any("reason", p.err), slog.Int("failures", s.failures))
	}
}

// forget drops what was counted of a backend in maintenance, which is not checked.
func (m *Monitor) forget(b *pool.Backend) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.targets[b].checks.forget()
}

// backendAttrs returns the attributes that say which backend a line is about.
func backendAttrs(b *pool.Backend) slog.Attr {
	return slog.GroupAttrs("", slog.String("pool", b.Pool().Name()), slog.String("backend", b.Name()))
}
