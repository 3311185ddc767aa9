package admin

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/pool"
)

// fates says of every counter and histogram what becomes of it when another process takes over. Whoever adds one decides it.
var fates = map[string]string{
	// By l4.Server.AddCounters.
	"sluice_listener_accepts_total":           "restored",
	"sluice_listener_accept_errors_total":     "restored",
	"sluice_listener_clients_forgotten_total": "restored",
	"sluice_listener_clients_untracked_total": "restored",
	"sluice_sessions_ended_total":             "restored",
	"sluice_retries_total":                    "restored",
	// By pool.Pool.AddCounters, but the changes of state by Assume.
	"sluice_backend_connects_total":          "restored",
	"sluice_backend_connect_failures_total":  "restored",
	"sluice_backend_connect_obstacles_total": "restored",
	"sluice_backend_received_bytes_total":    "restored",
	"sluice_backend_sent_bytes_total":        "restored",
	"sluice_backend_state_changes_total":     "restored",
	// By health.Monitor.Assume.
	"sluice_pool_split_brains_total": "restored",
	// By Server.Assume.
	"sluice_log_lines_dropped_total":          "carried",
	"sluice_loop_stale_events_total":          "carried",
	"sluice_upgrade_sessions_total":           "carried",
	"sluice_session_duration_seconds":         "carried",
	"sluice_pool_queue_wait_seconds":          "carried",
	"sluice_backend_connect_seconds":          "carried",
	"sluice_check_seconds":                    "carried",
	"sluice_backend_session_duration_seconds": "carried",
	"sluice_backend_first_byte_seconds":       "carried",
}

// countsOf returns the samples of the counters and histograms of the service that a scrape has, and the families.
func countsOf(body string) (samples map[string]float64, families []string) {
	samples = make(map[string]float64)
	counts := false
	for line := range strings.Lines(body) {
		if header, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(header), " ")
			own := strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
			if counts = !own && (kind == "counter" || kind == "histogram"); counts {
				families = append(families, name)
			}
		}
		if counts {
			for sample, v := range parseLines([]byte(line)) {
				samples[sample] = v
			}
		}
	}
	return samples, families
}

// familyOf returns the family of a sample.
func familyOf(sample string) string {
	name, _, _ := strings.Cut(sample, "{")
	if fates[name] == "" {
		name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
	}
	return name
}

// A busy is a program that has counted something of everything.
func busy(t *testing.T) (o Options, a *pool.Backend) {
	t.Helper()
	web := newPool(t, "web", "a", "b")
	a = web.Backends()[0]
	o = options(web)
	stats := o.Stats()
	stats.Loops = []l4.LoopStats{{StaleEvents: 3}, {StaleEvents: 4}}
	stats.Ended = []l4.EndedStats{{Listener: "on web", Pool: "web", Reason: l4.IdleTimeout, Count: 3}}
	stats.Retries = []l4.RetryStats{{Listener: "on web", Pool: "web", Count: 5}}
	stats.Listeners[0].AcceptErrors = 2
	stats.Listeners[0].Clients.Table, stats.Listeners[0].Clients.Forgotten, stats.Listeners[0].Clients.Untracked = 64, 1, 2
	o.Stats = func() l4.Stats { return stats }
	o.LinesDropped = func() uint64 { return 6 }
	o.PoolHealth = func(*pool.Pool) health.PoolStatus { return health.PoolStatus{SplitBrains: 7} }
	a.Dialed(pool.DialOK)
	a.Dialed(pool.DialTimeout)
	a.Obstructed(pool.NoPort)
	a.AddTraffic(0, 100, 200)
	a.SetEjected(true)
	observe(o.Metrics, a)
	o.Metrics.Upgraded(&UpgradeStatus{Sessions: 5, Left: 2, Returned: 3})
	o.Metrics.UpgradeEnded(1)
	return o, a
}

