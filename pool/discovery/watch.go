package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Options are what a Watch needs of its owner.
type Options struct {
	Logger *slog.Logger
	// Changed is called when an answer or what is wrong with a source is another one. It is called from any goroutine, must
	// not block, and may call the Watch.
	Changed func()
	// Keeps reports whether the backends of a source stay when it says that there are none; nil: they never do. It must not
	// block, nor call the Watch.
	Keeps func(source string) bool
}

// A Watch runs sources and keeps what they say. It is safe for concurrent use.
type Watch struct {
	logger  *slog.Logger
	changed func()
	keeps   func(source string) bool

	mu       sync.Mutex
	watched  map[string]*watched // by key
	restored map[string]*watched // what was saved, for the next Follow, by key
	about    map[string][]string // keys of all those, by subject
	running  context.Context     // of Run; nil = it has not been called
	sources  sync.WaitGroup
}

// NewWatch returns a Watch that follows nothing yet.
func NewWatch(o Options) *Watch {
	w := &Watch{logger: o.Logger, changed: o.Changed, keeps: o.Keeps, watched: map[string]*watched{}}
	if w.logger == nil {
		w.logger = slog.New(slog.DiscardHandler)
	}
	if w.keeps == nil {
		w.keeps = func(string) bool { return false }
	}
	return w
}

// watched is one source that is followed. The Watch's mutex guards it.
type watched struct {
	source Source
	since  time.Time
	end    context.CancelFunc // nil = it does not run yet
	answer Answer
	health
}

// Follow says which sources are wanted. Those that are new run from now on, or from Run on; those that are not wanted any
// more end, and what they have said is forgotten. One whose key is there already stays, and is not asked anew.
//
// A source that is new begins with the answer that was restored for it. Without that it begins with the last one of a
// source that differs in options alone, so that a change of how it is asked does not empty pools.
func (w *Watch) Follow(sources []Source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := make(map[string]*watched, len(sources))
	for _, s := range sources {
		if key := s.Key(); w.watched[key] != nil {
			next[key] = w.watched[key]
		} else if next[key] == nil {
			next[key] = w.newWatched(key, s)
		}
	}
	for key, s := range w.watched {
		if next[key] == nil && s.end != nil {
			s.end()
		}
	}
	w.watched, w.restored = next, nil
	w.index()
	if w.running != nil {
		w.start()
	}
}

// newWatched returns a source that does not run yet. The mutex is held.
func (w *Watch) newWatched(key string, source Source) *watched {
	s := &watched{source: source, since: time.Now()}
	if before := w.before(key); before != nil {
		s.answer, s.answer.Restored = before.answer, true
		if set := s.answer.Set(w.keeps(key)); len(set) > 0 {
			w.logger.Info("source has not answered yet: its backends are those of its last answer", "source", key,
				"backends", len(set), "answered", ago(s.answer.At))
		}
	}
	if saved := w.restored[key]; saved != nil {
		s.answers, s.failures = saved.answers, saved.failures
	}
	return s
}

// endTime is how long sources have to end. One that reads a file from a server that hangs does not.
const endTime = time.Second

// Run runs the sources until ctx is done, and returns when all have ended, or endTime later. It is called once.
func (w *Watch) Run(ctx context.Context) {
	w.mu.Lock()
	w.running = ctx
	w.start()
	w.mu.Unlock()
	<-ctx.Done()
	ended := make(chan struct{})
	go func() {
		w.sources.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(endTime):
		w.logger.Warn("sources hang and are not waited for")
	}
}

// start runs the sources that do not run yet. After the end of Run there is nothing to start. The mutex is held.
func (w *Watch) start() {
	for _, s := range w.watched {
		if s.end != nil || w.running.Err() != nil {
			continue
		}
		var ctx context.Context
		ctx, s.end = context.WithCancel(w.running)
		w.sources.Go(func() { s.source.Run(ctx, func(r Report) { w.report(ctx, s, r) }) })
	}
}

// report takes what a source says. One that has ended says nothing any more.
func (w *Watch) report(ctx context.Context, s *watched, r Report) {
	var set []Found
	if r.Err == nil {
		set, r = usable(r)
	}
	if w.take(ctx, s, r, set) {
		w.changed()
	}
}

// usable returns the set of a report, and the report with what is wrong with the rest. One that has backends of which none
// can be used is no answer: it does not say that there are none.
func usable(r Report) ([]Found, Report) {
	set, warnings := tidy(r.Found)
	if len(r.Found) > 0 && len(set) == 0 {
		return nil, Report{Err: fmt.Errorf("no backend can be used: %s", warnings[0]), Next: r.Next}
	}
	r.Warnings = slices.Concat(r.Warnings, warnings)
	for i, text := range r.Warnings {
		r.Warnings[i] = short(text)
	}
	slices.Sort(r.Warnings)
	return set, r
}

// take is report with the mutex held; it reports whether there is anything to tell.
func (w *Watch) take(ctx context.Context, s *watched, r Report, set []Found) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	log := w.logger.With("source", s.source.Key())
	s.next = r.Next
	if r.Err != nil {
		if r.Other {
			return s.fail(log, r.Err)
		}
		return s.fail(log, r.Err, s.answer.meanwhile(w.keeps(s.source.Key()))...)
	}
	other := s.succeed(log, r.Warnings)
	before := s.answer
	next, changed := before.follow(set, time.Now())
	if s.answer, s.reason = next, short(r.Reason); changed && !r.Other {
		logChange(log, before, next, w.keeps(s.source.Key()), s.reason)
	}
	return changed || other
}

// Answer returns what a source has said last, by its key.
func (w *Watch) Answer(key string) Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.watched[key]; s != nil {
		return s.answer
	}
	if before := w.before(key); before != nil {
		a := before.answer
		a.Restored = true
		return a
	}
	return Answer{}
}
