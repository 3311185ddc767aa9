package health

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// closeStep is the shortest time between two steps of a paced closing.
	closeStep = 10 * time.Millisecond
	// sweepInterval is how long to wait for sessions that could not be ended with the others, because their connect
	// was under way.
	sweepInterval = time.Second
)

// closing is what becomes of the live sessions of a backend that is out. It stays until the backend is back.
type closing struct {
	cause      Cause
	rule       CloseRule
	redispatch bool      // is to be done
	next       time.Time // of the next step; zero: there is none
	begun      bool      // the grace is over
	kept       bool      // it was then decided that the check may be wrong: until another backend is up
	credit     int64     // of sessions to end, times a second
	count      int       // of sessions that were ended and not reported yet
}

func newClosing(c Cause, rule CloseRule, now time.Time) *closing {
	n := &closing{cause: c, rule: rule, redispatch: c != CauseDrain && c != CauseRemoved} // these say nothing of the server
	if rule.Close {
		n.next = now.Add(rule.Grace)
	}
	return n
}

// yields reports whether a new cause's rule takes the place of the one that is followed. A demoted server that falls
// silent too, or is removed, is no reason to be patient with it.
func (c *closing) yields(to Cause, rule CloseRule) bool {
	switch {
	case to == c.cause:
		return false
	case c.cause == CauseDemoted && (to == CauseFailed || to == CauseMaint || to == CauseDrain || to == CauseRemoved):
		return !c.rule.Close
	case c.cause == CauseFailed && to == CauseDemoted:
		return rule.Close
	}
	return true
}

// follow takes in that the rule has changed.
func (c *closing) follow(rule CloseRule, now time.Time) {
	was := c.rule
	c.rule = rule
	switch {
	case !rule.Close:
		c.next, c.begun, c.kept = time.Time{}, false, false
	case !was.Close:
		c.next = now.Add(rule.Grace)
	case !c.begun && !c.next.IsZero():
		c.next = c.next.Add(rule.Grace - was.Grace)
	}
}

// take returns how many sessions are to be ended now, 0 for all, and sets the time of the next step. Steps that came
// late are not made up for: closing at a rate means never in a storm.
func (c *closing) take(now time.Time) (limit int) {
	if c.rule.Rate <= 0 {
		c.next = time.Time{}
		return 0
	}
	rate := int64(c.rule.Rate)
	step := max(closeStep, time.Duration((int64(time.Second)+rate-1)/rate)) // long enough for one session
	c.credit += rate * int64(step)
	limit = int(c.credit / int64(time.Second))
	c.credit %= int64(time.Second)
	if c.next = c.next.Add(step); c.next.Before(now) {
		c.next = now.Add(step)
	}
	return limit
}

// lookClosing starts, changes or stops the closing of a backend's sessions as its state wants it. The mutex is held.
func (m *Monitor) lookClosing(b *member, now time.Time) {
	if m.sessions == nil {
		return
	}
	why := b.outFor()
	if c := b.closing; c != nil && (why == CauseNone || b.serverCause() == CauseNone && c.cause != why) {
		m.endClosing(b) // the server is back
	}
	rule := b.pool.cfg.OnDown.rule(why)
	if why != CauseNone && (b.closing == nil || b.closing.yields(why, rule)) {
		m.endClosing(b)
		b.closing = newClosing(why, rule, now)
		wakeUp(b.pool.wakeClosing)
	}
}

// endClosing stops the closing of a backend's sessions. The mutex is held.
func (m *Monitor) endClosing(b *member) {
	if b.closing != nil {
		m.sayClosed(b, b.closing)
		b.closing = nil
	}
}

