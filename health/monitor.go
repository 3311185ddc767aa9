package health

import (
	"context"
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
	// Backends are those that the pool is to have when the monitor is told to Commit, from pool.Update; nil: it has them.
	Backends []*pool.Backend
}

// backends returns what is to be watched of the pool.
func (w *Watched) backends() []*pool.Backend {
	if w.Backends != nil {
		return w.Backends
	}
	return w.Pool.Backends()
}

// Options is what a Monitor may be given besides the pools. The zero Options is ready for use.
type Options struct {
	// Logger gets one line per transition; nil: none is written. Whoever has news waits for it, event loops too: what it
	// writes to must not block.
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
	// End ends at most limit live sessions of b for a cause, all of them when limit is 0, and returns how many. Fewer
	// than limit means that none is left that can be ended now: b is asked for again while slots of it are taken.
	End(b *pool.Backend, cause Cause, limit int) int
}

// Monitor watches the backends of all pools and switches them up, down, out and back in.
type Monitor struct {
	logger    *slog.Logger
	onProbe   func(*pool.Backend, time.Duration, error)
	sessions  Sessions // nil: none is touched
	newProber newProber

	wakeEject chan struct{} // something for the goroutine that ends ejections
	wakeAdmin chan struct{} // the same for the one that looks at what the operator wants

	members sync.Map // *member by *pool.Backend; changed by Apply
	plans   uint64   // how many there were; for Apply alone

	mu      sync.Mutex      // guards what follows, and what says so; taken before a pool's
	ctx     context.Context // of Run
	running bool
	all     sync.WaitGroup // of goroutines; nothing is added when it is not running
	pools   []*poolWatch
	gone    []*poolWatch // not watched any more, and with sessions that are to be closed
	targets []*target

	restored map[string]timelines // by the name of a pool that is not watched
}

// New returns a monitor of the backends of the pools. A backend is up until its first check, as it is, unless the check
// is to say what it is: of role primary, replica or prefer_replica, or lagging. It is down until then.
//
// The error is Apply's.
func New(pools []Watched, o Options) (*Monitor, error) {
	m := &Monitor{
		logger: o.Logger, onProbe: o.OnProbe, sessions: o.Sessions, newProber: o.NewProber,
		wakeEject: make(chan struct{}, 1), wakeAdmin: make(chan struct{}, 1), restored: make(map[string]timelines),
	}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	if m.newProber == nil {
		m.newProber = probe.New
	}
	if err := m.Apply(pools); err != nil {
		return nil, err
	}
	return m, nil
}

// member returns what is known of a backend; nil: it is not watched.
func (m *Monitor) member(b *pool.Backend) *member {
	if one, watched := m.members.Load(b); watched {
		return one.(*member)
	}
	return nil
}

// Run watches until ctx is done. It must be called at most once. When it returns nothing is ejected any more, and each
// backend is as up or down as the last check left it.
func (m *Monitor) Run(ctx context.Context) {
	m.start(ctx)
	<-ctx.Done()
	m.stop()
	m.all.Wait()
}

func (m *Monitor) start(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ctx, m.running = ctx, true
	all := news{targets: m.targets}
	for _, w := range m.pools {
		all.pools = append(all.pools, poolNews{w, w.members})
	}
	m.proceed(all, time.Now())
	m.launch(m.watchAdmin)
	m.launch(m.endEjections)
}

// stop ends every ejection and takes no more evidence: nobody will be there to bring a backend back.
func (m *Monitor) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
	for _, w := range m.pools {
		for _, b := range w.members {
			if b.evidence.ejected() {
				b.takeBack()
			}
		}
	}
}

// launch runs f until stop is called or Run's context is done. The mutex is held, and the monitor is running.
func (m *Monitor) launch(f func(context.Context)) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(m.ctx)
	m.all.Go(func() {
		defer stop()
		f(ctx)
	})
	return stop
}

// news is what an Apply has changed.
type news struct {
	targets []*target
	pools   []poolNews
}

// poolNews is a pool that has changed, and which of its members are new or asked by another target. Of a pool that has
// other settings it is all of them.
type poolNews struct {
	watch   *poolWatch
	members []*member
}

// proceed begins with what is new: members are told what their servers have said, each pool makes up its mind, and the
// goroutines that are wanted and do not run yet are started. The mutex is held, and the monitor is running.
func (m *Monitor) proceed(all news, now time.Time) {
	for _, w := range all.pools {
		w.watch.readAdmin(w.members, now)
	}
	for _, t := range all.targets {
		t.heedMaint(now)
		if t.stop == nil {
			t.schedule.first = now.Add(rand.N(min(t.cfg.Interval, firstWithin)))
			t.stop = m.launch(func(ctx context.Context) { m.run(ctx, t) })
		}
	}
	for _, n := range all.pools {
		for _, b := range n.members {
			b.catchUp()
		}
		m.decide(n.watch, n.members, now)
		n.watch.lookStranded()
		if w := n.watch; m.sessions != nil && w.stop == nil {
			w.stop = m.launch(func(ctx context.Context) { m.closeSessions(ctx, w) })
		}
	}
	for _, t := range all.targets {
		wakeUp(t.wake) // another interval may count, or another pool be stranded
	}
	wakeUp(m.wakeAdmin) // states may be other ones in pools that are watched as before
}

// newTimer returns a timer that does not run yet.
func newTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// wakeUp tells a goroutine to look again. It never blocks: one wake-up covers all news.
func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
