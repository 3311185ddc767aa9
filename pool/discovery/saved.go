package discovery

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Saved is what a source has said last, for a file or another process.
type Saved struct {
	Source     string    `json:"source"`          // its key
	At         time.Time `json:"at"`              // of Answer
	Found      []Found   `json:"found,omitempty"` // the last answer that was not empty
	Empty      bool      `json:"empty,omitempty"` // the latest one is
	Generation uint64    `json:"generation"`
	Answers    uint64    `json:"answers"`
	Failures   uint64    `json:"failures"`
}

// answer returns what was saved as it counts until the source says something itself.
func (s Saved) answer() Answer {
	set, _ := tidy(s.Found)
	a := Answer{Latest: set, Generation: max(s.Generation, 1), At: s.At, Restored: true}
	if len(set) > 0 {
		a.Kept = set
	}
	if s.Empty {
		a.Latest = nil
	}
	return a
}

// Saved returns the answers of the sources that have one, by key. Those that were restored and that no source has taken
// are not among them.
func (w *Watch) Saved() []Saved {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Saved
	for _, key := range slices.Sorted(maps.Keys(w.watched)) {
		if s := w.watched[key]; s.answer.Answered() {
			all = append(all, s.saved(key))
		}
	}
	return all
}

func (s *watched) saved(key string) Saved {
	a := s.answer
	return Saved{
		Source: key, At: a.At, Found: a.Kept, Empty: len(a.Latest) == 0, Generation: a.Generation,
		Answers: s.answers, Failures: s.failures,
	}
}

// Restore takes answers that were saved. They are those of the sources that the next Follow brings; what that does not take
// is dropped. Until then Answer has them.
func (w *Watch) Restore(saved []Saved) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restored = make(map[string]*watched, len(saved))
	for _, s := range saved {
		w.restored[s.Source] = &watched{answer: s.answer(), health: health{answers: s.Answers, failures: s.Failures}}
	}
	w.index()
}

// before returns what a source that is not followed begins with: what was restored for it, or else the latest answer of one
// about the same. nil = nothing. The mutex is held.
func (w *Watch) before(key string) *watched {
	if s := w.restored[key]; s != nil {
		return s
	}
	var best *watched
	for _, other := range w.about[Subject(key)] {
		s := cmp.Or(w.watched[other], w.restored[other])
		if s.answer.Answered() && (best == nil || s.answer.At.After(best.answer.At)) {
			best = s
		}
	}
	return best
}

// index notes which sources there are about each subject, in the order of their keys. The mutex is held.
func (w *Watch) index() {
	w.about = make(map[string][]string, len(w.watched)+len(w.restored))
	all := maps.Clone(w.watched)
	maps.Copy(all, w.restored)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		about := Subject(key)
		w.about[about] = append(w.about[about], key)
	}
}

// options are those parts of keys that say how a source is asked, not for what.
var options = []string{"type=", "resolver=", "min_ttl=", "max_ttl=", "network=", "port="}

// Subject returns what a source is about: its key without options.
func Subject(key string) string {
	var words []string
	for word := range strings.FieldsSeq(key) {
		if !slices.ContainsFunc(options, func(option string) bool { return strings.HasPrefix(word, option) }) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}
