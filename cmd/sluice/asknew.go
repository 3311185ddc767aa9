package main

import (
	"time"

	"sluice/configs"
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
		case a.err == nil:
			saved = append(saved, discovery.Saved{Source: key, At: time.Now(), Found: a.found, Empty: len(a.found) == 0, Generation: 1})
		case w.watch.Answer(key).Answered():
			delete(answers, key)
		}
	}
	file.Warnings = append(file.Warnings, sourceWarnings(file, answers)...)
	return saved
}
