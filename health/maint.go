package health

import (
	"context"
	"time"

	"sluice/pool"
)

// adminInterval is how often the monitor looks at what the operator wants of the backends.
const adminInterval = 500 * time.Millisecond

// watchAdmin notices changes that the operator makes, and that the last session of a removed backend has ended, until ctx
// is done.
func (m *Monitor) watchAdmin(ctx context.Context) {
	ticker := time.NewTicker(adminInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-m.wakeAdmin:
		}
		m.readAdmin(time.Now())
	}
}

// readAdmin takes in what the operator wants of the backends now, and forgets those that have left.
func (m *Monitor) readAdmin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.pools {
		revision := w.pool.Revision() // before it is read
		if revision == w.revision {
			continue
		}
		w.revision = revision
		if w.readAdmin(w.members, now) {
			m.decide(w, w.members, now)
		}
		w.lookStranded()
	}
	m.forgetLeft()
}

// readAdmin takes in what the operator wants of backends of the pool now, and reports whether that is new. The mutex is
// held.
func (w *poolWatch) readAdmin(members []*member, now time.Time) (changed bool) {
	for _, b := range members {
		admin := b.backend.Admin()
		if drain := admin == pool.Drain; drain != b.drain {
			b.drain = drain
			changed = true
		}
		if maint := admin == pool.Maint; maint != b.maint {
			b.setMaint(maint, now)
			changed = true
		}
	}
	return changed
}

// setMaint takes a backend into maintenance or back from it. Its server is probed as long as another backend wants that.
// The mutex is held.
func (b *member) setMaint(maint bool, now time.Time) {
	b.maint = maint
	b.lag.forget()
	b.behindKnown = false
	if b.target != nil {
		b.target.heedMaint(now)
	}
}
