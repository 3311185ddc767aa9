package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// checkCounters waits until no session is left, and checks that all that sluice counts and logs is consistent: each
// accepted session has ended exactly once, and backends have got and given exactly the bytes of the sessions.
func (r *rig) checkCounters() {
	r.t.Helper()
	until(r.t, "every session ends", func() error { return r.status().idle() })
	s := r.status()
	metrics := r.metrics()
	for _, l := range s.Listeners {
		r.checkListener(l, s, metrics)
	}
	for _, p := range s.Pools {
		for _, b := range p.Backends {
			r.checkBackend(p.Name, b, metrics)
		}
	}
	r.checkLog(s, uint64(metrics["sluice_log_lines_dropped_total"]))
}

// idle returns an error that says what is left of sessions.
func (s status) idle() error {
	for i, l := range s.Loops {
		if l.Sessions != 0 {
			return fmt.Errorf("loop %d has %d sessions", i, l.Sessions)
		}
	}
	for _, l := range s.Listeners {
		if l.Sessions != 0 {
			return fmt.Errorf("listener %s has %d sessions", l.Name, l.Sessions)
		}
	}
	for _, p := range s.Pools {
		for _, b := range p.Backends {
			if b.Active != 0 {
				return fmt.Errorf("backend %s has %d active connections", b.Name, b.Active)
			}
		}
	}
	if s.Pipes.Lent != 0 {
		return fmt.Errorf("%d pipes are lent", s.Pipes.Lent)
	}
	return nil
}

func (r *rig) checkListener(l listenerStatus, s status, metrics map[string]float64) {
	r.t.Helper()
	ended := uint64(0)
	for _, e := range s.Ended {
		if e.Listener != l.Name {
			continue
		}
		ended += e.Count
		series := fmt.Sprintf("sluice_sessions_ended_total{listener=%q,pool=%q,reason=%q}", e.Listener, e.Pool, e.Reason)
		r.checkMetric(metrics, series, e.Count)
	}
	if ended != l.Accepts {
		r.t.Errorf("listener %s: %d sessions accepted, %d ended: %+v", l.Name, l.Accepts, ended, s.Ended)
	}
	r.checkMetric(metrics, fmt.Sprintf("sluice_listener_accepts_total{listener=%q}", l.Name), l.Accepts)
	r.checkMetric(metrics, fmt.Sprintf("sluice_listener_sessions{listener=%q}", l.Name), 0)
}

func (r *rig) checkBackend(pool string, b backendStatus, metrics map[string]float64) {
	r.t.Helper()
	check := func(name string, want uint64) {
		r.t.Helper()
		r.checkMetric(metrics, fmt.Sprintf("%s{pool=%q,backend=%q}", name, pool, b.Name), want)
	}
	check("sluice_backend_connections", 0)
	check("sluice_backend_connects_total", b.Connects)
	check("sluice_backend_received_bytes_total", b.Received)
	check("sluice_backend_sent_bytes_total", b.Sent)
}

func (r *rig) checkMetric(metrics map[string]float64, series string, want uint64) {
	r.t.Helper()
	if got, ok := metrics[series]; !ok || got != float64(want) {
		r.t.Errorf("/metrics has %s %v (there: %t), want %d as in the status", series, got, ok, want)
	}
}

// expectMetric checks one series.
func (r *rig) expectMetric(series string, want uint64) {
	r.t.Helper()
	r.checkMetric(r.metrics(), series, want)
}

// metrics returns /metrics: values by name and labels.
func (r *rig) metrics() map[string]float64 {
	r.t.Helper()
	code, text := r.get("/metrics")
	if code != http.StatusOK {
		r.t.Fatalf("/metrics answers %d:\n%s", code, text)
	}
	values, err := readMetrics(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return values
}

// readMetrics reads values by name and labels.
func readMetrics(text string) (map[string]float64, error) {
	values := make(map[string]float64)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		series, number, ok := cutLast(line, " ")
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		value, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("/metrics has the line %q", line)
		}
		values[series] = value
	}
	return values, nil
}

func cutLast(text, sep string) (before, after string, found bool) {
	at := strings.LastIndex(text, sep)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(sep):], true
}

// get asks the TCP admin address.
func (r *rig) get(path string) (code int, text string) {
	r.t.Helper()
	answer, err := http.Get("http://" + r.admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}
