package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
)

// errNothingToRead is why a sluice that flags have configured cannot be told to reload.
var errNothingToRead = admin.Conflictf("there is no file to read again: what flags say cannot change while it runs; use run -c FILE")

// askReload makes a reload happen soon. It does not block.
func (w *world) askReload(by string) {
	select {
	case w.asked <- by:
	default:
	}
}

// reloadWhenAsked reloads whenever it is asked, until ctx is done. Nobody waits for it: it may be reading, from a server of
// files that hangs.
func (w *world) reloadWhenAsked(ctx context.Context) {
	for {
		select {
		case by := <-w.asked:
			_, _ = w.reload(by) // it has been logged
		case <-ctx.Done():
			return
		}
	}
}

// reload reads the configuration again and puts it in force. One that is wrong changes nothing: all that is wrong with it
// is the error, and is logged. Of several one comes after the other, reading included: who has read first must not come
// last.
func (w *world) reload(by string) (change.Change, error) {
	w.reloading.Lock()
	defer w.reloading.Unlock()
	if signs := w.signs.Load(); signs != nil {
		defer signs.reloading()()
	}
	c, err := w.reloadFrom(w.read, false)
	if errors.Is(err, errUnderWay) { // it says nothing of the configuration, which the new process reads
		w.log.Warn("nothing is reloaded", "by", by, "reason", err)
		return c, err
	}
	w.last.Store(&lastReload{at: time.Now(), err: err})
	if err != nil {
		w.logReloadFailed(by, err)
		return c, err
	}
	w.logChange("reloaded", by, &c)
	return c, nil
}

// reloadFrom puts in force what read returns, or says what that would change.
func (w *world) reloadFrom(read func() (*configs.File, error), dry bool) (change.Change, error) {
	if read == nil {
		return change.Change{}, errNothingToRead
	}
	for {
		file, err := read()
		if err != nil {
			return change.Change{}, err
		}
		if err := readAccess(file); err != nil {
			return change.Change{}, admin.WrongConfig(err)
		}
		answers := w.askNew(file, w.now.Load().sources())
		c, err := w.apply(dry, func(was *generation) (*configs.File, overrides.Set, error) {
			w.watch.Restore(answers)
			return file, was.set, nil
		})
		switch {
		case err == nil && !dry:
			w.labels.inForce()
		case err != nil && w.labels.leaveOut(err):
			continue
		}
		return c, err
	}
}

// logReloadFailed writes a line for each problem.
func (w *world) logReloadFailed(by string, err error) {
	if problems := configs.Problems(nil); errors.As(err, &problems) {
		for _, p := range problems {
			w.log.Error("reload failed: nothing has changed", "by", by, "file", p.File, "line", p.Line, "column", p.Column,
				"error", p.Message)
		}
		return
	}
	for line := range strings.Lines(err.Error()) { // one for each wrong line of a file of networks
		w.log.Error("reload failed: nothing has changed", "by", by, "error", strings.TrimSpace(line))
	}
}

// changeLines is how many lines of a change are logged. A reload may change thousands of backends.
const changeLines = 50

// logChange says what an apply has changed.
func (w *world) logChange(message, by string, c *change.Change) {
	lines := c.Lines()
	w.log.Info(message, "generation", c.Generation, "by", by, "changes", len(lines))
	for i, line := range lines {
		if i == changeLines {
			w.log.Info("changed", "generation", c.Generation, "more", len(lines)-i)
			break
		}
		level := slog.LevelInfo
		if line[0] == '!' {
			level = slog.LevelWarn
		}
		w.log.Log(context.Background(), level, "changed", "generation", c.Generation, "what", line)
	}
}

// goOn says of what goes on as it began. What is gone takes no new sessions, and cuts none that it has unless on_down says
// so.
func (w *world) goOn(was *generation, c *change.Change) (lines []string) {
	if was.number == 0 {
		return nil
	}
	sessions := make(map[string]int)
	for _, l := range w.server.Stats().Listeners {
		sessions[l.Name] += l.Sessions
	}
	for _, l := range c.Listeners {
		if n := sessions[l.Name]; n > 0 && l.What != change.Added {
			lines = append(lines, fmt.Sprintf("listener %s: %s began under the old rules and %s with them", l.Name,
				plural(n, "session"), oneOrMore(n, "goes on", "go on")))
		}
	}
	for _, p := range c.Pools {
		running := was.pool(p.Name)
		if running == nil {
			continue
		}
		removed := removedOf(&p)
		for _, b := range running.Backends() {
			if p.What != change.Removed && !removed[b.Name()] {
				continue
			}
			if n := b.Stats().Active; n > 0 {
				lines = append(lines, fmt.Sprintf("backend %s/%s: %s on it %s", p.Name, b.Name(), plural(n, "session"),
					w.fate(was, p.Name, n)))
			}
		}
	}
	slices.SortFunc(lines, cmp.Compare[string])
	return lines
}

func oneOrMore(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// removedOf returns the names of the backends that leave a pool that stays.
func removedOf(p *change.Thing) map[string]bool {
	names := make(map[string]bool)
	for _, b := range p.Backends {
		if b.What == change.Removed {
			names[b.Name] = true
		}
	}
	return names
}

// fate says what becomes of the sessions of a backend that is removed.
func (w *world) fate(was *generation, pool string, n int) string {
	rule := was.force.Pool(pool).Health.OnDown.Removed
	switch {
	case !rule.Close:
		return oneOrMore(n, "goes on until it ends", "go on until they end")
	case rule.Grace > 0:
		return fmt.Sprintf("will be closed after %v", rule.Grace)
	}
	return "will be closed"
}
