package main

import (
	"fmt"
	"io"
	"strings"

	"sluice/bench/record"
)

// writeTables prints one Markdown table per group of rows.
func writeTables(w io.Writer, r *results) {
	for i := 0; i < len(r.rows); {
		n := i + 1
		for n < len(r.rows) && r.rows[n].group == r.rows[i].group {
			n++
		}
		writeGroup(w, r, r.rows[i:n])
		i = n
	}
}

func writeGroup(w io.Writer, r *results, rows []row) {
	first := rows[0]
	fmt.Fprintf(w, "## %s\n\n", first.group)
	heads := []string{"work", "system"}
	for _, m := range first.columns {
		heads = append(heads, string(m))
	}
	for _, rival := range []string{haproxy, nginx} {
		heads = append(heads, fmt.Sprintf("%s / %s", first.key, rival))
	}
	record.Head(w, 2, heads...)
	for _, row := range rows {
		for _, s := range r.systems {
			if s.takesPart(row) {
				record.Line(w, systemLine(r, row, s)...)
			}
		}
	}
	fmt.Fprintln(w)
}

func systemLine(r *results, row row, s system) []string {
	name := s.name
	if best, ok := r.best(row, s.rival); ok && best == s.name && r.variants(s.rival) > 1 {
		name += " *"
	}
	line := []string{row.work, name}
	for _, m := range row.columns {
		v, ok := r.median(row.name, s.name, m)
		line = append(line, orMissing(m.format(v), ok, r, row, s))
	}
	for _, rival := range []string{haproxy, nginx} {
		ratio, ok := r.ratio(row, s.name, rival, row.key)
		line = append(line, orMissing(fmt.Sprintf("%.2f", ratio), ok, r, row, s))
	}
	return line
}

// orMissing says in a cell without a figure why there is none.
func orMissing(text string, ok bool, r *results, row row, s system) string {
	switch {
	case ok:
		return text
	case len(r.cells[row.name][s.name].failures) > 0:
		return "FAILED"
	}
	return "-"
}

// variants counts the systems that are one program.
func (r *results) variants(rival string) (n int) {
	for _, s := range r.systems {
		if s.rival == rival {
			n++
		}
	}
	return n
}

// writeRatios prints sluice's key figure over a rival's, row by row, in one
// line.
func writeRatios(w io.Writer, r *results) {
	for _, rival := range []string{haproxy, nginx, ioCopy} {
		var parts []string
		for _, row := range r.rows {
			if ratio, ok := r.ratio(row, sluice, rival, row.key); ok {
				text := fmt.Sprintf("%s %.2f", row.name, ratio)
				if row.key.higherIsBetter() {
					text += " (more is better)"
				}
				parts = append(parts, text)
			}
		}
		if len(parts) > 0 {
			fmt.Fprintf(w, "sluice / %s: %s\n\n", rival, strings.Join(parts, ", "))
		}
	}
}

func writeFailures(w io.Writer, r *results) {
	failures := r.failures()
	if len(failures) == 0 {
		return
	}
	fmt.Fprintf(w, "## Failed measurements\n\n")
	for _, failure := range failures {
		fmt.Fprintf(w, "- %s\n", failure)
	}
	fmt.Fprintln(w)
}
