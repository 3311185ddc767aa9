package admin

import (
	"bytes"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"sluice/l4"
	"sluice/pool"
)

// Bounds of the histograms' buckets, in seconds. They are fixed, so that dashboards and alerts can rely on them.
var (
	// A connect takes from 100 us on the same machine to the seconds of a lost SYN and a timeout. So does an answer, and
	// so may a wait for a backend.
	connectBounds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	waitBounds    = []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	// A session is one HTTP request, or a connection pool's connection that lives for days.
	sessionBounds = []float64{.001, .005, .025, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}
)

// Metrics is what is collected for /metrics as it happens: distributions. What sluice counts anyhow is in counters, and
// read when somebody asks. Its methods hold a mutex for a moment, and may be called on event loops.
type Metrics struct {
	set      *metrics.Set
	pools    map[string]*poolMetrics
	backends map[*pool.Backend]*backendMetrics
}

type poolMetrics struct {
	sessions, waits *metrics.PrometheusHistogram

	backends map[string]*backendMetrics // by name
}

type backendMetrics struct {
	connects, checks, sessions *metrics.PrometheusHistogram

	labels labels
	// answers is made with the first answer that is seen: most listeners have no first packet.
	answers atomic.Pointer[metrics.PrometheusHistogram]
}

// NewMetrics returns the metrics of a program with these pools.
func NewMetrics(pools []*pool.Pool) *Metrics {
	metrics.ExposeMetadata(true) // HELP and TYPE lines; the library has only this switch for the whole process
	m := &Metrics{
		set:      metrics.NewSet(),
		pools:    make(map[string]*poolMetrics, len(pools)),
		backends: make(map[*pool.Backend]*backendMetrics),
	}
	for _, p := range pools {
		l := labelled("pool", p.Name())
		of := &poolMetrics{
			sessions: m.histogram("sluice_session_duration_seconds", l, sessionBounds),
			waits:    m.histogram("sluice_pool_queue_wait_seconds", l, waitBounds),
			backends: make(map[string]*backendMetrics, len(p.Backends())),
		}
		for _, b := range p.Backends() {
			l := backendLabels(b)
			m.backends[b] = &backendMetrics{
				connects: m.histogram("sluice_backend_connect_seconds", l, connectBounds),
				checks:   m.histogram("sluice_check_seconds", l, connectBounds),
				sessions: m.histogram("sluice_backend_session_duration_seconds", l, sessionBounds),
				labels:   l,
			}
			of.backends[b.Name()] = m.backends[b]
		}
		m.pools[p.Name()] = of
	}
	return m
}

func (m *Metrics) histogram(name string, l labels, bounds []float64) *metrics.PrometheusHistogram {
	return m.set.GetOrCreatePrometheusHistogramExt(name+string(l), bounds)
}

// SessionEnded counts how long a session lasted. One that never came to a pool, such as that of a client who was
// refused, is left out at no cost; one that no backend has taken is none of a backend's.
func (m *Metrics) SessionEnded(end *l4.End) {
	if end.Pool == "" {
		return
	}
	p := m.pools[end.Pool]
	if p == nil {
		return
	}
	took := end.Duration.Seconds()
	p.sessions.Update(took)
	if b := p.backends[end.Backend]; b != nil && end.ConnectTime > 0 {
		b.sessions.Update(took)
	}
}

// Waited counts how long a session waited in a pool's queue, whether a backend came of it or not.
func (m *Metrics) Waited(p *pool.Pool, took time.Duration) {
	if of := m.pools[p.Name()]; of != nil {
		of.waits.Update(took.Seconds())
	}
}

// Dialed counts how long a connect took that was successful.
func (m *Metrics) Dialed(b *pool.Backend, took time.Duration, result pool.DialResult) {
	if of := m.backends[b]; of != nil && result == pool.DialOK {
		of.connects.Update(took.Seconds())
	}
}

// Answered counts how long a backend took to answer a client's first packet.
func (m *Metrics) Answered(b *pool.Backend, took time.Duration) {
	of := m.backends[b]
	if of == nil {
		return
	}
	h := of.answers.Load()
	if h == nil { // the library returns the same one to everybody who asks
		h = m.histogram("sluice_backend_first_byte_seconds", of.labels, connectBounds)
		of.answers.Store(h)
	}
	h.Update(took.Seconds())
}

// Checked counts how long a health check took, whatever its result.
func (m *Metrics) Checked(b *pool.Backend, took time.Duration) {
	if of := m.backends[b]; of != nil {
		of.checks.Update(took.Seconds())
	}
}

// buffers keeps the memory of one scrape for the next.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	m := s.options.Metrics
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	raw := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(raw)
	raw.Reset()
	m.set.WritePrometheus(raw)
	describe(buf, raw.Bytes())
	s.counters.write(buf)
	s.counters.resources.write(buf)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(buf.Bytes())
}
