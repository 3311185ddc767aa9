package admin

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"sluice/l4"
	"sluice/pool"
)

// Bounds of the histograms' buckets, in seconds. They are fixed, so that dashboards and alerts can rely on them.
var (
	// A connect takes from 100 us on the same machine to the seconds of a lost SYN and a timeout.
	connectBounds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// A session is one HTTP request, or a connection pool's connection that lives for days.
	sessionBounds = []float64{.001, .005, .025, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}
)

// Metrics is what is collected for /metrics as it happens: distributions. What sluice counts anyhow is in counters, and
// read when somebody asks.
type Metrics struct {
	set      *metrics.Set
	sessions map[string]*metrics.PrometheusHistogram
	connects map[*pool.Backend]*metrics.PrometheusHistogram
	checks   map[*pool.Backend]*metrics.PrometheusHistogram
}

// NewMetrics returns the metrics of a program with these pools.
func NewMetrics(pools []*pool.Pool) *Metrics {
	metrics.ExposeMetadata(true) // # TYPE lines; the library has only this switch for the whole process
	m := &Metrics{
		set:      metrics.NewSet(),
		sessions: make(map[string]*metrics.PrometheusHistogram),
		connects: make(map[*pool.Backend]*metrics.PrometheusHistogram),
		checks:   make(map[*pool.Backend]*metrics.PrometheusHistogram),
	}
	histogram := func(name string, labels labels, bounds []float64) *metrics.PrometheusHistogram {
		return m.set.NewPrometheusHistogramExt(name+string(labels), bounds)
	}
	for _, p := range pools {
		m.sessions[p.Name()] = histogram("sluice_session_duration_seconds", labelled("pool", p.Name()), sessionBounds)
		for _, b := range p.Backends() {
			l := backendLabels(b)
			m.connects[b] = histogram("sluice_backend_connect_seconds", l, connectBounds)
			m.checks[b] = histogram("sluice_check_seconds", l, connectBounds)
		}
	}
	return m
}

// SessionEnded counts how long a session lasted. One that never came to a pool, such as that of a client who was
// refused, is left out at no cost. It is called on event loops: it holds a mutex for a moment.
func (m *Metrics) SessionEnded(end *l4.End) {
	if end.Pool == "" {
		return
	}
	if h := m.sessions[end.Pool]; h != nil {
		h.Update(end.Duration.Seconds())
	}
}

// Dialed counts how long a connect took that was successful. It is called on event loops: it holds a mutex for a
// moment.
func (m *Metrics) Dialed(b *pool.Backend, took time.Duration, result pool.DialResult) {
	if h := m.connects[b]; h != nil && result == pool.DialOK {
		h.Update(took.Seconds())
	}
}

// Checked counts how long a health check took, whatever its result.
func (m *Metrics) Checked(b *pool.Backend, took time.Duration) {
	if h := m.checks[b]; h != nil {
		h.Update(took.Seconds())
	}
}

// buffers keeps the memory of one scrape for the next.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	m := s.options.Metrics
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	m.set.WritePrometheus(buf)
	s.counters.write(buf)
	s.counters.resources.write(buf)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(buf.Bytes())
}
