package main

import (
	"time"

	"sluice/configs"
	"sluice/pool/discovery"
)

// askNew asks those sources of a configuration that are not asked yet, and returns their answers. A pool that is to have
// backends of another source would be without any, until that one has answered, if nobody asked it before. What is not
// answered becomes a warning of the configuration: there is nothing to go on with.
//
// It takes as long as the sources do, and no longer than askTime.
func (w *world) askNew(file *configs.File) (saved []discovery.Saved) {
	sources := entrySources(file)
	for _, key := range w.now.Load().sources() {
		delete(sources, key)
	}
	for key := range sources {
		if w.watch.Answer(key).Answered() { // of before, or to another question about the same
			delete(sources, key)
		}
	}
	if len(sources) == 0 {
		return nil
	}
	answers := askAll(sources, w.newSource)
	file.Warnings = append(file.Warnings, sourceWarnings(file, answers)...)
	for key, a := range answers {
		if a.err == nil {
			saved = append(saved, discovery.Saved{Source: key, At: time.Now(), Found: a.found, Empty: len(a.found) == 0, Generation: 1})
		}
	}
	return saved
}
