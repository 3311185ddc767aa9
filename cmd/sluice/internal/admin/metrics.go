package admin

import (
	"bytes"
	"net/http"
	"net/url"
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
	pools    atomic.Pointer[map[string]*poolMetrics] // by name; replaced as a whole by Follow
	backends sync.Map                                // *backendMetrics by *pool.Backend

	changing sync.Mutex                // taken to change pools, backends and before
	before   atomic.Pointer[inherited] // replaced as a whole

	upgrades upgrades
}

type poolMetrics struct {
	sessions, waits *metrics.PrometheusHistogram

	backends sync.Map // *backendMetrics by name
}

type backendMetrics struct {
	connects, checks, sessions *metrics.PrometheusHistogram

	labels  labels
	address string
	// answers is made with the first answer that is seen: most listeners have no first packet.
	answers atomic.Pointer[metrics.PrometheusHistogram]
}

// NewMetrics returns metrics of nothing yet: see Follow.
func NewMetrics() *Metrics {
	metrics.ExposeMetadata(true) // HELP and TYPE lines; the library has only this switch for the whole process
	m := &Metrics{set: metrics.NewSet()}
	m.pools.Store(new(map[string]*poolMetrics))
	m.before.Store(new(inherited))
	return m
}

// Follow makes the metrics those of these pools. What is gone is forgotten; a backend that has come in place of another one
// of its name begins anew.
func (m *Metrics) Follow(pools []*pool.Pool) {
	m.changing.Lock()
	defer m.changing.Unlock()
	was, next := *m.pools.Load(), make(map[string]*poolMetrics, len(pools))
	stay := make(map[*pool.Backend]bool)
	for _, p := range pools {
		if next[p.Name()] = was[p.Name()]; next[p.Name()] == nil {
			next[p.Name()] = m.newPool(p.Name())
		}
		for _, b := range p.Backends() {
			stay[b] = true
		}
	}
	for b := range m.backends.Range {
		if b := b.(*pool.Backend); !stay[b] {
			m.forget(b)
		}
	}
	for name := range was {
		if next[name] == nil {
			m.drop(poolHistograms, labelled("pool", name))
		}
	}
	m.pools.Store(&next)
	for _, p := range pools {
		for _, b := range p.Backends() {
			m.follow(b)
		}
	}
}

// FollowChange is Follow of one of the pools that has changed so.
func (m *Metrics) FollowChange(c pool.Change) {
	m.changing.Lock()
	defer m.changing.Unlock()
	for _, b := range c.Removed {
		m.forget(b)
	}
	for _, b := range c.Added {
		m.follow(b)
	}
}

// forget drops the metrics of a backend. changing is held.
func (m *Metrics) forget(b *pool.Backend) {
	of, known := m.backends.LoadAndDelete(b)
	if !known {
		return
	}
	m.drop(backendHistograms, of.(*backendMetrics).labels)
	if p := (*m.pools.Load())[b.Pool().Name()]; p != nil {
		p.backends.CompareAndDelete(b.Name(), of)
	}
}

// drop forgets histograms, and what processes before this one have counted of them.
func (m *Metrics) drop(names []string, l labels) {
	for _, name := range names {
		m.set.UnregisterMetric(name + string(l))
	}
	m.before.Store(m.before.Load().without(names, l))
}

// poolHistograms are the names of those of each pool.
var poolHistograms = []string{"sluice_session_duration_seconds", "sluice_pool_queue_wait_seconds"}

// backendHistograms are the names of those of each backend.
var backendHistograms = []string{
	"sluice_backend_connect_seconds", "sluice_check_seconds", "sluice_backend_session_duration_seconds",
	answerHistogram,
}

// answerHistogram is the one that not every backend has.
const answerHistogram = "sluice_backend_first_byte_seconds"

// bounds are those of each histogram.
var bounds = map[string][]float64{
	"sluice_session_duration_seconds":         sessionBounds,
	"sluice_pool_queue_wait_seconds":          waitBounds,
	"sluice_backend_connect_seconds":          connectBounds,
	"sluice_check_seconds":                    connectBounds,
	"sluice_backend_session_duration_seconds": sessionBounds,
	answerHistogram:                           connectBounds,
}

