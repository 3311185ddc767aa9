package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sluice/bench/load"
	"sluice/bench/record"
)

// keep prints the result and, after a complete run, writes it to its file.
func (r *result) keep(root string) error {
	var text strings.Builder
	r.write(&text)
	fmt.Fprint(r.stdout, text.String())
	if r.out == "" || r.partial {
		return nil
	}
	name, err := record.Keep(root, r.out, r.Name("upgrade"), text.String())
	if err == nil {
		fmt.Fprintln(r.stderr, "written to", name)
	}
	return err
}

func (r *result) write(w io.Writer) {
	fmt.Fprintf(w, "# Upgrades of %s, commit %s\n\nMethod in bench/README.md.\n\n", r.Date.Format(time.DateOnly), r.Commit)
	r.Machine.Write(w)
	if len(r.sizes) > 0 {
		r.writeSizes(w)
	}
	if len(r.chains) > 0 {
		r.writeChains(w)
	}
	if len(r.failures) > 0 {
		fmt.Fprintf(w, "## Failed\n\n")
		for _, failure := range r.failures {
			fmt.Fprintf(w, "- %s\n", failure)
		}
	}
}

// writeSizes writes what upgrades of sluice take, and what they would.
func (r *result) writeSizes(w io.Writer) {
	fmt.Fprintf(w, "## sluice upgrade by the number of sessions\n\n")
	fmt.Fprintf(w, "%d upgrades in a row at each; times in ms: the median (lowest to highest), or p50 / p99 / longest of what the\n"+
		"%d watched sessions each saw; beside it the same for as much time without an upgrade.\n\n", r.runs, r.watched)
	record.Head(w, 0, "sessions", "total", "pause of a session", "without an upgrade", "slowest connect, request, reply", "without an upgrade",
		"sessions cut", "connects refused or reset, of")
	for i := range r.sizes {
		record.Line(w, r.sizes[i].cells()...)
	}
	fmt.Fprintln(w)
	record.Head(w, 0, "sessions", "as told: accepting paused", "longest of a session", "total as seen by who asked", "longest of any session", "CPU",
		"MB before, after")
	for i := range r.sizes {
		record.Line(w, r.sizes[i].details()...)
	}
	fmt.Fprintln(w)
	if fixed, each, err := fit(r.sizes); err == nil {
		at := func(n time.Duration) string { return fmt.Sprintf("%.1f s", (fixed + n*each).Seconds()) }
		fmt.Fprintf(w, "The straight line through the medians of the total: %s ms, and %.1f us more for each session. By extrapolation,\n"+
			"not by measurement: %s for 100,000 sessions, %s for a million.\n\n", millis(fixed), micros(each), at(100_000), at(1_000_000))
	}
	for i := range r.sizes {
		if s := &r.sizes[i]; s.sessions == targetSessions {
			verdict, p99 := "MISSED", s.pauses(upgradeOf).quantile(0.99)
			if p99 < targetPause {
				verdict = "met"
			}
			fmt.Fprintf(w, "Target: p99 of a session's pause at %s sessions under %v: %s ms, %s.\n\n",
				record.Thousands(targetSessions), targetPause, millis(p99), verdict)
		}
	}
}

// The target: what a session notices of an upgrade.
const (
	targetSessions = 4000
	targetPause    = 20 * time.Millisecond
)

// cells are what a session and who connects see.
func (s *size) cells() []string {
	three := func(of func(*trial) *load.Window) string {
		p := s.pauses(of)
		return fmt.Sprintf("%s / %s / %s", millis(p.quantile(0.5)), millis(p.quantile(0.99)), millis(p.quantile(1)))
	}
	total := s.each(func(t *trial) time.Duration { return t.told.total })
	connect := s.each(func(t *trial) time.Duration { return t.upgrade.calls.Longest })
	without := s.each(func(t *trial) time.Duration { return t.quiet.calls.Longest })
	return []string{record.Thousands(int64(s.sessions)), total.String(), three(upgradeOf), three(quietOf), connect.String(), without.String(),
		fmt.Sprint(s.losses.cut), s.losses.connects()}
}

// details are the rest.
func (s *size) details() []string {
	accept := s.each(func(t *trial) time.Duration { return t.told.accept })
	session := s.each(func(t *trial) time.Duration { return t.told.session })
	outside := s.each(func(t *trial) time.Duration { return t.outside })
	cpu := s.each(func(t *trial) time.Duration { return t.cpu })
	return []string{record.Thousands(int64(s.sessions)), accept.String(), session.String(), outside.String(), millis(s.longest(upgradeOf)),
		cpu.String(), fmt.Sprintf("%s, %s", megabytes(s.before), megabytes(s.after))}
}

// writeChains writes what is left of each system.
func (r *result) writeChains(w io.Writer) {
	fmt.Fprintf(w, "## %d upgrades in a row, while sessions come that stay\n\n", r.upgrades)
	fmt.Fprintf(w, "%s sessions, a tenth of them before each upgrade where there are ten; times in ms: p50 / p99 / longest.\n\n",
		record.Thousands(int64(r.sessions)))
	record.Head(w, 2, "system", "upgraded by", "upgrades", "processes before, after", "MB without upgrades, after", "sessions alive", "cut",
		"connects refused or reset, of", "pause of a session", "longest connect, request, reply")
	for i := range r.chains {
		record.Line(w, r.chains[i].cells()...)
	}
	fmt.Fprintln(w)
	for i := range r.chains {
		if c := &r.chains[i]; c.refused != "" {
			fmt.Fprintf(w, "%s, %s: %d upgrades did not take place: its log says \"%s\". The master of before the last upgrade\n"+
				"lives as long as its sessions do.\n\n", c.system.name, c.system.way, len(c.trials)-c.done, c.refused)
		}
	}
}

func (c *chain) cells() []string {
	all := size{trials: c.trials}
	p := all.pauses(upgradeOf)
	longest := all.each(func(t *trial) time.Duration { return t.upgrade.calls.Longest }).quantile(1)
	return []string{c.system.name, c.system.way, fmt.Sprintf("%d of %d", c.done, len(c.trials)),
		fmt.Sprintf("%d, %d", c.processes0, c.processes), fmt.Sprintf("%s, %s", megabytes(c.resident0), megabytes(c.resident)),
		record.Thousands(int64(c.losses.alive)), record.Thousands(int64(c.losses.cut)), c.losses.connects(),
		fmt.Sprintf("%s / %s / %s", millis(p.quantile(0.5)), millis(p.quantile(0.99)), millis(p.quantile(1))), millis(longest)}
}

// connects is how many came to harm, of how many.
func (l *losses) connects() string {
	harmed := l.refused + l.reset + l.silent
	return fmt.Sprintf("%d of %s", harmed, record.Thousands(int64(l.made+harmed)))
}

// brief is a line of progress.
func (s *size) brief() string {
	c := s.cells()
	return fmt.Sprintf("total %s ms, pause %s ms, connect %s ms, cut %s", c[1], c[2], c[4], c[6])
}

func (c *chain) brief() string {
	cells := c.cells()
	return fmt.Sprintf("%s upgrades, processes %s, MB %s, alive %s, cut %s", cells[2], cells[3], cells[4], cells[5], cells[6])
}

// String is the median with the range.
func (s spread) String() string {
	return fmt.Sprintf("%s (%s to %s)", millis(s.median()), millis(s.quantile(0)), millis(s.quantile(1)))
}

func millis(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
	}
	return record.Thousands((d + time.Millisecond/2).Milliseconds())
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }
