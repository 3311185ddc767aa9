package main

import (
	"fmt"
	"io"

	"sluice/bench/record"
)

// A target is one figure that sluice is held to.
type target struct {
	text   string
	row    string
	metric metric
	rival  string // a ratio to this program; "": sluice's own figure
	limit  float64
	// atLeast turns the limit round: for rates.
	atLeast bool
}

// targets lists what sluice must reach in a full run.
func targets() []target {
	return []target{
		{text: "CPU per 64 B reply, 64 sessions", row: "64B-64", metric: cpuEach, rival: haproxy, limit: 0.90},
		{text: "CPU per connect, request, reply, close", row: "connect", metric: cpuEach, rival: haproxy, limit: 0.90},
		{text: "CPU per connection routed by its ClientHello", row: "connect-sni", metric: cpuEach, rival: haproxy, limit: 0.90},
		{text: "CPU per connection routed by its ClientHello", row: "connect-sni", metric: cpuEach, rival: nginx, limit: 0.90},
		{text: "refused connections per CPU second", row: "refused", metric: perCPU, rival: haproxy, limit: 1, atLeast: true},
		{text: "CPU per GB down", row: "bulk-down", metric: cpuPerGB, rival: haproxy, limit: 0.85},
		{text: "CPU per GB up", row: "bulk-up", metric: cpuPerGB, rival: haproxy, limit: 0.85},
		{text: "resident bytes per idle session", row: "idle", metric: bytesEach, limit: 600},
		{text: "resident bytes per silent connection", row: "silent", metric: bytesEach, limit: 1024},
		{text: "p99 of 64 B replies beside silent connections, of that before", row: "silent", metric: p99Times, limit: 1.20},
		{text: "p99 of 64 B replies beside askers of metrics, of that of a process that is not asked", row: "asked", metric: p99Times, limit: 1.50},
		{text: "descriptors per idle session", row: "idle", metric: descriptors, limit: 2},
		{text: "CPU per 64 B reply, 64 sessions", row: "64B-64", metric: cpuEach, rival: nginx, limit: 1.05},
		{text: "CPU per GB down", row: "bulk-down", metric: cpuPerGB, rival: nginx, limit: 0.30},
		{text: "small messages beside bulk: p50", row: "mixed", metric: p50, rival: haproxy, limit: 1},
		{text: "small messages beside bulk: p99", row: "mixed", metric: p99, rival: haproxy, limit: 1},
		{text: "small messages beside bulk: bulk Gbit/s", row: "mixed", metric: gigabits, rival: haproxy, limit: 1, atLeast: true},
	}
}

// value returns what the target is compared with; false: not measured.
func (t *target) value(r *results) (float64, bool) {
	row, ok := r.row(t.row)
	if !ok {
		return 0, false
	}
	if t.rival == "" {
		return r.median(t.row, sluice, t.metric)
	}
	return r.ratio(row, sluice, t.rival, t.metric)
}

// met compares as precisely as the table shows.
func (t *target) met(v float64) bool {
	const shown = 0.005
	if t.atLeast {
		return v > t.limit-shown
	}
	return v < t.limit+shown
}

func (t *target) bound() string {
	sign := "at most"
	if t.atLeast {
		sign = "at least"
	}
	if t.rival == "" {
		return fmt.Sprintf("%s %g", sign, t.limit)
	}
	return fmt.Sprintf("%s %.2f of %s", sign, t.limit, t.rival)
}

func writeTargets(w io.Writer, r *results) {
	fmt.Fprintf(w, "## Targets\n\n| target | limit | measured | |\n| --- | --- | ---: | --- |\n")
	for _, t := range targets() {
		measured, verdict := "-", "not measured"
		if v, ok := t.value(r); ok {
			measured, verdict = fmt.Sprintf("%.2f", v), "MISSED"
			if t.met(v) {
				verdict = "met"
			}
		}
		record.Line(w, t.text, t.bound(), measured, verdict)
	}
	fmt.Fprintln(w)
}
