package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Status is how a source that is followed stands.
type Status struct {
	Source     string    `json:"source"`             // its key
	Since      time.Time `json:"since"`              // it is followed
	Answered   time.Time `json:"answered,omitzero"`  // last; zero: never
	Next       time.Time `json:"next,omitzero"`      // when it is asked again; zero: when it has news
	Problem    string    `json:"problem,omitempty"`  // why the last question has no answer; "" = it has
	Warnings   []string  `json:"warnings,omitempty"` // what is wrong with single backends, which are left out
	Backends   int       `json:"backends"`           // in the latest answer
	Kept       int       `json:"kept,omitempty"`     // that stay though the latest answer has none
	Reason     string    `json:"reason,omitempty"`   // why the latest answer has none
	Generation uint64    `json:"generation"`         // how often the answer has changed; 0 = there is none
	Answers    uint64    `json:"answers"`
	Failures   uint64    `json:"failures"`
	Restored   bool      `json:"restored,omitempty"` // the answer is of before, and not confirmed yet
}

// Status returns how the sources stand, by key.
func (w *Watch) Status() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Status, 0, len(w.watched))
	for _, key := range slices.Sorted(maps.Keys(w.watched)) {
		s := w.watched[key]
		one := Status{
			Source: key, Since: s.since, Answered: s.answer.At, Next: s.next, Problem: s.problem, Warnings: s.warnings,
			Backends: len(s.answer.Latest), Generation: s.answer.Generation, Answers: s.answers, Failures: s.failures,
			Restored: s.answer.Restored, Reason: s.reason,
		}
		if one.Backends == 0 && w.keeps(key) {
			one.Kept = len(s.answer.Kept)
		}
		all = append(all, one)
	}
	return all
}

// health is how asking a source goes. The Watch's mutex guards it.
type health struct {
	problem           string          // "" = the last question was answered
	told              map[string]bool // what was logged since the last answer
	reason            string          // why the latest answer has no backends
	warnings          []string
	warned            map[string]bool // those that were logged since warnedSince
	warnedSince       time.Time
	next              time.Time
	answers, failures uint64
}

// maxText is how much of what is wrong is kept and logged, in bytes: a container's label in it may have a megabyte.
const maxText = 2000

func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}

// maxWarnings is how many warnings of one answer are kept and logged.
const maxWarnings = 20

// fail notes that there is no answer, and reports whether the reason is another one. Each reason is logged once until there
// is an answer again, with what there is meanwhile; so are no more than maxWarnings of them, for a reason that has a number in it.
func (h *health) fail(log *slog.Logger, err error, meanwhile ...any) (other bool) {
	h.failures++
	before := h.problem
	if h.problem = short(err.Error()); !h.told[h.problem] && len(h.told) < maxWarnings {
		if h.told == nil {
			h.told = map[string]bool{}
		}
		h.told[h.problem] = true
		log.Warn("source does not answer", append([]any{"error", h.problem}, meanwhile...)...)
	}
	return h.problem != before
}

// succeed notes that there is an answer, with what is wrong with single backends, and reports whether any of that is new.
func (h *health) succeed(log *slog.Logger, warnings []string) (other bool) {
	h.answers++
	if other = h.problem != ""; other {
		log.Info("source answers again")
	}
	h.problem, h.told = "", nil
	if len(warnings) > maxWarnings {
		more := len(warnings) - maxWarnings
		warnings = append(slices.Clone(warnings[:maxWarnings]), fmt.Sprintf("and %d more", more))
	}
	if slices.Equal(warnings, h.warnings) {
		return other
	}
	for _, text := range warnings {
		if !slices.Contains(h.warnings, text) {
			h.warn(log, text)
		}
	}
	h.warnings = warnings
	return true
}

// warningsTime is the time in which no more warnings are logged than those of one answer: a source may come up with others in every answer.
const warningsTime = time.Minute

func (h *health) warn(log *slog.Logger, text string) {
	if now := time.Now(); now.Sub(h.warnedSince) > warningsTime {
		h.warned, h.warnedSince = make(map[string]bool), now
	}
	if !h.warned[text] && len(h.warned) <= maxWarnings { // one more: how many there are
		h.warned[text] = true
		log.Warn("source has a backend that is left out", "reason", text)
	}
}

// ago says how long something is past, for people.
func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() + " ago" }

// meanwhile says which backends there are while the source does not answer.
func (a Answer) meanwhile(keep bool) []any {
	if !a.Answered() {
		return []any{"backends", "none until it answers"}
	}
	return []any{"kept", len(a.Set(keep)), "answered", ago(a.At)}
}

// logChange logs what is different in an answer from what was in force.
func logChange(log *slog.Logger, before, after Answer, keep bool, reason string) {
	level, text := slog.LevelInfo, "source has another answer"
	var what []any
	note := func(key string, value any, is bool) {
		if is {
			what = append(what, key, value)
		}
	}
	switch empty := len(after.Latest) == 0; {
	case empty && keep && len(after.Kept) > 0:
		level, text = slog.LevelWarn, "source says that it has no backends: those of before are kept (on_empty)"
	case empty:
		level, text = slog.LevelWarn, "source says that it has no backends"
	case !before.Answered():
		text = "source has answered"
	case len(before.Latest) == 0:
		text = "source has backends again"
	}
	was, is := before.Set(keep), after.Set(keep)
	added, removed, changed := difference(was, is)
	note("backends", len(after.Latest), true)
	note("kept", len(is), len(is) > len(after.Latest))
	note("added", few(added), len(added) > 0)
	note("removed", few(removed), len(removed) > 0)
	note("changed", changed, changed > 0)
	note("reason", reason, len(after.Latest) == 0 && reason != "")
	log.Log(context.Background(), level, text, what...)
}

// difference returns the backends that are in one of two answers alone, and how many are in both with other settings.
func difference(before, after []Found) (added, removed []Found, changed int) {
	for len(before) > 0 || len(after) > 0 {
		switch order := orderOfHeads(before, after); {
		case order < 0:
			removed, before = append(removed, before[0]), before[1:]
		case order > 0:
			added, after = append(added, after[0]), after[1:]
		default:
			if before[0].compare(&after[0]) != 0 {
				changed++
			}
			before, after = before[1:], after[1:]
		}
	}
	return added, removed, changed
}

// orderOfHeads compares which backend comes first in two answers, of which not both are empty.
func orderOfHeads(a, b []Found) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	case a[0].same(&b[0]):
		return 0
	}
	return a[0].compare(&b[0])
}

// few writes how many backends there are, and which, if they are few.
func few(found []Found) string {
	const most = 5
	var names []string
	for i := range found[:min(len(found), most)] {
		f := &found[i]
		names = append(names, strings.TrimPrefix(f.Name+" "+f.text(), " "))
	}
	text := strings.Join(names, ", ")
	if more := len(found) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
