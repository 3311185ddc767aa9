package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	relistPace  = 100 * time.Millisecond // no more lists than one in that time, however much happens
	relistAfter = time.Second            // after an event a second list: the engine may tell before it lists
	relist      = time.Minute            // when nothing happens: what an engine has kept to itself
)

// A link is one life of the connection to an engine: from the first question to the end of its stream of events.
type link struct {
	*engine
	ctx   context.Context
	heard chan event
	found chan listing
	stops chan stop
	tasks sync.WaitGroup

	known  []Container // of the last list
	listed bool        // there was one

	asking    bool      // a list is being asked for
	began     time.Time // when the last one was
	lastEvent time.Time // that may have changed it
	next      *time.Timer
}

// listing is the answer to the question for a list.
type listing struct {
	all       []Container
	restarted []string // of those that were about to end: they did, and were started again
	err       error
}

// stop is a container that was sent the signal that ends it.
type stop struct {
	id string
	at time.Time // by the engine's clock
}

// follow is one link, until it ends or ctx is done. It reports whether the engine has ever answered, and what went wrong.
func follow(ctx context.Context, e *engine) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &link{
		engine: e, ctx: ctx, heard: make(chan event), found: make(chan listing), stops: make(chan stop),
		next: time.NewTimer(0),
	}
	defer l.tasks.Wait()
	defer cancel()
	e.marks.settle()
	if err := e.client.negotiate(ctx); err != nil {
		return false, err
	}
	if e.since.IsZero() {
		e.since = time.Now().Add(-longestStop) // some may be about to end already
	}
	stream, err := e.client.events(ctx, e.since)
	if err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	l.tasks.Go(func() { ended <- l.listen(stream) })
	return l.run(ended)
}

// run is what happens until the link ends.
func (l *link) run(ended <-chan error) (answered bool, err error) {
	for {
		select {
		case e := <-l.heard:
			l.hear(&e)
		case s := <-l.stops:
			l.marks.stops(s.id, s.at, time.Now())
			l.tell()
		case found := <-l.found:
			if found.err != nil {
				return l.listed, found.err
			}
			l.take(found)
		case <-l.next.C:
			l.ask()
		case err := <-ended:
			return l.listed, err
		case <-l.ctx.Done():
			return l.listed, l.ctx.Err()
		}
	}
}

// listen reads the stream of events until it ends.
func (l *link) listen(stream io.ReadCloser) error {
	defer stream.Close()
	err := readEvents(stream, func(e event) {
		select {
		case l.heard <- e:
		case <-l.ctx.Done():
		}
	})
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errStreamEnded
	}
	return fmt.Errorf("read events: %w", err)
}

// hear takes down an event, if it is about a container that is for sluice.
func (l *link) hear(e *event) {
	if e.TimeNano > 0 {
		l.since = e.at()
	}
	if !e.labelled() && !l.knows(e.container()) {
		return
	}
	if e.Type == "container" && e.Action == "kill" {
		l.heardKill(e)
		return
	}
	now := time.Now()
	if l.marks.note(e, now) {
		l.tell()
	}
	l.lastEvent = now
	l.schedule()
}

// heardKill takes down a signal to a container. Only the one that its image, or who has started it, has for that purpose
// is to end it: others make programs write their state or reopen their logs.
func (l *link) heardKill(e *event) {
	told := stop{id: e.Actor.ID, at: e.at()}
	switch signal := e.signal(); signal {
	case 0, signals["KILL"], signals["TERM"]:
		l.marks.stops(told.id, told.at, time.Now())
		l.tell()
	default:
		l.tasks.Go(func() {
			if d, err := l.client.inspect(l.ctx, told.id); err != nil || stopSignal(d.Config.StopSignal) != signal {
				return // if it ends all the same, an event will say so
			}
			select {
			case l.stops <- told:
			case <-l.ctx.Done():
			}
		})
	}
}

func (l *link) knows(id string) bool {
	return slices.ContainsFunc(l.known, func(c Container) bool { return c.ID == id && len(c.Labels) > 0 })
}

// schedule says when the next list is asked for.
func (l *link) schedule() {
	if l.asking {
		return // it is called again then
	}
	at := l.began.Add(relist)
	switch {
	case l.lastEvent.After(l.began):
		at = l.began.Add(relistPace)
	case l.began.Before(l.lastEvent.Add(relistAfter)):
		at = l.lastEvent.Add(relistAfter)
	}
	l.next.Reset(time.Until(at))
}

// ask asks for a list, and whether those that were about to end are still what they were.
func (l *link) ask() {
	if l.asking {
		return
	}
	l.asking, l.began = true, time.Now()
	stopping := l.marks.stopping()
	l.tasks.Go(func() {
		var answer listing
		answer.all, answer.err = l.client.list(l.ctx)
		for _, c := range answer.all {
			told, is := stopping[c.ID]
			if !is {
				continue
			}
			if d, err := l.client.inspect(l.ctx, c.ID); err == nil && d.State.StartedAt.After(told) {
				answer.restarted = append(answer.restarted, c.ID)
			}
		}
		select {
		case l.found <- answer:
		case <-l.ctx.Done():
		}
	})
}

// take makes a list what is known.
func (l *link) take(found listing) {
	l.asking, l.known, l.listed = false, found.all, true
	for _, id := range found.restarted {
		if m := l.marks[id]; m != nil {
			m.stopping = time.Time{}
		}
	}
	l.marks.forget(time.Now())
	l.tell()
	l.schedule()
}

// tell publishes what is known, once there is something.
func (l *link) tell() {
	if !l.listed {
		return
	}
	all := slices.Clone(l.known)
	l.marks.judge(all)
	l.publish(State{Containers: all})
}