// closeSessions carries out the closings of one pool until ctx is done.
func (m *Monitor) closeSessions(ctx context.Context, w *poolWatch) {
	timer := newTimer()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wakeClosing:
		case <-timer.C:
		}
		steps, next := m.closeSteps(w, time.Now())
		for ; len(steps) > 0 && ctx.Err() == nil; steps, next = m.closeSteps(w, time.Now()) {
			for _, s := range steps {
				m.closeStep(s)
			}
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// step is something to be done with the sessions of a backend.
type step struct {
	member     *member
	closing    *closing
	redispatch bool
	end        bool
	limit      int // 0 = all
}

// closeSteps returns what is to be done now, or else when the next thing is: zero when there is none.
func (m *Monitor) closeSteps(w *poolWatch, now time.Time) (steps []step, next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	outages := sync.OnceValue(w.outages)
	for b := range w.all {
		c := b.closing
		if c == nil {
			continue
		}
		s := step{member: b, closing: c, redispatch: c.redispatch}
		c.redispatch = false
		if !c.next.IsZero() && !c.next.After(now) && m.mayEnd(b, outages) {
			s.end, s.limit = true, c.take(now)
		}
		if s.redispatch || s.end {
			steps = append(steps, s)
		}
		if !c.next.IsZero() && (next.IsZero() || c.next.Before(next)) {
			next = c.next
		}
	}
	return steps, next
}

// mayEnd reports whether sessions of a backend are really to be ended, now that it is time for it. The outages are those of
// its pool. The mutex is held.
func (m *Monitor) mayEnd(b *member, outages func() []outage) bool {
	c, stats := b.closing, b.backend.Stats()
	if stats.Active == 0 { // and it stays so: the backend takes none
		m.sayClosed(b, c)
		c.next = time.Time{}
		return false
	}
	if c.begun {
		return true
	}
	c.begun = true
	if c.cause == CauseFailed && allDown(b.outage(), outages(), b.pool.cfg.stormWindow()) && b.hasMoved(stats.Received) {
		c.kept, b.pool.keeps, c.next = true, true, time.Time{}
		m.say(slog.LevelWarn, "every check of the pool fails at once while its connections still move bytes: "+
			"sessions are kept: is it the check?", backendAttrs(b.backend), slog.Int("sessions", stats.Active))
		return false
	}
	m.sayClosing(b, stats.Active)
	return true
}

// endKeeping begins to close sessions that were kept because the check could be wrong, when another backend is up: the
// check can succeed, and where only one server at a time is the right one, it is not this one any more. There is no second grace.
// While no other is up they stay kept, idle or not: sessions that are silent do not show that the server is dead. The
// mutex is held.
func (m *Monitor) endKeeping(w *poolWatch, now time.Time) {
	if !w.keeps { // this is called for every probe of every member
		return
	}
	w.keeps = false
	for b := range w.all {
		c := b.closing
		if c == nil || !c.kept {
			continue
		}
		if !b.otherAnswers() {
			w.keeps = true
			continue
		}
		c.kept, c.next = false, now
		if active := b.backend.Stats().Active; active > 0 {
			m.sayClosing(b, active)
		}
		wakeUp(w.wakeClosing)
	}
}

// otherAnswers reports whether another backend of the pool is up and has succeeded in its last check. One that is only
// about to go down does not count. The mutex is held.
func (b *member) otherAnswers() bool {
	for _, o := range b.pool.members {
		if o != b && !o.maint && o.target != nil && o.verdict.up && o.target.checks.successes > 0 {
			return true
		}
	}
	return false
}

// sayClosing reports that sessions are about to be ended. The mutex is held.
func (m *Monitor) sayClosing(b *member, sessions int) {
	m.say(slog.LevelInfo, "closing sessions", backendAttrs(b.backend), slog.String("cause", b.closing.cause.String()),
		slog.Int("sessions", sessions), slog.Int("rate", b.closing.rule.Rate))
}

// closeStep does what a step says. The mutex is not held: it may take milliseconds.
func (m *Monitor) closeStep(s step) {
	if s.redispatch {
		m.sessions.Redispatch(s.member.backend)
	}
	if !s.end {
		return
	}
	n := m.sessions.End(s.member.backend, s.closing.cause, s.limit)

	m.mu.Lock()
	defer m.mu.Unlock()
	c := s.closing
	c.count += n
	switch {
	case s.member.closing != c: // the backend is back, or out for another cause
		m.sayClosed(s.member, c)
	case s.limit == 0 || n < s.limit:
		m.sayClosed(s.member, c)
		c.next = time.Now().Add(sweepInterval)
	}
}

// sayClosed reports sessions that were ended, if there were any. The mutex is held.
func (m *Monitor) sayClosed(b *member, c *closing) {
	if c.count > 0 {
		m.say(slog.LevelInfo, "sessions closed", backendAttrs(b.backend), slog.String("cause", c.cause.String()),
			slog.Int("sessions", c.count))
	}
	c.count = 0
}

// outages returns how the checks of the pool's backends fail. The mutex is held.
func (w *poolWatch) outages() (all []outage) {
	for _, b := range w.members {
		if !b.maint && b.target != nil {
			all = append(all, b.outage())
		}
	}
	return all
}

// outage returns how the backend's checks fail. The mutex is held.
func (b *member) outage() outage {
	o := outage{failing: b.target.checks.failures > 0 || b.verdict.cause == CauseFailed, began: b.failing.began}
	if !b.verdict.up {
		o.out = b.since
	}
	return o
}
