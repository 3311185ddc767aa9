package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// logLine is what the tests read of a line of sluice's log.
type logLine struct {
	Time           time.Time
	Level, Msg     string
	Pool           string
	Admin          string // where the admin API answers; in the line "ready"
	Backend        string
	Client, Reason string
	Error          string
	Retries        uint64
	Received, Sent uint64
}

// logLines returns sluice's log, which must be nothing but JSON.
func (r *rig) logLines() (lines []logLine) {
	r.t.Helper()
	for _, text := range readLines(r.t, r.log) {
		var line logLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			r.t.Fatalf("sluice logged %q: %v", text, err)
		}
		if line.Level == "ERROR" && (r.mayLog == "" || !strings.HasPrefix(line.Msg, r.mayLog)) {
			r.t.Fatalf("sluice logged an error: %s", text)
		}
		lines = append(lines, line)
	}
	return lines
}

// sessions returns the lines of sessions that have ended.
func (r *rig) sessions() (ended []logLine) {
	r.t.Helper()
	for _, line := range r.logLines() {
		if line.Msg == "session" {
			ended = append(ended, line)
		}
	}
	return ended
}

// checkLog checks that each session has a line, except those of which sluice says that it dropped the line.
func (r *rig) checkLog(s status, dropped uint64) {
	r.t.Helper()
	until(r.t, "each session is logged", func() error {
		if n := uint64(len(r.sessions())); n+dropped != s.accepts() {
			return fmt.Errorf("%d lines and %d dropped for %d sessions", n, dropped, s.accepts())
		}
		return nil
	})
	if dropped > 0 {
		return
	}
	if err := s.sumsTo(r.sessions()); err != nil {
		r.t.Error(err)
	}
}

// sumsTo compares the counters of reasons and bytes with the sums over the sessions.
func (s status) sumsTo(sessions []logLine) error {
	reasons := make(map[string]uint64)
	var received, sent uint64
	for _, line := range sessions {
		reasons[line.Reason]++
		received += line.Received
		sent += line.Sent
	}
	for reason, n := range reasons {
		if s.ended(reason) != n {
			return fmt.Errorf("%d sessions ended with %s, and %d are logged so", s.ended(reason), reason, n)
		}
	}
	for _, p := range s.Pools {
		for _, b := range p.Backends {
			received -= b.Received
			sent -= b.Sent
		}
	}
	if received != 0 || sent != 0 {
		return errors.New("the bytes of the sessions are not those of the backends")
	}
	return nil
}
