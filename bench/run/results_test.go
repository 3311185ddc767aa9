package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/bench/record"
)

func TestFormat(t *testing.T) {
	f := func(m metric, v float64, want string) {
		t.Helper()
		if got := m.format(v); got != want {
			t.Errorf("%s %v: got %q, want %q", m, v, got, want)
		}
	}
	f(perSecond, 82000.4, "82,000")
	f(perCPU, 110770.4, "110,770")
	f(perSecond, 999.6, "1,000")
	f(perSecond, 1234567, "1,234,567")
	f(bytesEach, 466.5, "467")
	f(bytesEach, -1234, "-1,233")
	f(p50, 279.04, "279.0")
	f(p99, 5731, "5,731")
	f(cpuEach, 12.24, "12.2")
	f(gigabits, 22.84, "22.8")
	f(cpuPerGB, 0.1384, "0.138")
	f(descriptors, 2.004, "2.00")
}

// known returns results with figures chosen by hand: over three rounds the
// first one is the median.
func known(t *testing.T) *results {
	t.Helper()
	var chosenRows []row
	for _, r := range rows() {
		switch r.name {
		case "64B-64", "refused", "bulk-down", "mixed", "idle":
			chosenRows = append(chosenRows, r)
		}
	}
	r := newResults(chosenRows, systems())
	set := func(rowName, systemName string, f figures) {
		row, ok := r.row(rowName)
		if !ok {
			t.Fatalf("no row %s", rowName)
		}
		for round, factor := range []float64{1, 0.5, 3} {
			scaled := make(figures)
			for m, v := range f {
				scaled[m] = v * factor
			}
			r.add(row, system{name: systemName}, round+1, scaled, nil)
		}
	}
	set("64B-64", "sluice", figures{perSecond: 82000, p50: 700, p99: 1500, cpuEach: 12})
	set("64B-64", "HAProxy", figures{perSecond: 74000, p50: 800, p99: 1600, cpuEach: 15})
	set("64B-64", "HAProxy splice", figures{perSecond: 60000, p50: 900, p99: 1700, cpuEach: 20})
	set("64B-64", "nginx", figures{perSecond: 69500, p50: 850, p99: 1650, cpuEach: 10})
	set("refused", "sluice", figures{perSecond: 90000, p50: 600, p99: 1000, cpuEach: 7.5, perCPU: 133000})
	set("refused", "HAProxy", figures{perSecond: 100000, p50: 600, p99: 1000, cpuEach: 10, perCPU: 100000})
	set("bulk-down", "sluice", figures{gigabits: 20, cpuPerGB: 0.138})
	set("bulk-down", "HAProxy", figures{gigabits: 15, cpuPerGB: 0.4})
	set("bulk-down", "HAProxy splice", figures{gigabits: 18, cpuPerGB: 0.2})
	set("mixed", "sluice", figures{perSecond: 1000, p50: 300, p99: 4000, gigabits: 20, cpuPerGB: 0.2})
	set("mixed", "HAProxy", figures{perSecond: 1000, p50: 100, p99: 1000, gigabits: 10, cpuPerGB: 0.5})
	set("mixed", "HAProxy splice", figures{perSecond: 1000, p50: 300, p99: 5000, gigabits: 21, cpuPerGB: 0.2})
	set("idle", "sluice", figures{bytesEach: 610, descriptors: 2.004})
	return r
}

func TestBestVariant(t *testing.T) {
	r := known(t)
	f := func(rowName, rival, want string) {
		t.Helper()
		row, _ := r.row(rowName)
		if got, ok := r.best(row, rival); got != want || ok != (want != "") {
			t.Errorf("%s: best of %s is %q, %v; want %q", rowName, rival, got, ok, want)
		}
	}
	f("64B-64", haproxy, "HAProxy")
	f("bulk-down", haproxy, "HAProxy splice")
	f("mixed", haproxy, "HAProxy splice") // the highest throughput, not the lowest latency
	f("mixed", nginx, "")
	f("64B-64", sluice, "sluice")
}

func TestRatio(t *testing.T) {
	r := known(t)
	f := func(rowName, system, rival string, m metric, want float64, wantOK bool) {
		t.Helper()
		row, _ := r.row(rowName)
		if got, ok := r.ratio(row, system, rival, m); got != want || ok != wantOK {
			t.Errorf("%s: %s of %s / %s is %v, %v; want %v, %v", rowName, m, system, rival, got, ok, want, wantOK)
		}
	}
	f("64B-64", "sluice", haproxy, cpuEach, 0.8, true)
	f("64B-64", "sluice", nginx, cpuEach, 1.2, true)
	f("64B-64", "HAProxy", haproxy, cpuEach, 1, true)
	f("mixed", "sluice", haproxy, p99, 0.8, true)
	f("idle", "sluice", haproxy, bytesEach, 0, false)
	f("64B-64", "io.Copy", haproxy, cpuEach, 0, false)
}

