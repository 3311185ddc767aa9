package admin

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/l4/clients"
	"sluice/pool"
)

func TestLabelsAreEscaped(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		if got := string(labelled("a", value, "b", "")); got != `{a="`+want+`",b=""}` {
			t.Errorf("label %q is written %s", value, got)
		}
	}
	f(`plain`, `plain`)
	f(`say "hi"`, `say \"hi\"`)
	f(`c:\dir`, `c:\\dir`)
	f("two\nlines", `two\nlines`)
	f(`größe {x},y="z"`, `größe {x},y=\"z\"`) // no other character is escaped
}

// sampleLine is the text format's grammar for one sample, as far as it is used here.
var sampleLine = regexp.MustCompile(`^([a-z_]+)(\{([a-z_]+="([^"\\]|\\["\\n])*",?)+\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$`)

// TestExposition scrapes a program with hostile names and checks each line, and each family's header.
func TestExposition(t *testing.T) {
	evil := newPool(t, "p\"\\\n{}", "b,c=\"d\"")
	o := options(evil)
	_, tcp, _ := serve(t, o)
	_, body := tcp.do("GET", "/metrics")
	types, helps := map[string]string{}, map[string]bool{}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if header, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(header, " ")
			if types[name] != "" {
				t.Errorf("second header of %s", name)
			}
			types[name] = kind
			if strings.HasPrefix(name, "sluice_") && strings.HasSuffix(name, "_total") != (kind == "counter") {
				t.Errorf("%s is a %s", name, kind)
			}
			continue
		}
		if help, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, text, _ := strings.Cut(help, " ")
			if text == "" || helps[name] {
				t.Errorf("%q: want one line of help, with a text", line)
			}
			helps[name] = true
			continue
		}
		if strings.HasPrefix(line, "go_") {
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a sample: %q", line)
			continue
		}
		family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")
		if types[m[1]] == "" && types[family] != "histogram" {
			t.Errorf("no header before %q", line)
		}
	}
	for name := range types {
		if !helps[name] {
			t.Errorf("no help for %s", name)
		}
	}
}

// TestDescribe: help for what the metrics library writes, also for what a later version may add.
func TestDescribe(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var got bytes.Buffer
		if describe(&got, []byte(text), nil); got.String() != want {
			t.Errorf("%q is made %q, want %q", text, got.String(), want)
		}
	}
	f("# HELP go_threads\n# TYPE go_threads gauge\ngo_threads 7\n",
		"# HELP go_threads Threads that were made.\n# TYPE go_threads gauge\ngo_threads 7\n")
	f("# HELP go_new_thing_bytes\n# TYPE go_new_thing_bytes gauge\ngo_new_thing_bytes 7\n",
		"# HELP go_new_thing_bytes Of the Go runtime, see the packages runtime and runtime/metrics: new thing bytes.\n"+
			"# TYPE go_new_thing_bytes gauge\ngo_new_thing_bytes 7\n")
	f("# HELP process_io_read_bytes_total\n# TYPE process_io_read_bytes_total gauge\nprocess_io_read_bytes_total 7\n",
		"# HELP process_io_read_bytes_total Of this process, see proc(5): io read bytes total.\n"+
			"# TYPE process_io_read_bytes_total counter\nprocess_io_read_bytes_total 7\n")
	f("# HELP go_cpu_count\n# TYPE go_cpu_count gauge\ngo_cpu_count 2\n# HELP go_threads\n# TYPE go_threads gauge\n",
		"# HELP go_threads Threads that were made.\n# TYPE go_threads gauge\n")
}

