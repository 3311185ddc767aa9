package main

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/bench/load"
	"sluice/bench/record"
)

// known is a trial of which every time follows from ms.
func known(ms time.Duration) trial {
	ms *= time.Millisecond
	pauses := []time.Duration{ms / 2, ms}
	return trial{told: told{total: 10 * ms, accept: ms, session: 2 * ms}, outside: 12 * ms, cpu: 5 * ms,
		upgrade: view{&load.Window{Pauses: pauses, Longest: ms + time.Millisecond}, load.Calls{Made: 100, Longest: 3 * ms}},
		quiet:   view{&load.Window{Pauses: []time.Duration{ms / 4}}, load.Calls{Made: 100, Longest: ms / 4}}}
}

func knownSize(sessions int, ms ...time.Duration) size {
	s := size{sessions: sessions, before: 20e6, after: 21e6}
	for _, ms := range ms {
		t := known(ms)
		s.trials = append(s.trials, t)
		s.losses.add(t.upgrade, t.quiet)
	}
	return s
}

func knownResult() *result {
	r := &result{options: options{runs: 3, watched: 2, sessions: 4000, upgrades: 10, stderr: io.Discard, stdout: io.Discard}}
	r.Date, r.Commit = time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC), "abc1234"
	r.sizes = []size{knownSize(1000, 4, 2, 3), knownSize(4000, 12, 12, 12)}
	r.sizes[1].losses.refused = 1
	nginx := chain{system: systems()[4], done: 1, refused: "ignored", trials: []trial{known(8), known(16)}, processes0: 3,
		processes: 6, resident0: 23e6, resident: 44.5e6}
	nginx.losses = losses{alive: 3990, cut: 10, made: 1998, reset: 2}
	r.chains = []chain{nginx}
	return r
}

func TestTables(t *testing.T) {
	var text strings.Builder
	r := knownResult()
	r.failures = []string{"sluice: a session was cut"}
	r.write(&text)
	for _, want := range []string{
		"| 1,000 | 30.0 (20.0 to 40.0) | 2.0 / 4.0 / 4.0 | 0.8 / 1.0 / 1.0 | 9.0 (6.0 to 12.0) | 0.8 (0.5 to 1.0) | 0 | 0 of 600 |\n",
		"| 1,000 | 3.0 (2.0 to 4.0) | 6.0 (4.0 to 8.0) | 36.0 (24.0 to 48.0) | 5.0 | 15.0 (10.0 to 20.0) | 20.0, 21.0 |\n",
		"| 4,000 | 120 (120 to 120) |", "| 0 | 1 of 601 |\n",
		"total: 0.0 ms, and 30.0 us more for each session. By extrapolation,\nnot by measurement: 3.0 s for 100,000 sessions, 30.0 s for a million.\n",
		"Target: p99 of a session's pause at 4,000 sessions under 20ms: 12.0 ms, met.\n",
		"| nginx | SIGUSR2, then SIGQUIT to the old master | 1 of 2 | 3, 6 | 23.0, 44.5 | 3,990 | 10 | 2 of 2,000 | 8.0 / 16.0 / 16.0 | 48.0 |\n",
		"1 upgrades did not take place: its log says \"ignored\".",
		"- sluice: a session was cut\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, &text)
		}
	}
	r.sizes = []size{knownSize(4000, 20)}
	text.Reset()
	r.write(&text)
	if !strings.Contains(text.String(), "20.0 ms, MISSED") || strings.Contains(text.String(), "extrapolation") {
		t.Errorf("want a target that is missed and no line through one point:\n%s", &text)
	}
}

func TestKeep(t *testing.T) {
	f := func(partial bool) {
		t.Helper()
		r := knownResult()
		r.out, r.partial = t.TempDir(), partial
		if err := r.keep(""); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(r.out, "2026-11-28-abc1234-upgrade.md")); (err == nil) == partial {
			t.Errorf("partial %v: %v", partial, err)
		}
	}
	f(true)
	f(false)
}

func TestFit(t *testing.T) {
	fixed, each, err := fit([]size{knownSize(100, 6), knownSize(200, 7), knownSize(400, 9)})
	if err != nil || (fixed-50*time.Millisecond).Abs() > time.Microsecond || (each-100*time.Microsecond).Abs() > time.Nanosecond {
		t.Errorf("got %v and %v, %v; want 50ms and 100us", fixed, each, err)
	}
	if _, _, err := fit([]size{knownSize(100, 6)}); err == nil {
		t.Error("a line through one point")
	}
}

func TestHarm(t *testing.T) {
	f := func(l losses, want string) {
		t.Helper()
		if err := l.harm(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(record.OneLine(err), want)) {
			t.Errorf("%+v: %v, want %q", l, err, want)
		}
	}
	f(losses{alive: 3, made: 9}, "")
	f(losses{cut: 1, sessions: errors.New("session 7: reset")}, "1 sessions cut, 0 connections refused, 0 reset, 0 without a reply; session 7: reset")
	f(losses{refused: 2}, "2 connections refused")
	f(losses{reset: 3}, "3 reset")
	var l losses
	l.add(view{&load.Window{Silent: 1}, load.Calls{Silent: 1, Other: 1, Reset: 1, First: errors.New("late")}})
	f(l, "2 reset, 2 without a reply; late")
}

func TestReadStatus(t *testing.T) {
	f := func(body string, want told, wantErr string) {
		t.Helper()
		w := httptest.NewRecorder()
		fmt.Fprint(w, body)
		got, err := readStatus(w.Result())
		if wantErr == "" && (err != nil || got != want) || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
			t.Errorf("%s: got %+v, %v; want %+v, %q", body, got, err, want, wantErr)
		}
	}
	f(`{"upgrade": {"ok": true, "accept_pause_seconds": 0.002, "longest_pause_seconds": 0.0035, "total_seconds": 1.5}}`,
		told{total: 1500 * time.Millisecond, accept: 2 * time.Millisecond, session: 3500 * time.Microsecond}, "")
	f(`{"upgrade": {"ok": false, "error": "no such binary"}}`, told{}, "no such binary")
	f(`{}`, told{}, "no upgrade that succeeded")
	f(`x`, told{}, "read status: invalid")
}

func TestOptions(t *testing.T) {
	f := func(line string, numbers, systems int, partial bool, wantErr string) {
		t.Helper()
		o, err := parseOptions(strings.Fields(line))
		if wantErr != "" {
			if err == nil || err.Error() != wantErr {
				t.Errorf("%q: got error %v, want %q", line, err, wantErr)
			}
			return
		}
		if err != nil || len(o.numbers) != numbers || len(o.systems) != systems || o.partial != partial {
			t.Errorf("%q: %d numbers, %d systems, partial %v, %v", line, len(o.numbers), len(o.systems), o.partial, err)
		}
	}
	f("", 6, 7, false, "")
	f("-out /tmp -bin /b", 6, 7, false, "")
	f("-at 10,20 -systems nginx,SLUICE", 2, 4, true, "")
	f("-at= -runs 3", 0, 7, true, "")
	f("-systems=", 6, 0, true, "")
	f("-at ten", 0, 0, false, `-at: "ten" is not a number of sessions`)
	f("-at 0", 0, 0, false, `-at: "0" is not a number of sessions`)
	f("-systems envoy", 0, 0, false, `-systems: there is no "envoy"`)
	f("-rest 0", 0, 0, false, "want positive numbers, and at least one session before each upgrade")
	f("-sessions 5", 0, 0, false, "want positive numbers, and at least one session before each upgrade")
	f("now", 0, 0, false, "want no arguments")
}
