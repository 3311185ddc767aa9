package admin

import (
	"fmt"
	"slices"
	"time"

	"sluice/pool"
	"sluice/pool/discovery"
)

// Discovery says what sources have found.
type Discovery interface {
	// Sources returns those that are asked, by key.
	Sources() []SourceStatus
	// Found returns what sources have found of a pool.
	Found(pool string) Found
}

// Found is what sources have found of one pool. The zero Found is nothing.
type Found struct {
	Members *discovery.Members
	Refused string // why it is not in force; "" = it is
}

// SourceStatus describes a source of backends.
type SourceStatus struct {
	discovery.Status
	Pools []string `json:"pools"` // that have backends from it, or would have; none: it is there for something else
}

// origin adds to the status of a backend where that is from.
func (b *BackendStatus) origin(m *discovery.Members) {
	o := m.Origin(b.Name)
	b.Source, b.Entry, b.RemovedAt = o.Source, o.Entry, o.Leaves
}

// sources returns what is known of the sources.
func (o *Options) sources() []SourceStatus {
	if o.Discovery == nil {
		return []SourceStatus{}
	}
	return append([]SourceStatus{}, o.Discovery.Sources()...) // none is not null
}

// found returns what sources have found of a pool.
func (o *Options) found(p *pool.Pool) Found {
	if o.Discovery == nil {
		return Found{}
	}
	return o.Discovery.Found(p.Name())
}

// unanswered returns which sources have no backends for a pool, and why, a line each.
func (o *Options) unanswered(pool string) (reasons []string) {
	for _, s := range o.sources() {
		if !slices.Contains(s.Pools, pool) {
			continue
		}
		switch of := fmt.Sprintf("pool %q: ", pool); {
		case s.Generation == 0:
			reasons = append(reasons, of+s.silence())
		case s.Backends == 0:
			reasons = append(reasons, of+because(s.Source+" has no backends", s.Reason))
		}
	}
	return reasons
}

// unlistened returns why there is no listener, a line each: sources that are of no pool may have some.
func (o *Options) unlistened() (reasons []string) {
	for _, s := range o.sources() {
		if len(s.Pools) == 0 && s.Generation == 0 {
			reasons = append(reasons, "no listener: "+s.silence())
		}
	}
	if len(reasons) == 0 {
		return []string{"no listener: nothing is served"}
	}
	return reasons
}

// silence says that a source has never answered, and why.
func (s *SourceStatus) silence() string { return because(s.Source+" has not answered yet", s.Problem) }

// because adds a reason; "" = it is not known.
func because(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + ": " + reason
}

// writeDiscovery shows how the sources stand.
func (o *Options) writeDiscovery(e *exposition) {
	all := o.sources()
	if len(all) == 0 {
		return
	}
	family := func(value func(*SourceStatus) uint64) {
		for i := range all {
			e.sample(labelled("source", all[i].Source), value(&all[i]))
		}
	}
	e.gauge("sluice_discovery_up", "1 when the source has answered the last question.")
	family(func(s *SourceStatus) uint64 { return flag(s.Problem == "" && s.Generation > 0 && !s.Restored) })
	e.gauge("sluice_discovery_age_seconds", "How old the last answer of a source is that has answered, also to a process before this one.")
	for i := range all {
		if s := &all[i]; !s.Answered.IsZero() {
			e.seconds(labelled("source", s.Source), max(0, time.Since(s.Answered)))
		}
	}
	e.gauge("sluice_discovery_backends", "Backends in the last answer of the source, if pools have backends from it.")
	for i := range all {
		if s := &all[i]; len(s.Pools) > 0 { // others would seem to have lost all
			e.sample(labelled("source", s.Source), uint64(s.Backends))
		}
	}
	e.counter("sluice_discovery_answers_total", restored, "Questions that the source has answered.")
	family(func(s *SourceStatus) uint64 { return s.Answers })
	e.counter("sluice_discovery_failures_total", restored, "Questions that the source has not answered.")
	family(func(s *SourceStatus) uint64 { return s.Failures })
}