// value returns the value of one sample of a scrape; "" when there is none.
func value(body, sample string) string {
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func TestMetricValues(t *testing.T) {
	web := newPool(t, "web", "a", "b")
	a := web.Backends()[0]
	o := options(web)
	o.LinesDropped = func() uint64 { return 1 }
	o.Control = generationOnly{now: Generation{Number: 3, LastReload: &LastReload{Error: "no"}}}
	stats := o.Stats()
	stats.Ended = []l4.EndedStats{
		{Listener: "on web", Pool: "web", Reason: l4.IdleTimeout, Count: 3},
		{Listener: "on web", Pool: "", Reason: l4.HeaderInvalid, Count: 4},
	}
	stats.Retries = []l4.RetryStats{{Listener: "on web", Pool: "web", Count: 5}}
	o.Health = func(b *pool.Backend) (s health.Status) {
		if b == a {
			s.CertificateEnds = time.Unix(1893456000, 0)
		}
		return s
	}
	stats.MaxSessions = 11
	stats.Listeners = append(stats.Listeners, l4.ListenerStats{Name: "open", Pools: []string{"web", "shop"}})
	limited := &stats.Listeners[0]
	limited.MaxSessions, limited.Resting = 6, true
	limited.Clients = clients.Stats{Table: 64, Busy: 3, Sessions: 7, Forgotten: 1, Untracked: 2}
	stats.Pipes = l4.PipeStats{Limit: 9, Open: 5, Lent: 2}
	o.Stats = func() l4.Stats { return stats }
	_, tcp, _ := serve(t, o)

	a.Dialed(pool.DialOK)
	a.Dialed(pool.DialTimeout)
	a.AddTraffic(0, 100, 200)
	a.SetEjected(true)
	o.Metrics.Dialed(a, 2*time.Millisecond, pool.DialOK)
	o.Metrics.Dialed(a, time.Hour, pool.DialTimeout) // how long a failure took is not a connect time
	a.Obstructed(pool.NoPort)
	o.Metrics.Checked(a, 20*time.Second)
	o.Metrics.SessionEnded(&l4.End{Pool: "web", Duration: 2 * time.Second})
	o.Metrics.SessionEnded(&l4.End{Pool: "web", Backend: "b", Duration: time.Minute, ConnectTime: 1})
	o.Metrics.SessionEnded(&l4.End{Pool: "web", Backend: "a", Duration: time.Hour}) // it has only failed it
	o.Metrics.Waited(web, 2*time.Second)
	o.Metrics.Answered(a, 3*time.Millisecond)
	o.Metrics.Answered(a, 3*time.Millisecond)
	o.Metrics.SessionEnded(&l4.End{Pool: "", Duration: time.Second})

	_, body := tcp.do("GET", "/metrics")
	f := func(sample, want string) {
		t.Helper()
		if got := value(body, sample); got != want {
			t.Errorf("%s is %q, want %q", sample, got, want)
		}
	}
	f(`sluice_build_info{version="v1.2.3",commit="abc",goversion="go1.26"}`, "1")
	f(`sluice_listener_accepts_total{listener="on web"}`, "5")
	f(`sluice_sessions_ended_total{listener="on web",pool="web",reason="idle_timeout"}`, "3")
	f(`sluice_sessions_ended_total{listener="on web",pool="web",reason="client_reset"}`, "0") // there before the first
	f(`sluice_sessions_ended_total{listener="on web",pool="",reason="header_invalid"}`, "4")
	f(`sluice_sessions_ended_total{listener="on web",pool="",reason="client_reset"}`, "") // rare: only when there are some
	// Refusals never have a pool, and are there before the first.
	f(`sluice_sessions_ended_total{listener="on web",pool="",reason="denied"}`, "0")
	f(`sluice_sessions_ended_total{listener="on web",pool="web",reason="denied"}`, "")
	f(`sluice_sessions_ended_total{listener="open",pool="shop",reason="client_closed"}`, "0") // each of its pools
	f(`sluice_listener_max_sessions{listener="on web"}`, "6")
	f(`sluice_listener_max_sessions{listener="open"}`, "0")
	f(`sluice_listener_resting{listener="on web"}`, "1")
	f(`sluice_listener_resting{listener="open"}`, "0")
	f(`sluice_sessions_limit`, "11")
	f(`sluice_listener_clients{listener="on web"}`, "3")
	f(`sluice_listener_clients{listener="open"}`, "") // without limits per client
	f(`sluice_listener_clients_limit{listener="on web"}`, "64")
	f(`sluice_listener_clients_forgotten_total{listener="on web"}`, "1")
	f(`sluice_listener_clients_untracked_total{listener="on web"}`, "2")
	f(`sluice_config_generation`, "3")
	f(`sluice_config_last_reload_success`, "0")
	f(`sluice_backend_connects_total{pool="web",backend="a"}`, "1")
	f(`sluice_backend_connect_failures_total{pool="web",backend="a",reason="timeout"}`, "1")
	f(`sluice_backend_connect_failures_total{pool="web",backend="a",reason="refused"}`, "0")
	f(`sluice_backend_connect_obstacles_total{pool="web",backend="a",reason="no_port"}`, "1")
	f(`sluice_backend_connect_obstacles_total{pool="web",backend="a",reason="backlog_full"}`, "0")
	f(`sluice_backend_received_bytes_total{pool="web",backend="a"}`, "100")
	f(`sluice_backend_sent_bytes_total{pool="web",backend="a"}`, "200")
	f(`sluice_backend_up{pool="web",backend="a"}`, "0") // ejected
	f(`sluice_backend_up{pool="web",backend="b"}`, "1")
	f(`sluice_backend_connect_seconds_bucket{pool="web",backend="a",le="0.001"}`, "0")
	f(`sluice_backend_connect_seconds_bucket{pool="web",backend="a",le="0.0025"}`, "1")
	f(`sluice_backend_connect_seconds_count{pool="web",backend="a"}`, "1")
	f(`sluice_check_seconds_bucket{pool="web",backend="a",le="10"}`, "0")
	f(`sluice_check_seconds_bucket{pool="web",backend="a",le="+Inf"}`, "1")
	f(`sluice_session_duration_seconds_sum{pool="web"}`, "3662")
	f(`sluice_session_duration_seconds_count{pool="web"}`, "3")
	f(`sluice_backend_session_duration_seconds_count{pool="web",backend="a"}`, "0")
	f(`sluice_backend_session_duration_seconds_sum{pool="web",backend="b"}`, "60")
	f(`sluice_pool_queue_wait_seconds_bucket{pool="web",le="1"}`, "0")
	f(`sluice_pool_queue_wait_seconds_bucket{pool="web",le="2.5"}`, "1")
	f(`sluice_backend_first_byte_seconds_count{pool="web",backend="a"}`, "2")
	f(`sluice_backend_first_byte_seconds_count{pool="web",backend="b"}`, "") // none has come
	f(`sluice_retries_total{listener="on web",pool="web"}`, "5")
	f(`sluice_pool_usable{pool="web"}`, "1")
	f(`sluice_backend_max_connections{pool="web",backend="a"}`, "0")
	f(`sluice_backend_state{pool="web",backend="a",state="ejected"}`, "1")
	f(`sluice_backend_state{pool="web",backend="a",state="up"}`, "0")
	f(`sluice_backend_state{pool="web",backend="b",state="up"}`, "1")
	f(`sluice_backend_state_changes_total{pool="web",backend="a"}`, "1")
	f(`sluice_backend_certificate_end_timestamp_seconds{pool="web",backend="a"}`, "1893456000")
	f(`sluice_backend_certificate_end_timestamp_seconds{pool="web",backend="b"}`, "")
	f(`sluice_pipes{state="idle"}`, "3")
	f(`sluice_pipes{state="lent"}`, "2")
	f(`sluice_pipes_limit`, "9")
	f(`sluice_log_lines_dropped_total`, "1")
	f(`process_max_fds`, "1024")
}

// TestBackendStates: one word for each backend, the strongest reason first.
func TestBackendStates(t *testing.T) {
	f := func(want string, b pool.BackendStats, h health.Status) {
		t.Helper()
		if got := stateOf(b, h); got != want || !slices.Contains(backendStates, got) {
			t.Errorf("%+v, %+v is %s, want %s", b, h, got, want)
		}
	}
	f("up", pool.BackendStats{Up: true}, health.Status{})
	f("ejected", pool.BackendStats{Up: true, Ejected: true}, health.Status{})
	f("down", pool.BackendStats{Ejected: true}, health.Status{})
	f("standby", pool.BackendStats{}, health.Status{Standby: true})
	f("drain", pool.BackendStats{State: pool.Drain, Ejected: true}, health.Status{Standby: true})
	f("maint", pool.BackendStats{State: pool.Maint, Up: true}, health.Status{})
}

// TestScrapeAllocatesNoLabels scrapes a program with a hundred backends. What is allocated must not grow with them: the
// label sets are made once.
func TestScrapeAllocatesNoLabels(t *testing.T) {
	allocs := func(backends int) float64 {
		var names []string
		for i := range backends {
			names = append(names, strings.Repeat("b", i+1))
		}
		c := newCounters(options(newPool(t, "web", names...)))
		var buf bytes.Buffer
		return testing.AllocsPerRun(20, func() {
			buf.Reset()
			c.write(&buf)
		})
	}
	few, many := allocs(1), allocs(100)
	if many > few+5 { // tables of statistics, one each
		t.Errorf("a scrape of 1 backend allocates %v times, of 100 backends %v times", few, many)
	}
}

// TestMetricsFollow: what comes has metrics at once, what goes has none any more, and what stays goes on.
func TestMetricsFollow(t *testing.T) {
	web, shop := newPool(t, "web", "a", "b"), newPool(t, "shop", "c")
	pools := []*pool.Pool{web}
	o := options(web)
	stats := o.Stats()
	o.Stats = func() l4.Stats { return stats }
	o.Pools = func() []*pool.Pool { return pools }
	_, tcp, _ := serve(t, o)
	a, c := web.Backends()[0], shop.Backends()[0]
	o.Metrics.Dialed(a, time.Millisecond, pool.DialOK)
	o.Metrics.Dialed(c, time.Millisecond, pool.DialOK) // it is not there
	f := func(want, gone string) {
		t.Helper()
		_, body := tcp.do("GET", "/metrics")
		for _, sample := range strings.Fields(want) {
			at := strings.LastIndexByte(sample, '=')
			name, v := sample[:at], sample[at+1:]
			if got := value(body, name); got != v {
				t.Errorf("%s is %q, want %q", name, got, v)
			}
		}
		for _, text := range strings.Fields(gone) {
			if strings.Contains(body, text) {
				t.Errorf("%s is still there", text)
			}
		}
	}
	const connects, active = `sluice_backend_connect_seconds_count{pool="web",backend="a"}`, `sluice_backend_connections{pool="web",backend="b"}`
	f(connects+"=1 "+active+"=0", `pool="shop"`)

	if _, err := web.Update(pool.Config{Name: "web", Backends: []pool.BackendConfig{a.Config()}}); err != nil {
		t.Fatal(err)
	}
	pools = []*pool.Pool{shop, web}
	stats.Listeners = append([]l4.ListenerStats{{Name: "new", Pools: []string{"shop"}, Accepts: 7}}, stats.Listeners...)
	o.Metrics.Follow(pools)
	o.Metrics.Dialed(c, time.Millisecond, pool.DialOK)
	f(connects+`=1 sluice_backend_connect_seconds_count{pool="shop",backend="c"}=1 sluice_pool_usable{pool="shop"}=1 `+
		`sluice_listener_accepts_total{listener="new"}=7`, `backend="b"`)

	b := a.Config()
	b.Address.TCP = netip.MustParseAddrPort("127.0.0.1:2") // under the same name
	if _, err := web.Update(pool.Config{Name: "web", Backends: []pool.BackendConfig{b}}); err != nil {
		t.Fatal(err)
	}
	pools = []*pool.Pool{web}
	o.Metrics.Follow(pools)
	f(connects+"=0", `pool="shop",backend=`)
}
