package health

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sluice/pool"
)

// Checker asks a backend whether it is fit for sessions. The error is the reason why not, for the log and the status;
// nil means healthy. It must return soon after ctx is done. Check is called for several backends at a time, and once
// at a time for each.
type Checker interface {
	Check(ctx context.Context, b *pool.Backend) error
}

// Options is what a Monitor may be given besides its settings. The zero Options is ready for use.
type Options struct {
	Logger  *slog.Logger                                         // gets one line per transition; nil: none is written
	OnProbe func(b *pool.Backend, took time.Duration, err error) // called after each check, on its goroutine
	Checker Checker                                              // nil: by Config.Type
}

// Monitor watches the backends of one pool and switches them up, down, out and back in.
type Monitor struct {
	pool    *pool.Pool
	cfg     Config
	checker Checker // nil: no active checks
	logger  *slog.Logger
	onProbe func(*pool.Backend, time.Duration, error)
	wake    chan struct{} // something for the goroutine that ends ejections

	mu       sync.Mutex // guards what follows and the targets; taken before a pool's
	running  bool
	ejected  int
	targets  map[*pool.Backend]*target // the map itself never changes
	ejection []ejection                // not yet logged
}

// target is what is known of one backend.
type target struct {
	checks   checkState
	last     probe
	evidence evidence
}

// probe is one finished check.
type probe struct {
	started time.Time
	took    time.Duration
	err     error
}

// New returns a monitor of the pool's backends. Settings that have no meaning at 0 get their defaults.
func New(p *pool.Pool, cfg Config, o Options) *Monitor {
	m := &Monitor{
		pool: p, cfg: cfg.withDefaults(), checker: o.Checker, logger: o.Logger, onProbe: o.OnProbe,
		wake: make(chan struct{}, 1), targets: make(map[*pool.Backend]*target),
	}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Type == KindOff:
		m.checker = nil
	case m.checker == nil:
		m.checker = newTCPChecker()
	}
	now := time.Now()
	for _, b := range p.Backends() {
		m.targets[b] = &target{checks: checkState{up: b.Stats().Up, since: now}}
	}
	return m
}

// Run watches until ctx is done. It must be called at most once. When it returns nothing is ejected any more, and each
// backend is as up or down as the last check left it.
func (m *Monitor) Run(ctx context.Context) {
	m.setRunning(true)
	defer m.stopEjecting()

	var all sync.WaitGroup
	for _, b := range m.pool.Backends() {
		if m.checker == nil {
			b.SetUp(true) // a monitor before this one may have left it down
			continue
		}
		all.Go(func() { m.watch(ctx, b) })
	}
	all.Go(func() { m.endEjections(ctx) })
	all.Wait()
}

// Status is what a monitor knows of one backend.
type Status struct {
	Up        bool      // by active checks
	Since     time.Time // when it went up or down; at the start: when the monitor was made
	Successes int       // checks in a row that succeeded
	Failures  int       // checks in a row that failed

	LastProbe time.Time     // start of the last finished check; zero: none yet
	Took      time.Duration // how long it took
	Error     string        // why it failed; "" = it succeeded

	EjectedUntil time.Time // zero: not ejected
}

// Status returns a copy of what is known of a backend of the pool, and the zero Status for any other.
func (m *Monitor) Status(b *pool.Backend) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.targets[b]
	if t == nil {
		return Status{}
	}
	s := Status{
		Up: t.checks.up, Since: t.checks.since, Successes: t.checks.successes, Failures: t.checks.failures,
		LastProbe: t.last.started, Took: t.last.took, EjectedUntil: t.evidence.until,
	}
	if t.last.err != nil {
		s.Error = t.last.err.Error()
	}
	return s
}

func (m *Monitor) setRunning(running bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = running
}
