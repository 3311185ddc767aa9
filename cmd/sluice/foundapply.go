package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/health"
	"sluice/pool"
	"sluice/pool/discovery"
)

// foundPause is how long it takes at least from one change of what sources have found to the next: they may have news at
// the same time.
const foundPause = 50 * time.Millisecond

// foundSlack is how much longer than remove_after a backend stays at most, where nothing else happens.
const foundSlack = time.Second + foundPause

// noteFound says that a source has news. It does not block.
func (w *world) noteFound() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// followFound puts in force what sources find, until ctx is done.
func (w *world) followFound(ctx context.Context) {
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.news:
		case <-due.C:
		}
		if at := w.applyFound(time.Now()); at.IsZero() {
			due.Stop()
		} else {
			due.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(foundPause):
		}
	}
}

// poolNews is what sources have found of one pool since.
type poolNews struct {
	pool int // its number in the configuration
	*found
}

// applyFound puts in force what sources have found since the generation was made, and takes out what has been gone for long
// enough. It returns when the next one will have been; zero: nothing is gone.
//
// It is an apply of the pools concerned alone: these go through the same transition. The number of the generation stays,
// which counts configurations.
func (w *world) applyFound(now time.Time) (due time.Time) {
	w.applying.Lock()
	defer w.applying.Unlock()
	if w.leaving || w.held {
		return time.Time{}
	}
	was := w.now.Load()
	news := was.refind(w.watch, now)
	if err := w.enactFound(was, news); err != nil {
		for i := range news { // one that cannot be is not to hold up the others
			one := news[i : i+1]
			w.refuseFound(was.file.Pools[one[0].pool].Config.Name, w.enactFound(w.now.Load(), one))
		}
	} else if len(news) > 0 {
		w.refused.Clear()
	}
	return w.now.Load().due()
}

// refind returns of which pools there are news.
func (g *generation) refind(watch *discovery.Watch, now time.Time) (news []poolNews) {
	own := g.file.Barred()
	for i := range g.file.Pools {
		p := &g.file.Pools[i]
		is := g.found[p.Config.Name]
		if is == nil {
			continue
		}
		feeds := feedsOf(p, g.set.Removed(p.Config.Name), watch)
		if due := is.members.Due(); sameFeeds(is.feeds, feeds) && (due.IsZero() || due.After(now)) {
			continue
		}
		news = append(news, poolNews{i, foundOf(p, feeds, is.members, own, now)})
	}
	return news
}

// due returns when backends are to be removed that have been gone for long enough; zero: none is gone. It is a little later
// than the first could be, so that one that goes each second is removed with the news of another.
func (g *generation) due() (first time.Time) {
	for i := range g.file.Pools {
		p := &g.file.Pools[i]
		at := g.membersOf(p.Config.Name).Due()
		if at.IsZero() {
			continue
		}
		at = at.Add(min(foundSlack, p.RemoveAfter/10))
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// with returns the generation with news of its pools.
func (g *generation) with(news []poolNews) *generation {
	next := *g
	next.known, next.found = withPools(g.known), maps.Clone(g.found)
	for _, n := range news {
		next.find(n.pool, n.found)
	}
	next.force = g.set.Apply(next.known, next.entryOf)
	return &next
}

// enactFound puts news of pools in force, or changes nothing.
func (w *world) enactFound(was *generation, news []poolNews) error {
	if len(news) == 0 {
		return nil
	}
	t := &transition{w: w, was: was, next: was.with(news)}
	var watched []health.Watched
	for _, n := range news {
		p := &t.next.force.Pools[n.pool]
		if slices.Equal(was.force.Pools[n.pool].Config.Backends, p.Config.Backends) {
			continue
		}
		of, backends, err := t.preparePool(p)
		if err != nil {
			t.abandon()
			return err
		}
		watched = append(watched, health.Watched{Pool: of, Backends: backends, Config: p.Health})
	}
	var err error
	if t.watched, err = w.monitor.PrepareSome(watched); err != nil {
		t.abandon()
		return err
	}
	t.commitFound()
	for _, n := range news {
		name := was.file.Pools[n.pool].Config.Name
		w.logLeftOut(name, was.membersOf(name).Problems(), n.members.Problems())
	}
	return nil
}

// commitFound is commit of the pools that were prepared alone.
func (t *transition) commitFound() {
	w := t.w
	for _, u := range t.updates {
		c := u.Commit()
		w.metrics.FollowChange(c)
		w.logGone(c.Removed)
	}
	w.now.Store(t.next)
	t.watched.Commit()
	if !slices.Equal(t.was.sources(), t.next.sources()) {
		w.followSources(t.next)
	}
	w.foundNews = true
}

// sources returns the keys of all sources of the feeds.
func (g *generation) sources() (keys []string) {
	for _, f := range g.found {
		keys = append(keys, f.sources()...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// leftOutLines is how many backends are logged that cannot be one: an answer may have thousands.
const leftOutLines = 20

// logLeftOut says which of the backends that sources have found are left out of a pool, and were not before.
func (w *world) logLeftOut(pool string, before, now []discovery.Problem) {
	known, fresh := make(map[discovery.Problem]bool, len(before)), 0
	for _, p := range before {
		known[p] = true
	}
	for _, p := range now {
		if known[p] {
			continue
		}
		if fresh++; fresh <= leftOutLines {
			w.log.Warn("a backend that a source has found is left out", "pool", pool, "source", p.Source, "backend", p.Backend, "error", p.Problem)
		}
	}
	if more := fresh - leftOutLines; more > 0 {
		w.log.Warn("more backends that sources have found are left out", "pool", pool, "backends", more)
	}
}

// logGone says which backends of a pool had vanished and are removed now. What is new in answers the sources say.
func (w *world) logGone(removed []*pool.Backend) {
	var names []string
	sessions := 0
	for _, b := range removed {
		if b.Vanished() {
			names = append(names, b.Name())
			sessions += b.Stats().Active
		}
	}
	if len(names) > 0 {
		w.log.Info("backends that no source has any more are removed", "pool", removed[0].Pool().Name(), "backends", someOf(names), "sessions", sessions)
	}
}

// refuseFound notes why what sources have found of a pool cannot be put in force, or that it is; err is nil then.
func (w *world) refuseFound(name string, err error) {
	if err == nil {
		w.refused.Delete(name)
		return
	}
	text := strings.TrimSpace(err.Error())
	if before, _ := w.refused.Swap(name, text); before != text {
		w.log.Error("what sources have found is not in force", "pool", name, "error", text)
	}
}