// TestFailedRoundHidesMedian: two good rounds do not make up for a bad one.
func TestFailedRoundHidesMedian(t *testing.T) {
	r := known(t)
	row, _ := r.row("64B-64")
	r.add(row, system{name: "sluice"}, 4, nil, errors.New("session 3: wrong bytes"))
	if v, ok := r.median("64B-64", "sluice", cpuEach); ok {
		t.Errorf("median %v in spite of a failed round", v)
	}
	var text strings.Builder
	writeResult(&text, &environment{}, r)
	for _, want := range []string{
		"| 64B, 64 sessions | sluice | FAILED | FAILED | FAILED | FAILED | FAILED | FAILED |\n",
		"- 64B-64, sluice, round 4: session 3: wrong bytes\n",
		"| CPU per 64 B reply, 64 sessions | at most 0.90 of HAProxy | - | not measured |\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("result does not contain %q:\n%s", want, &text)
		}
	}
}

func TestResultText(t *testing.T) {
	var text strings.Builder
	writeResult(&text, &environment{Machine: record.Machine{Commit: "abc1234"}}, known(t))
	for _, want := range []string{
		"sluice / HAProxy: 64B-64 0.80, refused 1.33 (more is better), bulk-down 0.69, mixed 1.00\n",
		"sluice / nginx: 64B-64 1.20\n",
		"| CPU per 64 B reply, 64 sessions | at most 0.90 of HAProxy | 0.80 | met |\n",
		"| CPU per 64 B reply, 64 sessions | at most 1.05 of nginx | 1.20 | MISSED |\n",
		"| refused connections per CPU second | at least 1.00 of HAProxy | 1.33 | met |\n",
		"| 64 at a time | sluice | 90,000 | 600.0 | 1,000 | 7.5 | 133,000 | 1.33 | - |\n",
		"| CPU per GB down | at most 0.85 of HAProxy | 0.69 | met |\n",
		"| CPU per GB down | at most 0.30 of nginx | - | not measured |\n",
		"| resident bytes per idle session | at most 600 | 610.00 | MISSED |\n",
		"| descriptors per idle session | at most 2 | 2.00 | met |\n",
		"| small messages beside bulk: p50 | at most 1.00 of HAProxy | 1.00 | met |\n",
		"| small messages beside bulk: p99 | at most 1.00 of HAProxy | 0.80 | met |\n",
		"| small messages beside bulk: bulk Gbit/s | at least 1.00 of HAProxy | 0.95 | MISSED |\n",
		"| work | system | Gbit/s | CPU s per GB | CPU s per GB / HAProxy | CPU s per GB / nginx |\n| --- | --- | ---: | ---: | ---: | ---: |\n",
		"| 64B, 64 sessions | HAProxy * | 74,000 | 800.0 | 1,600 | 15.0 | 1.00 | 1.50 |\n",
		"| 64B, 64 sessions | io.Copy | - | - | - | - | - | - |\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("result does not contain %q:\n%s", want, &text)
		}
	}
}

func TestEveryTargetNamesARow(t *testing.T) {
	r := newResults(rows(), systems())
	for _, target := range targets() {
		row, ok := r.row(target.row)
		if !ok {
			t.Errorf("target %q: no row %q", target.text, target.row)
			continue
		}
		found := false
		for _, m := range row.columns {
			found = found || m == target.metric
		}
		if !found {
			t.Errorf("target %q: row %q does not measure %q", target.text, target.row, target.metric)
		}
	}
}

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	e := &environment{Machine: record.Machine{Date: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC), Commit: "abc1234-dirty"}}
	f := func(o options, quick bool, want string) {
		t.Helper()
		o.out, o.stdout, o.stderr, e.quick = dir, io.Discard, io.Discard, quick
		if err := keep(o, "", e, known(t)); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(filepath.Join(dir, want))
		if (err == nil) == o.partial {
			t.Errorf("partial %v: %s: %v", o.partial, want, err)
		}
	}
	f(options{partial: true}, false, "2026-11-21-abc1234-dirty.md")
	f(options{}, false, "2026-11-21-abc1234-dirty.md")
	f(options{}, true, "2026-11-21-abc1234-dirty-quick.md")
}
