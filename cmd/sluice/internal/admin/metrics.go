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
	set *metrics.Set
	now atomic.Pointer[observed] // replaced as a whole by Follow

	changing sync.Mutex                // taken to replace now, and before
	before   atomic.Pointer[inherited] // replaced as a whole

	upgrades upgrades
}

// An observed is what there is to be observed. It does not change.
type observed struct {
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

// NewMetrics returns metrics of nothing yet: see Follow.
func NewMetrics() *Metrics {
	metrics.ExposeMetadata(true) // HELP and TYPE lines; the library has only this switch for the whole process
	m := &Metrics{set: metrics.NewSet()}
	m.now.Store(new(observed))
	m.before.Store(new(inherited))
	return m
}

// Follow makes the metrics those of these pools. What is gone is forgotten; a backend that has come in place of another one
// of its name begins anew. It is called by one goroutine at a time.
func (m *Metrics) Follow(pools []*pool.Pool) {
	m.changing.Lock()
	defer m.changing.Unlock()
	was := m.now.Load()
	next := &observed{pools: make(map[string]*poolMetrics, len(pools)), backends: make(map[*pool.Backend]*backendMetrics)}
	for _, p := range pools {
		next.pools[p.Name()] = nil
		for _, b := range p.Backends() {
			next.backends[b] = nil
		}
	}
	m.forget(was, next)
	for _, p := range pools {
		next.pools[p.Name()] = m.ofPool(p, was, next)
	}
	m.now.Store(next)
}

// forget drops what is not among next.
func (m *Metrics) forget(was, next *observed) {
	for name := range was.pools {
		if _, stays := next.pools[name]; !stays {
			m.drop(poolHistograms, labelled("pool", name))
		}
	}
	for b, of := range was.backends {
		if _, stays := next.backends[b]; !stays {
			m.drop(backendHistograms, of.labels)
		}
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

// ofPool returns the metrics of a pool, those that it has so far if it has some.
func (m *Metrics) ofPool(p *pool.Pool, was, next *observed) *poolMetrics {
	l := labelled("pool", p.Name())
	of := &poolMetrics{
		sessions: m.histogram("sluice_session_duration_seconds", l),
		waits:    m.histogram("sluice_pool_queue_wait_seconds", l),
		backends: make(map[string]*backendMetrics, len(p.Backends())),
	}
	for _, b := range p.Backends() {
		one := was.backends[b]
		if one == nil {
			l := backendLabels(b)
			one = &backendMetrics{
				connects: m.histogram("sluice_backend_connect_seconds", l),
				checks:   m.histogram("sluice_check_seconds", l),
				sessions: m.histogram("sluice_backend_session_duration_seconds", l),
				labels:   l,
			}
		}
		next.backends[b], of.backends[b.Name()] = one, one
	}
	return of
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
	p := m.now.Load().pools[end.Pool]
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
	if of := m.now.Load().pools[p.Name()]; of != nil {
		of.waits.Update(took.Seconds())
	}
}

// Dialed counts how long a connect took that was successful.
func (m *Metrics) Dialed(b *pool.Backend, took time.Duration, result pool.DialResult) {
	if of := m.now.Load().backends[b]; of != nil && result == pool.DialOK {
		of.connects.Update(took.Seconds())
	}
}

// Answered counts how long a backend took to answer a client's first packet.
func (m *Metrics) Answered(b *pool.Backend, took time.Duration) {
	if of := m.now.Load().backends[b]; of != nil {
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
	if of := m.now.Load().backends[b]; of != nil {
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
