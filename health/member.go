package health

import (
	"context"
	"sync/atomic"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// poolWatch is one pool and what is known of it.
type poolWatch struct {
	pool        *pool.Pool
	wakeClosing chan struct{} // something for the goroutine that closes sessions

	// Guarded by Monitor.mu.
	stop     context.CancelFunc // of that goroutine; nil: it was not started
	cfg      Config
	way      way       // of cfg
	members  []*member // in the order of the pool's backends
	leaving  []*member // removed from the pool, and with sessions still
	seen     timelines
	progress map[uint64]*progress // of each cluster, by system identifier
	lags     bool                 // replicas serve although they lag
	keeps    bool                 // sessions of a member may be kept because the check can be wrong
	split    bool                 // two servers claim to be the primary
	splits   uint64               // how often that began
	ejected  int
	revision uint64 // of the pool, when it was last looked at what the operator wants
	stranded bool   // no backend is usable, and one could be if it were up
}

// member is one backend of a pool.
type member struct {
	pool    *poolWatch
	backend *pool.Backend
	begun   bool   // it has been carried out that it is a member; for Monitor.Apply alone
	plan    uint64 // number of the last plan that has it; likewise

	// Guarded by Monitor.mu.
	backup      bool                  // it is a backup whatever its role
	target      *target               // nil: it is not probed
	removed     bool                  // from the pools that are watched
	maint       bool                  // the operator has it in maintenance
	drain       bool                  // the operator wants no new sessions there
	said        *probe.DatabaseAnswer // the last answer; nil: none
	answer      *probe.DatabaseAnswer // the same, with the role that the server has in this pool
	promoted    bool                  // it was seen read_only before it was writable; of MySQL
	verdict     verdict
	tier        bool          // the pool was told that it is a backup
	since       time.Time     // of verdict.up
	lag         checkState    // does it keep up?
	behind      time.Duration // how much it lagged when it last answered as a replica
	behindKnown bool
	failing     failing
	evidence    evidence
	blamed      atomic.Bool // evidence has failures to forget; read without the mutex
	closing     *closing    // nil: it is not out, or nobody reaches its sessions
}

// failing is where the failures began that took a backend down, or are about to.
type failing struct {
	began    time.Time // end of the first failed check
	received uint64    // by then, from the backend, by all its sessions
	moved    bool      // more had come when a process before this one was asked
}

// hasMoved reports whether the sessions have received anything from the backend since its checks fail. The mutex is held.
func (b *member) hasMoved(received uint64) bool {
	return b.failing.moved || received > b.failing.received
}

// hear takes in what the target has counted last. The mutex is held.
func (b *member) hear(now time.Time, ok bool) {
	t := b.target
	if b.maint {
		return
	}
	if ok && t.answer != nil {
		b.hearRole(t.answer)
		b.pool.hearProgress(b, t.asked, now)
	}
	switch {
	case !ok && t.checks.failures == 1:
		b.fails(now)
	case ok && b.pool.cfg.MaxLag > 0 && t.answer != nil && !b.answer.Primary:
		b.lag.observe(b.behindKnown && b.behind <= b.pool.cfg.MaxLag, t.cfg.Rise, t.cfg.Fall)
	}
	if t.checks.down() || b.answer != nil && b.answer.Primary {
		b.lag.forget() // the next answer as a replica decides alone
	}
}

// fails notes that the checks begin to fail, unless they are what the backend is out for. The mutex is held.
func (b *member) fails(now time.Time) {
	if b.verdict.cause != CauseFailed {
		b.failing = failing{began: now, received: b.backend.Stats().Received}
	}
}

// fact returns what is known of the backend's server. The mutex is held.
func (b *member) fact() fact {
	t := b.target
	f := fact{
		name: b.backend.Name(), before: b.verdict, maint: b.maint, lag: b.lag, behind: b.behind, behindKnown: b.behindKnown,
		vanished: b.backend.Vanished(), wanted: b.backend.Wanted() && !b.evidence.ejected(),
	}
	if t == nil {
		return f
	}
	f.checks, f.failure = t.checks, t.shortage
	if t.last.err != nil && t.checks.failures > 0 {
		f.failure = t.last.err.Error()
	}
	f.answer, f.current, f.answering = b.answer, t.current, t.checks.successes > 0
	f.promoted = b.promoted
	f.asked, f.primarySince = t.asked, t.primarySince
	return f
}

// lookStranded finds out whether the pool has no backend left, and makes its servers be asked more often when that is
// new. A pool whose backends the operator has all taken out is not stranded. The mutex is held.
func (w *poolWatch) lookStranded() {
	was := w.stranded
	w.stranded = w.pool.Usable() == 0 && w.couldServe()
	if !w.stranded || was {
		return
	}
	for _, b := range w.members {
		if b.target != nil {
			wakeUp(b.target.wake)
		}
	}
}

// couldServe reports whether a backend is out only for its checks. The mutex is held.
func (w *poolWatch) couldServe() bool {
	for _, b := range w.members {
		if !b.verdict.up && b.backend.Wanted() {
			return true
		}
	}
	return false
}

// roleOf returns the word of a server's role.
func roleOf(a *probe.DatabaseAnswer) string {
	if a.Primary {
		return RolePrimary.String()
	}
	return RoleReplica.String()
}