// observe has something of every histogram happen, and of some buckets.
func observe(m *Metrics, b *pool.Backend) {
	for _, took := range []time.Duration{time.Millisecond, 1100 * time.Millisecond, time.Minute} {
		m.Dialed(b, took, pool.DialOK)
		m.Checked(b, took)
		m.Answered(b, took)
		m.Waited(b.Pool(), took)
		m.SessionEnded(&l4.End{Pool: b.Pool().Name(), Backend: b.Name(), Duration: took, ConnectTime: 1})
	}
}

func scrape(t *testing.T, s *Server) string {
	t.Helper()
	var buf bytes.Buffer
	s.options.Metrics.write(&buf)
	s.counters.write(&buf)
	return buf.String()
}

// overTheWire returns what another process gets.
func overTheWire(t *testing.T, c Carried) (got Carried) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestFates: no counter and no histogram is forgotten, and none has two ways over.
func TestFates(t *testing.T) {
	o, _ := busy(t)
	s := New(o)
	samples, families := countsOf(scrape(t, s))
	for _, f := range families {
		if fates[f] == "" {
			t.Errorf("%s: what becomes of it when another process takes over?", f)
		}
	}
	for f := range fates {
		if !slices.Contains(families, f) {
			t.Errorf("%s is not there any more", f)
		}
	}
	counted := make(map[string]bool)
	for sample, v := range samples {
		counted[familyOf(sample)] = counted[familyOf(sample)] || v > 0
	}
	var goes []string
	c := s.Carry()
	for _, one := range c.Counters {
		goes = append(goes, one.Family)
	}
	for _, one := range c.Histograms {
		goes = append(goes, one.Family)
	}
	for f, fate := range fates {
		if !counted[f] {
			t.Errorf("%s counts nothing here: the test says nothing of it", f)
		}
		if slices.Contains(goes, f) != (fate == "carried") {
			t.Errorf("%s is %s, and goes over: %v", f, fate, slices.Contains(goes, f))
		}
	}
}

// TestCarry: within a series nothing goes back, over several processes, and what each counts is added once.
func TestCarry(t *testing.T) {
	o, a := busy(t)
	s := New(o)
	before, _ := countsOf(scrape(t, s))
	for process := range 3 {
		next := options(newPool(t, "web", "a", "b"))
		b := next.Pools()[0].Backends()[0]
		s2 := New(next)
		restore(t, a, b)
		s2.Assume(overTheWire(t, s.Carry()))
		s2.Assume(overTheWire(t, s.Carry())) // once more does nothing more
		after, _ := countsOf(scrape(t, s2))
		for sample, v := range before {
			if got, there := after[sample]; familyOf(sample) != "" && !elsewhere(sample) && (!there || got != v) {
				t.Errorf("process %d: %s was %v, is %v", process+2, sample, v, got)
			}
		}
		observe(next.Metrics, b)
		next.Metrics.UpgradeEnded(10)
		f := func(sample string, more float64) {
			t.Helper()
			now, _ := countsOf(scrape(t, s2))
			if got := now[sample]; got != before[sample]+more {
				t.Errorf("process %d: %s was %v, is %v, want %v more", process+2, sample, before[sample], got, more)
			}
		}
		f(`sluice_backend_connect_seconds_count{pool="web",backend="a"}`, 3)
		f(`sluice_backend_connect_seconds_bucket{pool="web",backend="a",le="2.5"}`, 2)
		f(`sluice_backend_first_byte_seconds_bucket{pool="web",backend="a",le="+Inf"}`, 3)
		f(`sluice_session_duration_seconds_sum{pool="web"}`, 61.101)
		f(`sluice_upgrade_sessions_total{outcome="ended"}`, 10)
		s, a = s2, b
		before, _ = countsOf(scrape(t, s))
	}
}

// restore does what the packages do that count themselves.
func restore(t *testing.T, from, to *pool.Backend) {
	t.Helper()
	to.Pool().Assume(from.Pool().Account())
	to.Pool().AddCounters(from.Pool().Counters())
}

// elsewhere reports whether a sample is of the data path, which tells of itself what is asked of it here.
func elsewhere(sample string) bool {
	f := familyOf(sample)
	return fates[f] == "restored" && !strings.HasPrefix(f, "sluice_backend_")
}