func (m *Metrics) newPool(name string) *poolMetrics {
	l := labelled("pool", name)
	return &poolMetrics{
		sessions: m.histogram("sluice_session_duration_seconds", l),
		waits:    m.histogram("sluice_pool_queue_wait_seconds", l),
	}
}

// follow makes the metrics of a backend that has none. changing is held.
func (m *Metrics) follow(b *pool.Backend) {
	if m.of(b) != nil {
		return
	}
	l := backendLabels(b)
	one := &backendMetrics{
		connects: m.histogram("sluice_backend_connect_seconds", l),
		checks:   m.histogram("sluice_check_seconds", l),
		sessions: m.histogram("sluice_backend_session_duration_seconds", l),
		labels:   l,
		address:  b.Address().String(),
	}
	m.backends.Store(b, one)
	if p := (*m.pools.Load())[b.Pool().Name()]; p != nil {
		p.backends.Store(b.Name(), one)
	}
}

// of returns the metrics of a backend; nil: it has none.
func (m *Metrics) of(b *pool.Backend) *backendMetrics {
	if of, known := m.backends.Load(b); known {
		return of.(*backendMetrics)
	}
	return nil
}

func (m *Metrics) histogram(name string, l labels) *metrics.PrometheusHistogram {
	return m.set.GetOrCreatePrometheusHistogramExt(name+string(l), bounds[name])
}

// SessionEnded counts how long a session lasted. One that never came to a pool, such as that of a client who was
// refused, is left out at no cost; one that no backend has taken is none of a backend's.
func (m *Metrics) SessionEnded(end *l4.End) {
	if end.Pool == "" {
		return
	}
	p := (*m.pools.Load())[end.Pool]
	if p == nil {
		return
	}
	took := end.Duration.Seconds()
	p.sessions.Update(took)
	if end.ConnectTime <= 0 {
		return
	}
	if b, known := p.backends.Load(end.Backend); known {
		b.(*backendMetrics).sessions.Update(took)
	}
}

// Waited counts how long a session waited in a pool's queue, whether a backend came of it or not.
func (m *Metrics) Waited(p *pool.Pool, took time.Duration) {
	if of := (*m.pools.Load())[p.Name()]; of != nil {
		of.waits.Update(took.Seconds())
	}
}

// Dialed counts how long a connect took that was successful.
func (m *Metrics) Dialed(b *pool.Backend, took time.Duration, result pool.DialResult) {
	if of := m.of(b); of != nil && result == pool.DialOK {
		of.connects.Update(took.Seconds())
	}
}

// Answered counts how long a backend took to answer a client's first packet.
func (m *Metrics) Answered(b *pool.Backend, took time.Duration) {
	if of := m.of(b); of != nil {
		m.answersOf(of).Update(took.Seconds())
	}
}

func (m *Metrics) answersOf(of *backendMetrics) *metrics.PrometheusHistogram {
	h := of.answers.Load()
	if h == nil { // the library returns the same one to everybody who asks
		h = m.histogram(answerHistogram, of.labels)
		of.answers.Store(h)
	}
	return h
}

// Checked counts how long a health check took, whatever its result.
func (m *Metrics) Checked(b *pool.Backend, took time.Duration) {
	if of := m.of(b); of != nil {
		of.checks.Update(took.Seconds())
	}
}

// buffers keeps the memory of one scrape for the next.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// write writes the distributions.
func (m *Metrics) write(buf *bytes.Buffer) {
	raw := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(raw)
	raw.Reset()
	m.set.WritePrometheus(raw)
	describe(buf, raw.Bytes(), m.before.Load().lines)
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request, _ url.Values) {
	m := s.options.Metrics
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	m.write(buf)
	s.counters.write(buf)
	s.counters.resources.write(buf)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(buf.Bytes())
}
