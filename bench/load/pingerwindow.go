package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Open opens so many further sessions, a few at a time, and returns when each has had a reply.
func (p *Pinger) Open(ctx context.Context, n int) error {
	var fresh []*ping
	err := p.do(func() {
		for range n {
			s := &ping{fd: -1, index: len(p.sessions)}
			p.sessions = append(p.sessions, s)
			fresh = append(fresh, s)
		}
		p.sweep = append(p.sweep, fresh...)
	})
	if err != nil {
		return err
	}
	if err := p.await(ctx, defaultPatience, p.swung); err != nil {
		return fmt.Errorf("open sessions: %w", err)
	}
	do := p.do(func() {
		failed := 0
		for _, s := range fresh {
			if s.lost {
				failed++
			}
		}
		if failed > 0 {
			err = fmt.Errorf("open sessions: %d failed; the first that ever did: %w", failed, p.losses.First)
		}
	})
	return errors.Join(err, do)
}

// Check asks each session once, and returns how many have answered.
func (p *Pinger) Check(ctx context.Context) (alive int, err error) {
	return p.check(ctx, defaultPatience)
}

func (p *Pinger) check(ctx context.Context, patience time.Duration) (alive int, err error) {
	if err := p.do(func() { p.sweep = slices.Clone(p.sessions) }); err != nil {
		return 0, err
	}
	err = p.await(ctx, patience, p.swung)
	if errors.Is(err, errPatience) {
		err = nil // those that do not answer are not alive
	}
	do := p.do(func() {
		for _, s := range p.sweep { // nobody came to these, behind so many that do not answer
			s.swept = true
			p.sweeping++
		}
		p.sweep = nil
		for _, s := range p.sessions {
			if !s.lost && !s.swept {
				alive++
			}
			p.swept(s)
		}
	})
	return alive, errors.Join(err, do)
}

// swung: the sweep is over.
func (p *Pinger) swung() bool { return len(p.sweep) == 0 && p.sweeping == 0 }

// Losses returns what has been lost since the start.
func (p *Pinger) Losses() (l Losses, err error) {
	err = p.do(func() { l = p.losses })
	return l, err
}

// Watch chooses the sessions that are watched from now on: so many, evenly spread over all that are open, of which the
// first is the one of that number. All of those that were are no longer.
func (p *Pinger) Watch(n, from int) error {
	return p.do(func() {
		p.rests = nil
		var alive []*ping
		for _, s := range p.sessions {
			s.watched = false
			if !s.lost {
				alive = append(alive, s)
			}
		}
		all := len(alive)
		n := min(n, all)
		for i := range n {
			s := alive[(from+i*all/n)%all]
			s.watched = true
			// The first messages are spread over the rest, so that the sessions do not speak in chorus.
			if !s.waits {
				p.rests = append(p.rests, nap{s, p.now() + p.plan.Rest*time.Duration(i)/time.Duration(n)})
			}
		}
	})
}

// A Window is what the sessions saw of a stretch of time: of every message that was sent in it or had no reply when it
// began, however late the reply came.
type Window struct {
	Elapsed time.Duration
	Pauses  []time.Duration // the longest that each watched session has waited for a reply; sorted
	Longest time.Duration   // that any session has waited
	Replies Histogram       // of the watched sessions
	Lost    int             // sessions that ended
	Silent  int             // sessions that still had no reply when patience was over
}

// Window lets the time pass that during takes, and tells of it when nobody waits for a reply any more.
func (p *Pinger) Window(ctx context.Context, during func() error) (*Window, error) {
	w := &Window{}
	began, lost := time.Now(), 0
	err := p.do(func() {
		p.open, p.replies, lost = true, Histogram{}, p.losses.All()
		for _, s := range p.sessions {
			s.longest, s.counts = 0, s.waits
		}
	})
	if err != nil {
		return nil, err
	}
	failure := during()
	w.Elapsed = time.Since(began)
	if err := p.do(func() { p.open = false }); err != nil || failure != nil {
		return nil, errors.Join(failure, err)
	}
	if err := p.await(ctx, defaultPatience, p.answered); err != nil && !errors.Is(err, errPatience) {
		return nil, err
	}
	return w, p.do(func() { p.tell(w, lost) })
}

// answered: nothing of the window is outstanding.
func (p *Pinger) answered() bool {
	return !slices.ContainsFunc(p.sessions, func(s *ping) bool { return s.counts })
}

func (p *Pinger) tell(w *Window, lost int) {
	w.Replies, w.Lost = p.replies, p.losses.All()-lost
	for _, s := range p.sessions {
		longest := p.longestWait(s)
		w.Longest = max(w.Longest, longest)
		if s.watched {
			w.Pauses = append(w.Pauses, longest)
		}
		if s.counts {
			w.Silent++
		}
	}
	slices.Sort(w.Pauses)
}

// await returns nil once done, which is asked on the loop, holds; after a while it returns errPatience.
func (p *Pinger) await(ctx context.Context, patience time.Duration, done func() bool) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		holds := false
		if err := p.do(func() { holds = done() }); err != nil || holds {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return errPatience
		case <-tick.C:
		}
	}
}