// TestCarryLeavesOut: what is not there, is another one of the same name, or has other buckets, begins anew; and so does
// what is forgotten.
func TestCarryLeavesOut(t *testing.T) {
	o, _ := busy(t)
	c := New(o).Carry()
	const sessions, connects, dropped = `sluice_session_duration_seconds_count{pool="web"}`,
		`sluice_backend_connect_seconds_count{pool="web",backend="a"}`, "sluice_log_lines_dropped_total"
	f := func(of Options, c Carried, want ...string) *Server {
		t.Helper()
		s := New(of)
		s.Assume(c)
		body := scrape(t, s)
		for i, sample := range []string{sessions, connects, dropped} {
			if got := value(body, sample); got != want[i] {
				t.Errorf("%s is %q, want %q", sample, got, want[i])
			}
		}
		return s
	}
	f(options(newPool(t, "web", "a")), c, "3", "3", "6")
	f(options(newPool(t, "shop", "a")), c, "", "", "6")

	moved, err := pool.New(pool.Config{Name: "web", Backends: []pool.BackendConfig{
		{Name: "a", Weight: 1, Address: pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:2")}}}})
	if err != nil {
		t.Fatal(err)
	}
	f(options(moved), c, "3", "0", "6")

	other := overTheWire(t, c)
	for i := range other.Histograms {
		other.Histograms[i].Bounds[0] /= 2
	}
	f(options(newPool(t, "web", "a")), other, "0", "0", "6")

	web, shop := newPool(t, "web", "a"), newPool(t, "shop", "a")
	of, pools := options(web), []*pool.Pool{web}
	of.Pools = func() []*pool.Pool { return pools }
	s := f(of, c, "3", "3", "6")
	for _, pools = range [][]*pool.Pool{{shop}, {shop, newPool(t, "web", "a")}} {
		of.Metrics.Follow(pools)
	}
	body := scrape(t, s)
	for _, sample := range []string{sessions, connects} {
		if got := value(body, sample); got != "0" {
			t.Errorf("%s of a pool that was away is %q", sample, got)
		}
	}
}

// TestUpgradeStatus: the last upgrade is in the status and in the metrics.
func TestUpgradeStatus(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	_, _, socket := serve(t, o)
	if _, body := socket.do("GET", "/api/v1/status"); strings.Contains(body, `"upgrade"`) {
		t.Errorf("there was none: %s", body)
	}
	o.Control = follower{new(recorder), nil}
	o.Metrics.Upgraded(&UpgradeStatus{AcceptPause: .25, LongestPause: .0125, Total: 1.5, Sessions: 5, Left: 1, Returned: 2})
	o.Metrics.Upgraded(&UpgradeStatus{AcceptPause: .5, Sessions: 7})
	o.Metrics.UpgradeEnded(1)
	_, tcp, socket := serve(t, o)
	_, check := description(t, socket)
	answer, body := tcp.do("GET", "/api/v1/status")
	check("GET", "/api/v1/status", answer, body)
	var got struct{ Upgrade json.RawMessage }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	expectJSON(t, "the last upgrade", string(got.Upgrade), `{"at": "0001-01-01T00:00:00Z", "ok": true, "from_version": "v1", "sessions": 5,
		"left": 1, "ended": 1, "returned": 2, "accept_pause_seconds": 0, "longest_pause_seconds": 0, "total_seconds": 0}`)
	_, body = tcp.do("GET", "/metrics")
	for sample, want := range map[string]string{
		`sluice_upgrade_seconds{phase="accept_pause"}`:      "0.5",
		`sluice_upgrade_seconds{phase="session_pause"}`:     "0",
		`sluice_upgrade_seconds{phase="total"}`:             "0",
		`sluice_upgrade_sessions_total{outcome="moved"}`:    "12",
		`sluice_upgrade_sessions_total{outcome="left"}`:     "1",
		`sluice_upgrade_sessions_total{outcome="ended"}`:    "1",
		`sluice_upgrade_sessions_total{outcome="returned"}`: "2",
	} {
		if got := value(body, sample); got != want {
			t.Errorf("%s is %q, want %q", sample, got, want)
		}
	}
}
