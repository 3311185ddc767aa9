package rebalance

import (
	"context"
	"log/slog"
	"time"

	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
)

// Sessions is how the sessions of a backend are reached.
type Sessions interface {
	// LongestIdle returns at most n sessions that could be closed, those first that have been idle for longest.
	LongestIdle(ctx context.Context, b *pool.Backend, idle time.Duration, n int) ([]l4.SessionRef, error)
	// EndIdle closes one, if it still could be closed.
	EndIdle(ref l4.SessionRef, b *pool.Backend, idle time.Duration) bool
}

const (
	// lookEvery is how often a pool is looked at, and how soon again when nothing can be closed yet.
	lookEvery = time.Second
	// searchEvery is how long to wait when no session is idle: each search looks at all there are.
	searchEvery = 5 * time.Second
	// found is how many sessions one search returns: to look for each by itself would take too long where there are many.
	found = 256
)

// A Watch follows one pool. When a backend comes that takes sessions, what the others have too many is closed at a rate.
type Watch struct {
	pool     *pool.Pool
	sessions Sessions
	log      *slog.Logger

	usable map[*pool.Backend]bool // at the last look; nil: there was none
	look   time.Time              // when the next look is due
	left   Plan                   // what is to be closed yet; empty: nothing
	closed int                    // since that began
	next   time.Time              // when the next session may be closed
	idlers map[*pool.Backend][]l4.SessionRef
}

// NewWatch returns a watch of a pool.
func NewWatch(p *pool.Pool, sessions Sessions, log *slog.Logger) *Watch {
	return &Watch{pool: p, sessions: sessions, log: log}
}

// Step does what is due at a time, and returns when something is due again.
func (w *Watch) Step(ctx context.Context, config configs.Rebalance, now time.Time) time.Time {
	backends := w.pool.Backends()
	if !now.Before(w.look) {
		w.look = now.Add(lookEvery)
		if w.hasCome(backends) {
			w.begin(backends, config, now)
		}
	}
	if len(w.left) == 0 {
		return w.look
	}
	if !now.Before(w.next) {
		w.next = w.close(ctx, backends, config, now)
	}
	if w.next.Before(w.look) {
		return w.next
	}
	return w.look
}

// hasCome reports whether some backend takes sessions that did not at the last look.
func (w *Watch) hasCome(backends []*pool.Backend) (come bool) {
	usable := make(map[*pool.Backend]bool)
	for _, b := range backends {
		if b.Stats().Usable {
			usable[b] = true
			come = come || w.usable != nil && !w.usable[b]
		}
	}
	w.usable = usable
	return come
}

// begin settles how many sessions are to be closed: no more than what is too many now, once slow starts are over. Those
// whose clients do not come back make nobody else's too many.
func (w *Watch) begin(backends []*pool.Backend, config configs.Rebalance, now time.Time) {
	w.left, w.closed, w.next = Planned(backends, config), 0, now
	w.idlers = make(map[*pool.Backend][]l4.SessionRef)
	if n := w.left.Total(); n > 0 {
		w.log.Info("rebalancing", "pool", w.pool.Name(), "sessions", n)
	}
}

// close closes one session of the backend that has most too many, and returns when the next one may be.
func (w *Watch) close(ctx context.Context, backends []*pool.Backend, config configs.Rebalance, now time.Time) time.Time {
	all := stats(backends)
	over := Surplus(all, 0)
	for name := range over {
		if w.left[name] == 0 {
			delete(over, name)
		}
	}
	if len(over) == 0 {
		if !ramps(all) {
			w.end()
		}
		return now.Add(lookEvery)
	}
	for len(over) > 0 {
		name := over.Largest()
		delete(over, name)
		if w.closeOne(ctx, named(backends, name), config.Idle) {
			if w.left[name]--; w.left[name] == 0 {
				delete(w.left, name)
			}
			if w.closed++; len(w.left) == 0 {
				w.end()
			}
			return now.Add(time.Duration(float64(time.Second) / config.Rate))
		}
	}
	return now.Add(searchEvery)
}

// closeOne closes the session of a backend that has been idle for longest.
func (w *Watch) closeOne(ctx context.Context, b *pool.Backend, idle time.Duration) bool {
	if w.closeFound(b, idle) {
		return true
	}
	refs, err := w.sessions.LongestIdle(ctx, b, idle, min(found, w.left[b.Name()]))
	if err != nil {
		return false // it ends
	}
	w.idlers[b] = refs
	return w.closeFound(b, idle)
}

// closeFound closes the first of those that were found that can still be closed.
func (w *Watch) closeFound(b *pool.Backend, idle time.Duration) bool {
	for len(w.idlers[b]) > 0 {
		ref := w.idlers[b][0]
		w.idlers[b] = w.idlers[b][1:]
		if w.sessions.EndIdle(ref, b, idle) {
			return true
		}
	}
	return false
}

func (w *Watch) end() {
	if w.closed > 0 {
		w.log.Info("rebalanced", "pool", w.pool.Name(), "closed", w.closed)
	}
	w.left, w.idlers = nil, nil
}

func stats(backends []*pool.Backend) []pool.BackendStats {
	all := make([]pool.BackendStats, len(backends))
	for i, b := range backends {
		all[i] = b.Stats()
	}
	return all
}

// ramps reports whether some backend has not got its whole share yet.
func ramps(all []pool.BackendStats) bool {
	for _, b := range all {
		if b.Usable && b.Share < 100 {
			return true
		}
	}
	return false
}

func named(backends []*pool.Backend, name string) *pool.Backend {
	for _, b := range backends {
		if b.Name() == name {
			return b
		}
	}
	return nil
}
