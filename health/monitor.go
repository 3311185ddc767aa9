package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// Watched is a pool and how it is watched. Settings that have no meaning at 0 get their defaults.
type Watched struct {
	Pool   *pool.Pool
	Config Config
}

// Options is what a Monitor may be given besides the pools. The zero Options is ready for use.
type Options struct {
	// Logger gets one line per transition; nil: none is written.
	Logger *slog.Logger
	// OnProbe is called after each probe, on its goroutine, once for each backend that it was made for.
	OnProbe func(b *pool.Backend, took time.Duration, err error)
	// Sessions is how live sessions are reached; nil: none is touched.
	Sessions Sessions
	// NewProber makes the probers; nil: probe.New.
	NewProber func(probe.Config, pool.Address) (probe.Prober, error)
}

// Sessions is how the live sessions of a backend are reached. The methods are called for several pools at a time.
type Sessions interface {
	// Redispatch lets the sessions that the backend has not answered yet try another one.
	Redispatch(b *pool.Backend)
	// End ends at most limit live sessions of b, all of them when limit is 0, and returns how many. Fewer than limit
	// means that none is left.
	End(b *pool.Backend, limit int) int
}

// Monitor watches the backends of all pools and switches them up, down, out and back in.
type Monitor struct {
	logger   *slog.Logger
	onProbe  func(*pool.Backend, time.Duration, error)
	sessions Sessions // nil: none is touched
	pools    []*poolWatch
	members  map[*pool.Backend]*member
	targets  []*target

	wakeLog   chan struct{} // something for the goroutine that writes the log
	wakeEject chan struct{} // something for the goroutine that ends ejections

	mu      sync.Mutex // guards what follows, and what says so; taken before a pool's
	running bool
	lines   []line
}

// New returns a monitor of the backends of the pools. A backend is up until its first check, as it is, unless the check
// is to say what it is: of role primary, replica or prefer_replica, or lagging. It is down until then.
//
// The error names every pool that is given twice, and every backend whose check cannot work.
func New(pools []Watched, o Options) (*Monitor, error) {
	m := &Monitor{
		logger: o.Logger, onProbe: o.OnProbe, sessions: o.Sessions, members: make(map[*pool.Backend]*member),
		wakeLog: make(chan struct{}, 1), wakeEject: make(chan struct{}, 1),
	}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	if err := m.addPools(pools, o.NewProber); err != nil {
		for _, t := range m.targets {
			t.prober.Close()
		}
		return nil, err
	}
	for _, w := range m.pools {
		w.begin(time.Now())
	}
	return m, nil
}

// addPools makes a member for each backend and a target for each server that is asked something of its own.
func (m *Monitor) addPools(pools []Watched, newProber newProber) error {
	if newProber == nil {
		newProber = probe.New
	}
	var problems []error
	targets := make(map[targetKey]*target)
	seen := make(map[*pool.Pool]bool)
	for _, given := range pools {
		if seen[given.Pool] {
			problems = append(problems, fmt.Errorf("watch pool %q: it is given twice", given.Pool.Name()))
			continue
		}
		seen[given.Pool] = true
		w := &poolWatch{
			pool: given.Pool, cfg: given.Config.withDefaults(), seen: make(timelines), progress: make(map[uint64]*progress),
			wakeClosing: make(chan struct{}, 1),
		}
		m.pools = append(m.pools, w)
		for _, b := range w.pool.Backends() {
			if err := m.addMember(w, b, targets, newProber); err != nil {
				problems = append(problems, fmt.Errorf("watch pool %q: backend %q: %w", w.pool.Name(), b.Name(), err))
			}
		}
	}
	return errors.Join(problems...)
}

func (m *Monitor) addMember(w *poolWatch, b *pool.Backend, targets map[targetKey]*target, newProber newProber) error {
	one := &member{pool: w, backend: b, backup: b.Backup(), tier: b.Backup()}
	w.members = append(w.members, one)
	m.members[b] = one
	if w.cfg.Probe.Kind == probe.Off {
		return nil
	}
	key := keyOf(w.cfg, b.Address())
	t := targets[key]
	late := b.Lost() != "" // two of them may get the same address, which is not worth finding out
	if t == nil || late {
		prober, err := proberOf(w.cfg.Probe, b, newProber)
		if err != nil {
			return err
		}
		t = &target{cfg: w.cfg, prober: prober, wake: make(chan struct{}, 1)}
		m.targets = append(m.targets, t)
	}
	if !late {
		targets[key] = t
	}
	t.members = append(t.members, one)
	one.target = t
	return nil
}

// begin gives the pool's backends the states they have until their first check.
func (w *poolWatch) begin(now time.Time) {
	for _, b := range w.members {
		b.since = now
		switch {
		case b.target == nil:
			b.verdict = verdict{up: true} // a monitor before this one may have left it down
		case w.cfg.judged():
			b.verdict = verdict{reason: notChecked}
		default:
			b.verdict = verdict{up: b.backend.Stats().Up}
		}
		b.backend.SetUp(b.verdict.up)
	}
}

// Run watches until ctx is done. It must be called at most once. When it returns nothing is ejected any more, and each
// backend is as up or down as the last check left it.
func (m *Monitor) Run(ctx context.Context) {
	m.start(time.Now())
	stopLog, logged := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(logged)
		m.writeLog(stopLog)
	}()

	var all sync.WaitGroup
	for _, t := range m.targets {
		all.Go(func() { m.run(ctx, t) })
	}
	if m.sessions != nil {
		for _, w := range m.pools {
			all.Go(func() { m.closeSessions(ctx, w) })
		}
	}
	all.Go(func() { m.watchAdmin(ctx) })
	all.Go(func() { m.endEjections(ctx) })
	all.Wait()

	m.stopEjecting()
	close(stopLog)
	<-logged
}

// newTimer returns a timer that does not run yet.
func newTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// start takes in what the operator wants and draws the times of the first probes.
func (m *Monitor) start(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = true
	for _, b := range m.members {
		b.maint = b.backend.Admin() == pool.Maint
	}
	for _, t := range m.targets {
		t.schedule.first = now.Add(rand.N(min(t.cfg.Interval, firstWithin)))
		if t.unwanted() {
			t.pause()
		}
	}
	for _, w := range m.pools {
		m.decide(w, w.members, now)
		w.lookStranded()
	}
}
