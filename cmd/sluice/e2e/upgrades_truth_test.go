package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// ownFiles is by how much the descriptors of two processes with the same sessions may differ: the runtime's own epoll and
	// eventfd, a pidfd of a child that it has reaped or not, and a client of the admin API.
	ownFiles = 4
	// keptPipes is how many empty pipes a loop keeps for the next stream: see sysutil.PipePool.
	keptPipes = 32
)

// An upgradesFootprint is what a process takes.
type upgradesFootprint struct {
	pid         int
	descriptors int // without those of pipes
	open, lent  int // pipes
	resident    float64
}

func (f upgradesFootprint) String() string {
	return fmt.Sprintf("%d descriptors, %d pipes kept and %d lent, %.1f MiB resident", f.descriptors, f.open-f.lent, f.lent,
		f.resident/(1<<20))
}

func (r *upgradesRig) footprint() upgradesFootprint {
	r.t.Helper()
	s := r.answer()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID))
	if err != nil {
		r.t.Fatal(err)
	}
	return upgradesFootprint{
		pid: s.PID, descriptors: len(files) - 2*s.Pipes.Open, open: s.Pipes.Open, lent: s.Pipes.Lent,
		resident: r.metrics()["process_resident_memory_bytes"],
	}
}

// untilSame waits until the last process takes what the first one has taken for the same sessions. Its memory may be more by what
// the garbage collector happens to leave of the load.
func (r *upgradesRig) untilSame(before upgradesFootprint) (after upgradesFootprint) {
	r.t.Helper()
	until(r.t, "the last process takes what the first one has taken", func() error {
		after = r.footprint()
		if d := after.descriptors - before.descriptors; d < -ownFiles || d > ownFiles || after.lent != before.lent ||
			after.open > keptPipes*len(r.answer().Loops) || after.resident > 1.5*before.resident+32<<20 {
			return fmt.Errorf("it takes %v, and the first one had %v", after, before)
		}
		return nil
	})
	return after
}

// expectOneProcess checks that nobody else runs with this configuration.
func (r *upgradesRig) expectOneProcess() {
	r.t.Helper()
	var pids []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // fails only for a pattern that is malformed
	for _, file := range files {
		text, err := os.ReadFile(file) // empty: it has ended, and nobody has asked how
		if words := bytes.Split(text, []byte{0}); err == nil && len(words) > 1 && string(words[1]) == "run" &&
			bytes.Contains(text, []byte(r.config+"\x00")) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	if want := []string{fmt.Sprint(r.pid())}; !slices.Equal(pids, want) {
		r.t.Errorf("processes %v run, want %v", pids, want)
	}
}

// untilConstant waits until so many sessions are there, and says that they are constant from then on.
func (r *upgradesRig) untilConstant(c upgradesCount) {
	r.t.Helper()
	until(r.t, "all sessions are there", func() error { return c.inStatus(r.answer()) })
	r.constant = c
}

// expectWellEnded waits until no session is left, and checks that each was ended by its peers, was counted and logged once, and that
// no error is logged but that a reload has to wait.
func (r *upgradesRig) expectWellEnded(short int64) {
	r.t.Helper()
	until(r.t, "all sessions end", func() error { return r.answer().idle() })
	accepts, ended := make(map[string]float64), make(map[string]float64)
	metrics := r.metrics()
	for _, l := range r.answer().Listeners {
		accepts[l.Name] = metrics[fmt.Sprintf("sluice_listener_accepts_total{listener=%q}", l.Name)]
	}
	for series, n := range metrics {
		if of, ok := strings.CutPrefix(series, `sluice_sessions_ended_total{listener="`); ok {
			listener, reason, _ := strings.Cut(of, `"`)
			ended[listener] += n
			if n > 0 && !closed(listener, reason) {
				r.t.Errorf("%s %v", series, n)
			}
		}
	}
	for listener, n := range r.constant.listeners {
		if accepts[listener] != ended[listener] || n > 0 && accepts[listener] != float64(n) {
			r.t.Errorf("listener %s: %v sessions accepted, %v ended, want %d", listener, accepts[listener], ended[listener], n)
		}
	}
	r.untilLoggedOnce(short + int64(r.constant.sessions()))
	for _, l := range r.logLines() {
		if l.Level == "ERROR" && !askAgain(l.Error) {
			r.t.Errorf("an error: %+v", l)
		}
	}
}

// closed reports whether a reason says that both peers were done. A client of Postgres that leaves TLS says a goodbye that its server
// need not wait for.
func closed(listener, reason string) bool {
	return strings.Contains(reason, "_closed") || listener == "pg" && strings.Contains(reason, "_reset")
}

// untilLoggedOnce waits until there is a line for each session but those of Postgres.
func (r *upgradesRig) untilLoggedOnce(want int64) {
	r.t.Helper()
	until(r.t, "each session is logged", func() error {
		n := int64(0)
		for _, line := range r.sessions() {
			if !closed(line.Listener, line.Reason) {
				r.t.Fatalf("a session has ended badly: %+v", line)
			}
			if line.Listener != "pg" {
				n++
			}
		}
		if dropped := int64(r.metrics()["sluice_log_lines_dropped_total"]); n > want || n+dropped < want {
			return fmt.Errorf("%d are logged, %d lines were dropped, want %d", n, dropped, want)
		}
		return nil
	})
}

// An upgradeTime is what one upgrade has cost.
type upgradeTime struct{ accept, session, total time.Duration }

// upgradeOnce makes an upgrade with which all sessions go.
func (r *upgradesRig) upgradeOnce() (t upgradeTime) {
	r.t.Helper()
	r.upgrades()
	u := r.answer().Upgrade
	if u == nil || !u.OK || u.Ended > 0 || u.Sessions+u.Left < r.constant.sessions() {
		r.t.Errorf("an upgrade with %d sessions: %+v", r.constant.sessions(), u)
		return t
	}
	seconds := func(s float64) time.Duration {
		return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond)
	}
	return upgradeTime{seconds(u.AcceptPause), seconds(u.LongestPause), seconds(u.Total)}
}

// spread shows the least, the median and the most.
func spread(times []upgradeTime, of func(upgradeTime) time.Duration) string {
	var all []time.Duration
	for _, t := range times {
		all = append(all, of(t))
	}
	if slices.Sort(all); len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("%v, %v and %v", all[0], all[len(all)/2], all[len(all)-1])
}

// expectMoved checks what is counted of all upgrades.
func (r *upgradesRig) expectMoved(upgrades int) (moved, left float64) {
	r.t.Helper()
	metrics := r.metrics()
	of := func(outcome string) float64 {
		return metrics[fmt.Sprintf("sluice_upgrade_sessions_total{outcome=%q}", outcome)]
	}
	moved, left = of("moved"), of("left")
	if moved < float64(upgrades*r.constant.sessions()) || of("ended") > 0 || of("returned") > 0 {
		r.t.Errorf("%v sessions moved, %v left, %v ended, %v returned", moved, left, of("ended"), of("returned"))
	}
	return moved, left
}
