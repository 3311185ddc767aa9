package main

import (
	"slices"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/health"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/pool"
)

// errLeaving is why nothing can change any more.
var errLeaving = admin.Conflictf("sluice is draining: nothing changes any more")

// apply puts a configuration in force, with what an operator has set; a dry run only says what that would change. It is
// the one way in which a world changes: the start, a reload and a command are all an apply. next says what is to be, from
// what is.
//
// It is all or nothing. Everything that can fail is done first: nothing of what runs has changed then, and an error means
// that nothing will. What survives is that which stays under its name: a listener's counters and clients, a pool's queue,
// a backend's counters, active connections and health.
func (w *world) apply(dry bool, next func(was *generation) (*configs.File, overrides.Set, error)) (change.Change, error) {
	w.applying.Lock()
	defer w.applying.Unlock()
	switch {
	case w.leaving:
		return change.Change{}, errLeaving
	case w.held:
		return change.Change{}, errUnderWay
	}
	defer w.watch.Restore(nil) // what was asked for in vain
	was := w.now.Load()
	file, set, err := next(was)
	if err != nil {
		return change.Change{}, err
	}
	to := &generation{number: was.number + 1, since: time.Now(), file: file, set: set}
	to.expand(was, w.watch, time.Now())
	if err := to.deserts(was); err != nil {
		return change.Change{}, err
	}
	if w.from != nil { // it goes on counting
		to.number += w.from.state.Generation
	}
	c := w.difference(was, to)
	if dry {
		c.DryRun, c.Generation = true, was.number
		return c, nil
	}
	t, err := w.prepare(was, to)
	if err != nil {
		return change.Change{}, err
	}
	t.commit()
	if was.number > 0 && (!set.Equal(was.set) || file.Admin.StateFile != was.file.Admin.StateFile) {
		w.saveState(to, &c)
	}
	return c, nil
}

// stay lets nothing change any more. The state file is a successor's from now on: what it has set since must not be
// overwritten.
func (w *world) stay() {
	w.applying.Lock()
	defer w.applying.Unlock()
	if !w.leaving {
		w.saveNews(0)
		w.leaving = true
		w.endSources()
	}
}

// difference says what becomes of what runs.
func (w *world) difference(was, next *generation) change.Change {
	c := change.Between(was.force, next.force)
	c.Generation = next.number
	if was.number == 0 {
		c.Pending = nil // it is the start that they wait for
	}
	next.pending = mergePending(was.pending, c.Pending)
	for _, s := range next.set.Hiding(was.known, next.known) {
		c.Hidden = append(c.Hidden, change.Hidden{
			Pool: s.Pool, Backend: s.Backend, Key: s.Key, Value: s.Value, InFile: s.InFile(next.known),
		})
	}
	for _, s := range next.set.All() {
		if err := s.Barred(next.known); err != nil {
			c.Warnings = append(c.Warnings, err.Error())
		}
	}
	c.GoOn = w.goOn(was, &c)
	if next.file != was.file { // of the one that stays they have been told
		for _, warning := range next.file.Warnings {
			c.Warnings = append(c.Warnings, warning.String())
		}
	}
	return c
}

// mergePending adds what waits for the next start now to what did so before.
func mergePending(before, now []change.Key) (all []change.Key) {
	changed := func(old change.Key) bool {
		return slices.ContainsFunc(now, func(k change.Key) bool { return k.Key == old.Key })
	}
	for _, k := range now {
		if i := slices.IndexFunc(before, func(old change.Key) bool { return old.Key == k.Key }); i >= 0 {
			k.From = before[i].From
		}
		if k.From != k.To {
			all = append(all, k)
		}
	}
	return append(all, slices.DeleteFunc(slices.Clone(before), changed)...)
}

// A transition is one apply of which nothing can fail any more.
type transition struct {
	w         *world
	was, next *generation
	updates   []*pool.Update // of pools that stay
	sockets   *adminSockets
	watched   *health.Prepared
	listening *l4.Prepared
}

