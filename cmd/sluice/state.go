package main

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/cmd/sluice/internal/statefile"
	"sluice/configs"
	"sluice/health"
)

// stateInterval is how often it is looked whether there is something to write that no command has said.
const stateInterval = 5 * time.Second

// loadState returns what the process before has left. A file that cannot be read is no reason not to serve.
func (w *world) loadState(file *configs.File) overrides.Set {
	path := file.Admin.StateFile
	if path == "" {
		return overrides.Set{}
	}
	s, err := statefile.Load(path)
	if err != nil {
		w.log.Error("the state file is not used: overrides of before are not in force", "error", err)
		return overrides.Set{}
	}
	if len(s.Timelines) > 0 {
		var known health.Timelines
		if err := json.Unmarshal(s.Timelines, &known); err != nil {
			w.log.Error("the timelines of the state file are not used", "error", err)
		}
		w.monitor.Restore(known)
	}
	w.written = s.Timelines
	if n := len(s.Overrides); n > 0 {
		w.log.Info("overrides are in force again", "count", n, "file", path, "written", s.Written)
	}
	return overrides.Set{}.With(s.Overrides...)
}

// saveState writes what is to outlive the process. What cannot be written is in force all the same: the warning is part of
// the answer. applying is held.
func (w *world) saveState(g *generation, c *change.Change) {
	path := g.file.Admin.StateFile
	if path == "" {
		return
	}
	timelines, err := json.Marshal(w.monitor.Timelines())
	if err == nil {
		err = statefile.Save(path, statefile.State{Overrides: g.set.All(), Timelines: timelines})
	}
	if err != nil {
		w.log.Error("what is set would not outlive a restart", "error", err)
		c.Warnings = append(c.Warnings, "what is set would not outlive a restart: "+err.Error())
		return
	}
	w.written = timelines
}

// keepState writes the timelines that checks have seen, until ctx is done, and then once more.
func (w *world) keepState(ctx context.Context) {
	look := time.NewTicker(stateInterval)
	defer look.Stop()
	for ended := false; !ended; {
		select {
		case <-look.C:
		case <-ctx.Done():
			ended = true
		}
		w.saveTimelines()
	}
}

// saveTimelines writes the state when there are other timelines than were written last.
func (w *world) saveTimelines() {
	w.applying.Lock()
	defer w.applying.Unlock()
	now, err := json.Marshal(w.monitor.Timelines())
	if err != nil || bytes.Equal(now, w.written) || len(w.written) == 0 && w.monitor.Timelines().Empty() {
		return
	}
	w.saveState(w.now.Load(), new(change.Change))
}
