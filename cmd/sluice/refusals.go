package main

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"sluice/l4"
)

const (
	// refusalLines is how many refused clients get a line of their own in a second, of all listeners together.
	refusalLines = 10
	// refusalNotice bounds how often those without a line are reported.
	refusalNotice = 10 * time.Second
)

// refusalReasons are those of clients that are refused because of who they are: it costs them nothing to come again.
var refusalReasons = [...]l4.Reason{l4.Denied, l4.RateLimited, l4.ClientLimit}

// refusals keeps a flood of refused clients from filling the log, and from making lines for it. Event loops only look
// at a number and count; tick does the rest.
type refusals struct {
	lines     atomic.Int64 // that may be logged until the next tick; less than 0 = none
	listeners []string
	surplus   map[string]*refusalCounts // without a line, by listener; the map does not change
	reported  time.Time
}

type refusalCounts [len(refusalReasons)]atomic.Uint64

func newRefusals(listeners []string) *refusals {
	r := &refusals{listeners: listeners, surplus: make(map[string]*refusalCounts, len(listeners))}
	r.lines.Store(refusalLines)
	for _, name := range listeners {
		r.surplus[name] = new(refusalCounts)
	}
	return r
}

// suppress reports whether a session must not have a line of its own, and has counted it then. It is called on event
// loops.
func (r *refusals) suppress(end *l4.End) bool {
	i := slices.Index(refusalReasons[:], end.Reason)
	if i < 0 || r.lines.Load() > 0 && r.lines.Add(-1) >= 0 {
		return false
	}
	counts := r.surplus[end.Listener]
	if counts == nil {
		return false
	}
	counts[i].Add(1)
	return true
}

// tick is called once a second by the goroutine that logs.
func (r *refusals) tick(log *slog.Logger) {
	r.lines.Store(refusalLines)
	if time.Since(r.reported) >= refusalNotice {
		r.report(log)
	}
}

// report logs how many clients were refused without a line since the last report.
func (r *refusals) report(log *slog.Logger) {
	for _, name := range r.listeners {
		for i, reason := range refusalReasons {
			n := r.surplus[name][i].Swap(0)
			if n == 0 {
				continue
			}
			log.LogAttrs(context.Background(), slog.LevelWarn, "sessions refused", slog.String("listener", name),
				slog.String("reason", reason.String()), slog.Uint64("count", n))
			r.reported = time.Now()
		}
	}
}
