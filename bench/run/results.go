package main

import (
	"fmt"
	"slices"

	"sluice/bench/record"
)

// results holds every measurement of a run.
type results struct {
	rows    []row
	systems []system
	cells   map[string]map[string]*cell // by the names of row and system
}

// A cell is one system in one row, over the rounds.
type cell struct {
	rounds   []figures
	failures []string
}

func newResults(rows []row, systems []system) *results {
	r := &results{rows: rows, systems: systems, cells: make(map[string]map[string]*cell)}
	for _, row := range rows {
		r.cells[row.name] = make(map[string]*cell)
		for _, s := range systems {
			r.cells[row.name][s.name] = new(cell)
		}
	}
	return r
}

// add records one measurement, or that it failed.
func (r *results) add(row row, s system, round int, f figures, err error) {
	c := r.cells[row.name][s.name]
	if err != nil {
		c.failures = append(c.failures, fmt.Sprintf("%s, %s, round %d: %s", row.name, s.name, round, record.OneLine(err)))
		return
	}
	c.rounds = append(c.rounds, f)
}

// median returns the median of a metric over the rounds; false when it was
// not measured or any round failed: the rounds that went well do not make up
// for one that did not.
func (r *results) median(row, system string, m metric) (float64, bool) {
	c := r.cells[row][system]
	if c == nil || len(c.rounds) == 0 || len(c.failures) > 0 {
		return 0, false
	}
	var values []float64
	for _, f := range c.rounds {
		v, ok := f[m]
		if !ok {
			return 0, false
		}
		values = append(values, v)
	}
	return record.Median(values), true
}

// best returns the variant of a program that does best in a row by the row's
// own measure; false when none was measured.
func (r *results) best(row row, rival string) (name string, ok bool) {
	var lead float64
	for _, s := range r.systems {
		if s.rival != rival {
			continue
		}
		v, measured := r.median(row.name, s.name, row.best)
		if !measured {
			continue
		}
		if !ok || row.best.higherIsBetter() == (v > lead) && v != lead {
			name, lead, ok = s.name, v, true
		}
	}
	return name, ok
}

// ratio is a system's median over that of the best variant of a rival; false
// when either is missing or the rival's is not positive.
func (r *results) ratio(row row, system, rival string, m metric) (float64, bool) {
	best, ok := r.best(row, rival)
	if !ok {
		return 0, false
	}
	own, ok := r.median(row.name, system, m)
	if !ok {
		return 0, false
	}
	theirs, ok := r.median(row.name, best, m)
	if !ok || theirs <= 0 {
		return 0, false
	}
	return own / theirs, true
}

// row finds a row by name.
func (r *results) row(name string) (row, bool) {
	i := slices.IndexFunc(r.rows, func(row row) bool { return row.name == name })
	if i < 0 {
		return row{}, false
	}
	return r.rows[i], true
}

// failures lists every failed measurement in the order of the tables.
func (r *results) failures() (all []string) {
	for _, row := range r.rows {
		for _, s := range r.systems {
			all = append(all, r.cells[row.name][s.name].failures...)
		}
	}
	return all
}
