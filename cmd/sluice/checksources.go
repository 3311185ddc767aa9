package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"sluice/configs"
	"sluice/pool"
	"sluice/pool/discovery"
)

const (
	askTime   = 5 * time.Second // for all sources together
	askAtOnce = 16              // resolvers drop what comes in floods
)

// askSources asks every source of a configuration once, and returns what it does not answer as warnings.
func askSources(file *configs.File) configs.Problems {
	return sourceWarnings(file, askAll(entrySources(file), newSource))
}

// sourceWarnings returns what is wrong with answers to entries of a configuration.
func sourceWarnings(file *configs.File, answers map[string]asked) (warnings configs.Problems) {
	own := file.Barred()
	for i := range file.Pools {
		p := &file.Pools[i]
		for j := range p.Entries {
			e := &p.Entries[j]
			answer, is := answers[e.Source.Key()]
			if !is {
				continue
			}
			for _, text := range answer.warnings(barred(p, own)) {
				warning := e.At
				warning.Message = e.Source.Key() + ": " + text
				warnings = append(warnings, warning)
			}
		}
	}
	return warnings
}

// asked is what a source has answered.
type asked struct {
	found []discovery.Found
	err   error
}

// answered reports whether there is an answer, perhaps with something to say of it.
func (a asked) answered() bool {
	warned := discovery.Warnings(nil)
	return a.err == nil || errors.As(a.err, &warned)
}

// askAll asks sources once, and the host names among what they have found, and returns their answers by key.
func askAll(sources map[string]configs.SourceConfig, source func(configs.SourceConfig) discovery.Source) map[string]asked {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	answers := askWithin(ctx, sources, source)
	maps.Copy(answers, askWithin(ctx, hostSources(answers), source))
	return answers
}

// hostSources returns the sources of the host names in answers that are not among these, by their keys.
func hostSources(answers map[string]asked) map[string]configs.SourceConfig {
	hosts := make(map[string]configs.SourceConfig)
	for _, a := range answers {
		for i := range a.found {
			if f := &a.found[i]; f.Host != "" {
				source := hostSource(f)
				if _, known := answers[source.Key()]; !known {
					hosts[source.Key()] = source
				}
			}
		}
	}
	return hosts
}

// askGrace is how long after the deadline it is waited for sources to say what they have come to. One that reads a file
// from a server that hangs does not heed ctx.
const askGrace = 500 * time.Millisecond

// askWithin asks sources until the deadline of ctx, and returns their answers by key.
func askWithin(ctx context.Context, sources map[string]configs.SourceConfig, source func(configs.SourceConfig) discovery.Source) map[string]asked {
	answers := make(map[string]asked, len(sources))
	for key := range sources {
		answers[key] = asked{err: context.DeadlineExceeded}
	}
	type answer struct {
		key string
		asked
	}
	told, tokens := make(chan answer, len(sources)), make(chan struct{}, askAtOnce)
	for key, config := range sources {
		go func() {
			tokens <- struct{}{}
			defer func() { <-tokens }()
			found, err := source(config).Ask(ctx)
			told <- answer{key, asked{found, err}}
		}()
	}
	end, _ := ctx.Deadline()
	over := time.NewTimer(time.Until(end) + askGrace)
	defer over.Stop()
	for range sources {
		select {
		case a := <-told:
			answers[a.key] = a.asked
		case <-over.C:
			return answers
		}
	}
	return answers
}

// entrySources returns the sources of all pools, by their keys.
func entrySources(file *configs.File) map[string]configs.SourceConfig {
	all := make(map[string]configs.SourceConfig)
	for i := range file.Pools {
		for _, e := range file.Pools[i].Entries {
			all[e.Source.Key()] = e.Source
		}
	}
	return all
}

// maxWarned is how many of a file's problems are said: a reload logs them, too.
const maxWarned = 20

// warnings returns what whoever writes a configuration should know of the answer.
func (a asked) warnings(barred func(pool.Address) error) (texts []string) {
	warned, problems := discovery.Warnings(nil), configs.Problems(nil)
	switch {
	case errors.As(a.err, &problems): // of a file: Error says the first
		for _, p := range problems[:min(len(problems), maxWarned)] {
			texts = append(texts, p.String())
		}
		if more := len(problems) - maxWarned; more > 0 {
			texts = append(texts, plural(more, "more problem"))
		}
		texts[len(texts)-1] += ": there are no backends of it until it answers"
		return texts
	case errors.As(a.err, &warned):
		texts = slices.Clone(warned)
	case errors.Is(a.err, context.DeadlineExceeded):
		return []string{"no answer in time: there are no backends of it until there is one"}
	case a.err != nil:
		return []string{a.err.Error() + ": there are no backends of it until it answers"}
	case len(a.found) == 0:
		return []string{"it has no backends now"}
	}
	for i := range a.found {
		if f := &a.found[i]; f.Host == "" {
			if err := barred(f.Address); err != nil && !slices.Contains(texts, err.Error()) {
				texts = append(texts, err.Error())
			}
		}
	}
	return texts
}
