package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/pool"
	"sluice/pool/discovery"
)

// askNew asks those sources of a configuration that are not among known, by key, and returns their answers. A pool that is to
// have backends of another source would be without any, until that one has answered, if nobody asked it before. One that is
// asked in another way, for which the answers so far stand as long as it is silent, would have those of another resolver or
// network for a moment.
//
// What is not answered becomes a warning of the configuration, if there is nothing to go on with. It takes as long as the
// sources do, and little longer than askTime.
func (w *world) askNew(file *configs.File, known []string) (saved []discovery.Saved) {
	sources := entrySources(file)
	for _, key := range known {
		delete(sources, key)
	}
	if len(sources) == 0 {
		return nil
	}
	answers := askAll(sources, w.newSource)
	for key, a := range answers {
		switch {
		case a.answered():
			saved = append(saved, discovery.Saved{Source: key, At: time.Now(), Found: a.found, Empty: len(a.found) == 0, Generation: 1})
		case w.watch.Answer(key).Answered():
			delete(answers, key)
		}
	}
	file.Warnings = append(file.Warnings, sourceWarnings(file, answers)...)
	return saved
}

// deserts returns what is wrong with another configuration that would leave pools without backends that have some: most
// often a name is misspelt, or its resolver does not answer now. Who means it says on_empty: empty.
func (g *generation) deserts(was *generation) error {
	if g.file == was.file {
		return nil
	}
	present := func(b pool.BackendConfig) bool { return !b.Vanished }
	var problems configs.Problems
	for i := range g.known.Pools {
		is := &g.known.Pools[i]
		if len(is.Entries) == 0 || is.OnEmpty == configs.OnEmptyEmpty || slices.ContainsFunc(is.Config.Backends, present) {
			continue
		}
		if had := was.known.Pool(is.Config.Name); had == nil || !slices.ContainsFunc(had.Config.Backends, present) {
			continue
		}
		problem := is.Entries[0].At
		problem.Message = fmt.Sprintf("pool %s would be without backends: %s (on_empty: empty lets it be)", is.Config.Name, g.why(is))
		problems = append(problems, problem)
	}
	if len(problems) == 0 {
		return nil
	}
	return admin.WrongConfig(problems)
}

// why returns what is known of sources that have no backends for a pool.
func (g *generation) why(p *configs.Pool) string {
	var reasons []string
	for _, e := range p.Entries {
		reason := e.Source.Key() + " has none"
		for _, w := range g.file.Warnings {
			if w.File == e.At.File && w.Line == e.At.Line && w.Column == e.At.Column {
				reason = w.Message
			}
		}
		reasons = append(reasons, reason)
	}
	return strings.Join(slices.Compact(reasons), "; ")
}
