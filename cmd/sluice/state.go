package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/cmd/sluice/internal/statefile"
	"sluice/configs"
	"sluice/health"
	"sluice/pool/discovery"
)

// stateInterval is how often it is looked whether there is something to write that no command has said.
const stateInterval = 5 * time.Second

// foundInterval is how often what sources have found is written at most: ten thousand backends take a megabyte.
const foundInterval = 30 * time.Second

// loadState returns what the process before has left. A file that cannot be read is no reason not to serve.
func (w *world) loadState(file *configs.File) overrides.Set {
	path := file.Admin.StateFile
	if path == "" {
		return overrides.Set{}
	}
	s, err := statefile.Load(path)
	if err != nil {
		w.log.Error("the state file is not used: overrides of before are not in force", "error", err)
		if _, there := os.Lstat(path); there == nil { // it could not be put aside: what it holds is not to be lost
			w.foreign = path
		}
		return overrides.Set{}
	}
	w.restoreTimelines(s.Timelines)
	w.restoreFound(s.Answers, s.Vanished)
	w.written, _ = w.timelines() // an error comes again where they are written
	if n := len(s.Overrides); n > 0 {
		w.log.Info("overrides are in force again", "count", n, "file", path, "written", s.Written)
	}
	return w.setOf(file, s.Overrides)
}

// adoptState returns what the process before has set. The state file is still that one's.
func (w *world) adoptState(file *configs.File) overrides.Set {
	s := &w.from.state
	w.restoreTimelines(s.Timelines)
	answers := w.from.answers()
	w.restoreFound(answers, s.Vanished)
	known := make([]string, 0, len(answers))
	for _, a := range answers {
		known = append(known, a.Source)
	}
	w.watch.Restore(slices.Concat(answers, w.askNew(file, known))) // the file may have changed
	w.foreign = s.Unreadable
	if s.LastReload != nil {
		last := &lastReload{at: s.LastReload.At}
		if !s.LastReload.OK { // what was wrong is right by now: this process has read it
			last.at = time.Now()
		}
		w.last.Store(last)
	}
	return w.setOf(file, s.Overrides)
}

func (w *world) restoreTimelines(text []byte) {
	if len(text) == 0 {
		return
	}
	var known health.Timelines
	if err := json.Unmarshal(text, &known); err != nil {
		w.log.Error("the timelines of before are not used", "error", err)
	}
	w.monitor.Restore(known)
}

// restoreFound makes what sources have found before what they have found here, until they answer. It is called before the
// first apply.
func (w *world) restoreFound(answers []discovery.Saved, vanished []statefile.Vanished) {
	w.watch.Restore(answers)
	of := make(map[string][]discovery.SavedMember)
	for _, v := range vanished {
		of[v.Pool] = append(of[v.Pool], v.SavedMember)
	}
	g := *w.now.Load()
	g.found = make(map[string]*found, len(of))
	for pool, saved := range of {
		g.found[pool] = &found{members: discovery.RestoreMembers(saved)}
	}
	w.now.Store(&g)
}

// vanished returns the backends that no source has any more.
func (g *generation) vanished() (all []statefile.Vanished) {
	for _, p := range g.pools {
		for _, s := range g.membersOf(p.Name()).Saved() {
			all = append(all, statefile.Vanished{Pool: p.Name(), SavedMember: s})
		}
	}
	return all
}

// vanishedAfter is vanished once these answers are in force, which may be newer than the generation: who has only them and
// does not know of a backend that they have lost would take it for one that was removed.
func (g *generation) vanishedAfter(answers []discovery.Saved, now time.Time) []statefile.Vanished {
	said := discovery.NewWatch(discovery.Options{})
	said.Restore(answers)
	return g.with(g.refind(said, now)).vanished()
}

func (w *world) setOf(file *configs.File, settings []overrides.Setting) overrides.Set {
	for _, o := range settings {
		if err := o.Barred(file); err != nil {
			w.log.Warn(err.Error())
		}
	}
	return overrides.Set{}.With(settings...)
}

// errForeign is why a state file is left alone that could not be read.
var errForeign = errors.New("the file that is there could not be read at the start: make it readable and start sluice again, or remove it")

// saveState writes what is to outlive the process. What cannot be written is in force all the same: the warning is part of
// the answer. applying is held.
func (w *world) saveState(g *generation, c *change.Change) {
	path := g.file.Admin.StateFile
	if path == "" {
		w.unsaved = false
		return
	}
	timelines, err := w.timelines()
	switch {
	case err != nil:
	case path == w.foreign:
		err = errForeign
	default:
		err = statefile.Save(path, statefile.State{
			Overrides: g.set.All(), Timelines: timelines, Answers: w.watch.Saved(), Vanished: g.vanished(),
		})
	}
	if err != nil {
		if !w.unsaved {
			w.log.Error("the state file cannot be written, and is tried again: overrides, timelines and answers of sources would not outlive a restart",
				"error", err)
		}
		w.unsaved = true
		c.Warnings = append(c.Warnings, "what is set would not outlive a restart: "+err.Error())
		return
	}
	if w.unsaved {
		w.log.Info("the state file is written again", "file", path)
	}
	w.written, w.unsaved = timelines, false
	w.foundNews, w.foundSaved = false, time.Now()
}

// keepState writes the timelines that checks have seen, and what could not be written before, until ctx is done. stay
// writes them for the last time.
func (w *world) keepState(ctx context.Context) {
	look := time.NewTicker(stateInterval)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			w.applying.Lock()
			w.saveNews(foundInterval)
			w.applying.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// saveNews writes the state when there are other timelines than were written last, or when the last attempt failed, and what
// sources have found since, unless that was written not longer ago than pause. applying is held.
func (w *world) saveNews(pause time.Duration) {
	if w.leaving || w.held {
		return
	}
	now, err := w.timelines()
	found := w.foundNews && time.Since(w.foundSaved) >= pause
	if w.unsaved || found || err == nil && !bytes.Equal(now, w.written) {
		w.saveState(w.now.Load(), new(change.Change))
	}
}

// timelines returns those that were seen so far, as they are written; nil: none was.
func (w *world) timelines() ([]byte, error) {
	seen := w.monitor.Timelines()
	if seen.Empty() {
		return nil, nil
	}
	return json.Marshal(seen)
}
