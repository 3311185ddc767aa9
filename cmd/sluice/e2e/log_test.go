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
	Listener       string
	Pool           string
	Admin          string // where the admin API answers; in the line "ready"
	Backend        string
	Client, Reason string
	Error          string
	Retries        uint64
	Received, Sent uint64
	Count          uint64 // sessions that were refused, which have no lines of their own
	ServerName     string `json:"server_name"`
	UniqueID       string `json:"unique_id"`
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

// checkLog checks that each session has a line, except those of which sluice says that it dropped the line, and those
// of clients that were refused, see checkRefused.
func (r *rig) checkLog(s status, dropped uint64) {
	r.t.Helper()
	until(r.t, "each session is logged", func() error {
		n, want := uint64(0), s.accepts()-s.refused()
		for _, line := range r.sessions() {
			if !isRefusal(line.Reason) {
				n++
			}
		}
		if n > want || n+dropped < want {
			return fmt.Errorf("%d lines and %d dropped for %d sessions", n, dropped, want)
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

// isRefusal reports whether a reason is that a client was turned away for who it is or what it said at first. Of many
// such sessions at a time a few are logged, and then how many others there were.
func isRefusal(reason string) bool {
	switch reason {
	case "denied", "rate_limited", "client_limit", "no_route":
		return true
	}
	return strings.HasPrefix(reason, "header_") || strings.HasPrefix(reason, "hello_")
}

// refused is the number of sessions that were refused.
func (s status) refused() (n uint64) {
	for _, e := range s.Ended {
		if isRefusal(e.Reason) {
			n += e.Count
		}
	}
	return n
}

// checkRefused checks that the log of a sluice that has ended accounts for every session that was refused.
func (r *rig) checkRefused(want uint64) {
	r.t.Helper()
	n := uint64(0)
	for _, line := range r.logLines() {
		switch {
		case line.Msg == "session" && isRefusal(line.Reason):
			n++
		case line.Msg == "sessions refused":
			n += line.Count
		}
	}
	if n != want {
		r.t.Errorf("%d sessions are logged that were refused, want %d", n, want)
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
		if s.ended(reason) != n && !isRefusal(reason) {
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