// prepare does all that can fail of what leads to the next generation.
func (w *world) prepare(was, next *generation) (_ *transition, err error) {
	t := &transition{w: w, was: was, next: next}
	defer func() {
		if err != nil {
			t.abandon()
		}
	}()
	if err := t.preparePools(); err != nil {
		return nil, err
	}
	if t.sockets, err = w.openAdmin(was, &next.force.Admin); err != nil {
		return nil, err
	}
	next.admin = t.sockets.adminListeners
	next.limits = limitsOf(next.force, w.loops, w.files, w.pipes.Limit)
	if t.listening, err = w.server.Prepare(w.listening(next)); err != nil {
		return nil, advise(err, w.advice.listener)
	}
	return t, nil
}

// preparePools makes the pools that are new, and readies those that stay; their health checks too.
func (t *transition) preparePools() (err error) {
	var watched []health.Watched
	t.next.byName = make(map[string]*pool.Pool, len(t.next.force.Pools))
	for i := range t.next.force.Pools {
		p := &t.next.force.Pools[i]
		made, backends, err := t.preparePool(p)
		if err != nil {
			return err
		}
		t.next.pools, t.next.byName[p.Config.Name] = append(t.next.pools, made), made
		watched = append(watched, health.Watched{Pool: made, Backends: backends, Config: p.Health})
	}
	t.watched, err = t.w.monitor.Prepare(watched)
	return err
}

func (t *transition) preparePool(p *configs.Pool) (*pool.Pool, []*pool.Backend, error) {
	config := p.Config
	config.Shards = t.w.loops
	is := t.was.pool(config.Name)
	if is == nil {
		made, err := pool.New(config)
		if err != nil {
			return nil, nil, err
		}
		return made, made.Backends(), nil
	}
	config.Backends = unproven(config.Backends, &p.Health)
	u, err := is.Prepare(config)
	if err != nil {
		return nil, nil, err
	}
	t.updates = append(t.updates, u)
	return is, u.Backends(), nil
}

// unproven lets backends that join a pool that serves begin down: the first check says whether they serve too. Where none
// of the others can serve they are up at once, unless it is for a check to say what they are.
func unproven(backends []pool.BackendConfig, check *health.Config) []pool.BackendConfig {
	if check.Probe.Kind == probe.Off {
		return backends
	}
	next := slices.Clone(backends)
	for i := range next {
		next[i].Down, next[i].Unproven = check.Judged(), !check.Judged() // of one that stays they have no meaning
	}
	return next
}

// replaceAdmin lets the admin API be asked where it is to be from now on. Before the start it is not asked at all.
func (t *transition) replaceAdmin() {
	if !t.w.started {
		return
	}
	for _, l := range t.sockets.gone {
		t.w.admin.Retire(l)
	}
	t.w.serveAdmin(t.was.admin, t.next.admin)
	is, files := t.next.admin.socket, t.next.force.Admin.SocketFile
	if is != nil && is == t.was.admin.socket && !files.Equal(t.was.force.Admin.SocketFile) {
		if err := admin.SetOwners(is, files); err != nil {
			t.w.log.Warn("the control socket keeps its owners and mode: give them by hand, or start sluice again", "error", err)
		}
	}
}

// abandon gives up what was prepared.
func (t *transition) abandon() {
	for _, u := range t.updates {
		u.Abandon()
	}
	if t.watched != nil {
		t.watched.Abandon()
	}
	if t.sockets != nil {
		t.sockets.close()
	}
}

// commit makes the next generation the one in force. What counts is told of new backends before there are sessions on
// them.
func (t *transition) commit() {
	w := t.w
	for _, u := range t.updates {
		u.Commit()
	}
	w.metrics.Follow(t.next.pools)
	w.level.Set(t.next.force.Log.Level) // before sessions.follow, which goes by it
	w.sessions.follow(t.next.force)
	w.now.Store(t.next)
	t.watched.Commit()
	t.listening.Commit()
	t.replaceAdmin()
	w.followSources(t.next)
	w.foundNews = w.foundNews || len(t.was.found)+len(t.next.found) > 0
	w.refused.Clear()
	w.noteFound() // of sources that have answered meanwhile
}
