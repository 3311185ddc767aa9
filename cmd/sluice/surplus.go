package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/l4"
)

const (
	// refusalLines is how many sessions that were turned away get a line of their own in a second, of all listeners
	// together: see l4.Reason.Refused.
	refusalLines = 10
	// failureLines is the same for all other failures, where clean ends are not logged either. Clients that cost
	// themselves nothing cause those too: by a reset after the first byte, or while every server is down.
	failureLines = 100
	// surplusNotice bounds how often those without a line are reported.
	surplusNotice = 10 * time.Second
)

// surplus keeps a flood of clients from filling the log, and from making lines for it. Event loops only look at a
// number and count; tick does the rest.
type surplus struct {
	all      atomic.Bool                   // every failure has a line, but for refusals
	refusals atomic.Int64                  // that may be logged until the next tick; less than 0 = none
	failures atomic.Int64                  // likewise
	counts   atomic.Pointer[surplusCounts] // replaced as a whole
	reported time.Time
}

// surplusCounts does not change, but for the numbers.
type surplusCounts struct {
	listeners []string                  // in the order in which they came
	of        map[string][]surplusCount // by listener, then by l4.Reason
}

// A surplusCount counts the sessions of one listener that ended for one reason without a line.
type surplusCount struct {
	n  atomic.Uint64
	mu sync.Mutex

	client netip.AddrPort // of the first of them
}

// unreported reports whether something was counted since the last report.
func unreported(counts []surplusCount) bool {
	for i := range counts {
		if counts[i].n.Load() > 0 {
			return true
		}
	}
	return false
}

func newSurplus(which configs.SessionLog, listeners []string) *surplus {
	s := new(surplus)
	s.counts.Store(new(surplusCounts))
	s.follow(which, listeners)
	s.refill()
	return s
}

// follow takes in which sessions are logged now, and which listeners there are. Those that are gone stay until what was
// counted of them is reported.
func (s *surplus) follow(which configs.SessionLog, listeners []string) {
	s.all.Store(which == configs.SessionsAll)
	was := s.counts.Load()
	next := &surplusCounts{of: make(map[string][]surplusCount, len(listeners))}
	for _, name := range was.listeners {
		if of := was.of[name]; slices.Contains(listeners, name) || unreported(of) {
			next.listeners, next.of[name] = append(next.listeners, name), of
		}
	}
	for _, name := range listeners {
		if next.of[name] == nil {
			next.listeners = append(next.listeners, name)
			next.of[name] = make([]surplusCount, len(l4.Reasons())+1) // they begin at 1
		}
	}
	s.counts.Store(next)
}

func (s *surplus) refill() {
	s.refusals.Store(refusalLines)
	s.failures.Store(failureLines)
}

// suppress reports whether a session must not have a line of its own, and has counted it then. It is called on event
// loops.
func (s *surplus) suppress(end *l4.End) bool {
	lines := &s.failures
	switch {
	case end.Reason.Refused():
		lines = &s.refusals
	case s.all.Load():
		return false
	}
	counts := s.counts.Load().of[end.Listener]
	if counts == nil || lines.Load() > 0 && lines.Add(-1) >= 0 {
		return false
	}
	c := &counts[end.Reason]
	if c.n.Add(1) == 1 {
		c.mu.Lock()
		c.client = end.Client
		c.mu.Unlock()
	}
	return true
}

// tick is called once a second by the goroutine that logs.
func (s *surplus) tick(log *slog.Logger) {
	s.refill()
	if time.Since(s.reported) >= surplusNotice {
		s.report(log)
	}
}

// report logs how many sessions ended without a line since the last report, and whose one of them was.
func (s *surplus) report(log *slog.Logger) {
	all := s.counts.Load()
	for _, name := range all.listeners {
		for i := range all.of[name] {
			c, reason := &all.of[name][i], l4.Reason(i)
			n := c.n.Swap(0)
			if n == 0 {
				continue
			}
			message := "sessions failed"
			if reason.Refused() {
				message = "sessions refused"
			}
			c.mu.Lock()
			client := admin.ClientText(c.client)
			c.mu.Unlock()
			log.LogAttrs(context.Background(), slog.LevelWarn, message, slog.String("listener", name),
				slog.String("reason", reason.String()), slog.Uint64("count", n), slog.String("client", client))
			s.reported = time.Now()
		}
	}
}

// spare reports whether a session that ends with a reason may have a line of its own now.
func (s *surplus) spare(reason l4.Reason) bool {
	if reason.Refused() {
		return s.refusals.Load() > 0
	}
	return s.all.Load() || s.failures.Load() > 0
}
