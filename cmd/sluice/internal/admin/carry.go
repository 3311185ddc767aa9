package admin

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"sluice/pool"
)

// Carried is what was counted here and by the processes before, of all families that no other package restores.
type Carried struct {
	Counters   []CarriedCounter   `json:"counters,omitempty"`   // those that are not zero
	Histograms []CarriedHistogram `json:"histograms,omitempty"` // those that have counted something
}

// A CarriedCounter is one series of a counter.
type CarriedCounter struct {
	Family string `json:"family"`           // its name
	Labels string `json:"labels,omitempty"` // as in Prometheus' text format, braces included
	Value  uint64 `json:"value"`            // what was counted
}

// A CarriedHistogram is one of a pool, or of one of its backends.
type CarriedHistogram struct {
	Family  string    `json:"family"`            // its name
	Pool    string    `json:"pool"`              // whose it is
	Backend string    `json:"backend,omitempty"` // "" = the pool's
	Address string    `json:"address,omitempty"` // of the backend: another one of its name begins anew
	Bounds  []float64 `json:"bounds"`            // seconds, rising
	Counts  []uint64  `json:"counts"`            // up to each of the bounds, and of all
	Sum     float64   `json:"sum"`               // seconds
}

// inherited is what processes before this one have counted. It does not change.
type inherited struct {
	counters map[sample]uint64
	lines    map[string]float64 // of histograms, by what stands before the value
}

// Carry returns what has been counted so far, for the process that takes over.
func (s *Server) Carry() Carried {
	c := Carried{Histograms: s.options.Metrics.carry()}
	e := &exposition{Buffer: new(bytes.Buffer), before: s.options.Metrics.before.Load().counters}
	e.note = func(of sample, value uint64) {
		if value > 0 {
			c.Counters = append(c.Counters, CarriedCounter{of.family, string(of.labels), value})
		}
	}
	s.counters.writeTo(e)
	return c
}

// Assume adds what the process before has counted to what is counted here, and to the metrics. It may be called again,
// with what is the sum by then: the last call counts. What there is not here any more is left out.
func (s *Server) Assume(c Carried) { s.options.Metrics.assume(c) }

func (m *Metrics) assume(c Carried) {
	next := &inherited{counters: make(map[sample]uint64), lines: make(map[string]float64)}
	for _, one := range c.Counters {
		next.counters[sample{one.Family, labels(one.Labels)}] = one.Value
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	for i := range c.Histograms {
		h := &c.Histograms[i]
		if l, known := m.labelsOf(h); known && h.fits() {
			h.fill(next.lines, l)
		}
	}
	m.before.Store(next)
}

// labelsOf returns the labels that a histogram has here, and whether there is such a one.
func (m *Metrics) labelsOf(h *CarriedHistogram) (labels, bool) {
	of := (*m.pools.Load())[h.Pool]
	switch {
	case of == nil:
		return "", false
	case h.Backend == "":
		return labelled("pool", h.Pool), slices.Contains(poolHistograms, h.Family)
	}
	one, known := of.backends.Load(h.Backend)
	if !known || one.(*backendMetrics).address != h.Address || !slices.Contains(backendHistograms, h.Family) {
		return "", false
	}
	if h.Family == answerHistogram { // which is there from the first answer on
		m.answersOf(one.(*backendMetrics))
	}
	return one.(*backendMetrics).labels, true
}

// fits reports whether a histogram is like those that are written here. One with other bounds begins anew.
func (h *CarriedHistogram) fits() bool {
	return slices.Equal(h.Bounds, bounds[h.Family]) && len(h.Counts) == len(h.Bounds)+1
}

// fill adds the lines of a histogram.
func (h *CarriedHistogram) fill(lines map[string]float64, l labels) {
	for i, n := range h.Counts {
		lines[bucketLine(h.Family, l, boundText(h.Bounds, i))] = float64(n)
	}
	lines[h.Family+"_count"+string(l)] = float64(h.Counts[len(h.Bounds)])
	lines[h.Family+"_sum"+string(l)] = h.Sum
}

// carry returns the histograms that have something to tell.
func (m *Metrics) carry() (all []CarriedHistogram) {
	var text bytes.Buffer
	m.write(&text)
	lines := parseLines(text.Bytes())
	take := func(names []string, l labels, of CarriedHistogram) {
		for _, name := range names {
			if of.Family = name; lines[name+"_count"+string(l)] > 0 {
				all = append(all, of.read(lines, l))
			}
		}
	}
	for name := range *m.pools.Load() {
		take(poolHistograms, labelled("pool", name), CarriedHistogram{Pool: name})
	}
	for b, of := range m.backends.Range {
		b, of := b.(*pool.Backend), of.(*backendMetrics)
		take(backendHistograms, of.labels, CarriedHistogram{Pool: b.Pool().Name(), Backend: b.Name(), Address: of.address})
	}
	return all
}

// read returns the histogram with the values that it has.
func (h CarriedHistogram) read(lines map[string]float64, l labels) CarriedHistogram {
	h.Bounds = bounds[h.Family]
	for i := range len(h.Bounds) + 1 {
		h.Counts = append(h.Counts, uint64(lines[bucketLine(h.Family, l, boundText(h.Bounds, i))]))
	}
	h.Sum = lines[h.Family+"_sum"+string(l)]
	return h
}

// boundText writes the bound of a bucket as the metrics library does.
func boundText(bounds []float64, i int) string {
	if i == len(bounds) {
		return "+Inf"
	}
	return fmt.Sprint(bounds[i])
}

func bucketLine(family string, l labels, bound string) string {
	return family + "_bucket" + string(l[:len(l)-1]) + `,le="` + bound + `"}`
}

// parseLines returns the values of samples, by what stands before them.
func parseLines(text []byte) map[string]float64 {
	lines := make(map[string]float64)
	for line := range bytes.Lines(text) {
		if at := bytes.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			if value, err := strconv.ParseFloat(string(bytes.TrimSpace(line[at+1:])), 64); err == nil {
				lines[string(line[:at])] = value
			}
		}
	}
	return lines
}

// without returns what there is but for some histograms with these labels.
func (i *inherited) without(names []string, l labels) *inherited {
	if len(i.lines) == 0 {
		return i
	}
	gone := make(map[string]float64)
	for _, name := range names {
		h := CarriedHistogram{Family: name, Bounds: bounds[name], Counts: make([]uint64, len(bounds[name])+1)}
		h.fill(gone, l)
	}
	next := &inherited{counters: i.counters, lines: maps.Clone(i.lines)}
	for line := range gone {
		delete(next.lines, line)
	}
	return next
}
