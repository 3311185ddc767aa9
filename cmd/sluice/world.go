package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/health"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/pool"
	"sluice/pool/discovery"
	"sluice/sysutil"
)

// A world is what runs: everything that a configuration asks for, made and connected. It changes through apply alone,
// from the first configuration on.
type world struct {
	log      *slog.Logger
	level    *slog.LevelVar // of log
	loops    int
	files    uint64 // descriptors that the process may have; 0 = unknown
	pipes    sysutil.PipePlan
	monitor  *health.Monitor
	metrics  *admin.Metrics
	sessions *sessionLog
	server   *l4.Server
	watch    *discovery.Watch
	admin    *admin.Server
	advice   bindAdvice
	read     func() (*configs.File, error) // reads the configuration again; nil: there is none to read
	labels   *labelConfig                  // a part of the configuration; nil: none
	signs    atomic.Pointer[lifeSigns]     // nil: not started
	launch   *launch                       // how to start a successor; nil: nobody knows
	pidFile  pidFile

	from       *takeOver // the process before, until this one serves; nil: there was none
	succession succession
	handed     chan struct{} // closed when another process has everything

	reloading sync.Mutex // one reload at a time; taken before applying

	applying   sync.Mutex                 // one apply at a time; guards what follows
	started    bool                       // the admin API is asked
	leaving    bool                       // nothing changes any more
	held       bool                       // nothing changes for the time being
	refused    sync.Map                   // text by pool: why what sources have found of a pool is not in force
	foreign    string                     // a state file that could not be read; "" = none
	written    []byte                     // the timelines of the state file
	unsaved    bool                       // the last attempt to write the state file failed
	foundSaved time.Time                  // when the state file had what sources have found
	foundNews  bool                       // the state file does not have what sources have found since
	news       chan struct{}              // one place: sources have found something
	asked      chan string                // one place: a reload that waits to be carried out stands for those that follow
	now        atomic.Pointer[generation] // changed by apply
	last       atomic.Pointer[lastReload] // nil: there was none

	checks      sync.WaitGroup // the goroutines of the monitor, the sources and others
	stopChecks  context.CancelFunc
	stopSources context.CancelFunc
	newSource   func(configs.SourceConfig) discovery.Source
}

// A generation is one configuration in force. It does not change.
type generation struct {
	number uint64
	since  time.Time
	file   *configs.File     // as it was written
	known  *configs.File     // the same with the backends that sources have found
	force  *configs.File     // known, with what an operator has set
	found  map[string]*found // by pool, of those with sources
	set    overrides.Set
	pools  []*pool.Pool // in the order of force.Pools
	byName map[string]*pool.Pool
	limits admin.Limits

	admin   adminListeners
	pending []change.Key // what waits for the next start
}

// pool returns the pool of that name; nil: there is none.
func (g *generation) pool(name string) *pool.Pool { return g.byName[name] }

// lastReload is how the last reload went.
type lastReload struct {
	at  time.Time
	err error
}

// newWorld makes a world that serves nothing yet; out is what log writes to. It takes all that can be refused, such as
// ports; start only lets it go. On an error nothing stays bound.
func newWorld(file *configs.File, log *slog.Logger, out *logWriter, advice bindAdvice) (*world, error) {
	w := &world{log: log, level: out.level, advice: advice, loops: file.Loops, asked: make(chan string, 1), handed: make(chan struct{}), from: advice.from, labels: advice.labels,
		news: make(chan struct{}, 1), newSource: newSource}
	if advice.source != nil {
		w.newSource = advice.source
	}
	if w.loops == 0 {
		w.loops = runtime.GOMAXPROCS(0)
	}
	w.files = raiseFileLimit(log) // first: the number of pipes depends on it
	w.pipes = sysutil.PlanPipes(l4.PipeSize)
	w.now.Store(&generation{file: &configs.File{}, known: &configs.File{}, force: &configs.File{}})
	w.watch = discovery.NewWatch(discovery.Options{Logger: log, Changed: w.noteFound, Keeps: w.keepsFound})
	w.metrics = admin.NewMetrics()
	w.sessions = openSessionLog(log, file.Log.Sessions, out.drop)
	var err error
	if w.monitor, err = health.New(nil, w.healthOptions()); err != nil {
		return nil, err
	}
	if w.server, err = l4.New(w.serverConfig()); err != nil {
		return nil, err
	}
	if w.from != nil {
		w.from.giveSockets()
	}
	w.admin = admin.New(w.adminOptions(out))
	if err := w.first(file); err != nil {
		w.release()
		return nil, err
	}
	g := w.now.Load()
	logLimits(log, file, g.limits, w.loops, w.pipes)
	logPorts(log, file, g.limits, sourcePorts())
	return w, nil
}

// first puts the configuration of the start in force.
func (w *world) first(file *configs.File) error {
	if err := readAccess(file); err != nil {
		return err
	}
	var set overrides.Set
	if w.from != nil {
		set = w.adoptState(file)
	} else {
		set = w.loadState(file)
	}
	_, err := w.apply(false, func(*generation) (*configs.File, overrides.Set, error) { return file, set, nil })
	return err
}

func (w *world) adminOptions(out *logWriter) admin.Options {
	return admin.Options{
		Build: thisBuild(), Started: time.Now(), Limits: func() admin.Limits { return w.now.Load().limits },
		Hosts: func() []string { return adminHosts(&w.now.Load().force.Admin) },
		Allow: func() []netip.Prefix { return w.now.Load().force.Admin.Allow },
		Stats: w.server.Stats, Visit: w.server.VisitSessions, Kill: w.server.Kill,
		Pools: func() []*pool.Pool { return w.now.Load().pools }, Health: w.monitor.Status, PoolHealth: w.monitor.PoolStatus,
		Checked: w.checked, Discovery: w, Metrics: w.metrics, Logger: w.log, LinesDropped: out.linesDropped, Control: w,
	}
}

// adminHosts returns the names by which the admin addresses are known: those that are listed, and their own.
func adminHosts(a *configs.Admin) []string {
	hosts := slices.Clone(a.Hosts)
	for _, address := range []string{a.Listen, a.Metrics} {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			hosts = append(hosts, strings.ToLower(host))
		}
	}
	return hosts
}

func (w *world) healthOptions() health.Options {
	return health.Options{
		Logger:   w.log,
		OnProbe:  func(backend *pool.Backend, took time.Duration, _ error) { w.metrics.Checked(backend, took) },
		Sessions: liveSessions{w},
	}
}

// liveSessions is how the monitor, which is made before the server, reaches the sessions of a backend.
type liveSessions struct{ w *world }

func (s liveSessions) Redispatch(backend *pool.Backend) { s.w.server.Redispatch(backend) }

func (s liveSessions) End(backend *pool.Backend, cause health.Cause, limit int) int {
	reason := l4.BackendDown
	if cause == health.CauseDrain || cause == health.CauseRemoved {
		reason = l4.Drained
	}
	return s.w.server.EndSessions(backend, reason, limit)
}

// checked reports whether a pool's backends are probed.
func (w *world) checked(p *pool.Pool) bool {
	file := w.now.Load().force.Pool(p.Name())
	return file != nil && file.Health.Probe.Kind != probe.Off
}

// start begins to serve. The log says where.
func (w *world) start() error {
	debug.FreeOSMemory() // what the configuration was read with is worth the memory of thousands of sessions
	if w.from != nil {
		return w.startFrom(w.from)
	}
	if err := w.startParts(); err != nil {
		return err
	}
	if err := w.pidFile.write(); err != nil {
		return err
	}
	w.startAdmin()
	w.logReady()
	return nil
}

// startParts lets everything run but the admin API.
func (w *world) startParts() error {
	ctx, cancel := context.WithCancel(context.Background())
	w.stopChecks = cancel
	w.checks.Go(func() { w.monitor.Run(ctx) })
	w.startSources(ctx)
	go w.reloadWhenAsked(ctx)
	if w.labels != nil {
		go w.followLabels(ctx)
	}
	w.checks.Go(func() { w.keepState(ctx) })
	w.checks.Go(func() { w.rebalance(ctx) })
	if err := w.server.Start(); err != nil {
		return fmt.Errorf("start to accept: %w", err)
	}
	return nil
}

// startSources lets sources be asked, until ctx is done or nothing changes here any more.
func (w *world) startSources(ctx context.Context) {
	w.applying.Lock()
	ctx, w.stopSources = context.WithCancel(ctx)
	w.applying.Unlock()
	w.checks.Go(func() { w.watch.Run(ctx) })
	w.checks.Go(func() { w.followFound(ctx) })
}

// endSources lets no source be asked any more: what they find changes nothing. applying is held.
func (w *world) endSources() {
	if w.stopSources != nil {
		w.stopSources()
	}
}

// startAdmin lets the admin API be asked.
func (w *world) startAdmin() {
	w.applying.Lock()
	defer w.applying.Unlock()
	w.started = true
	w.serveAdmin(adminListeners{}, w.now.Load().admin)
}

// serveAdmin lets the admin API be asked where it was not.
func (w *world) serveAdmin(was, is adminListeners) {
	if is.listen != nil && is.listen != was.listen {
		w.admin.ServeTCP(is.listen)
	}
	if is.metrics != nil && is.metrics != was.metrics {
		w.admin.ServeMetrics(is.metrics)
	}
	if is.socket != nil && is.socket != was.socket {
		w.admin.ServeSocket(is.socket)
	}
}

func (w *world) logReady() {
	status, listening := w.admin.Status(), 0
	for _, l := range status.Listeners {
		if !l.Leaving { // else it has but sessions that have come from the process before
			w.logListening(l)
			listening++
		}
	}
	fields := []any{
		"version", status.Version, "listeners", listening, "pools", len(status.Pools),
		"admin", status.Admin.Listen, "socket", status.Admin.Socket,
	}
	if status.Admin.Metrics != "" {
		fields = append(fields, "metrics", status.Admin.Metrics)
	}
	w.log.Info("ready", fields...)
}

func (w *world) logListening(l l4.ListenerStats) {
	fields := []any{
		"listener", l.Name, "addresses", addressList(l.Addresses), "protocol", l.Protocol,
		"pools", listText(l.Pools),
	}
	file := w.now.Load().force
	i := slices.IndexFunc(file.Listeners, func(c configs.Listener) bool { return c.Name == l.Name })
	if i >= 0 {
		fields = append(fields, limitFields(&file.Listeners[i])...)
	}
	w.log.Info("listening", fields...)
}

// adminGrace is how long requests to the admin API may take to end when everything else has.
const adminGrace = time.Second

// stop ends what is left when no session is: checks, admin API, session log.
func (w *world) stop() {
	if w.stopChecks == nil {
		w.release()
		return
	}
	w.stay()
	w.stopChecks()
	w.checks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
	defer cancel()
	w.admin.Close(ctx)
	w.closeAdmin() // after a start that failed they were not served
	w.sessions.close()
	w.succession.doubts.Wait()
	if err := w.pidFile.remove(); err != nil {
		w.log.Error("the pid file stays", "error", err)
	}
	w.log.Info("stopped")
}

// release gives up a world that was not started.
func (w *world) release() {
	w.closeAdmin()
	w.server.Close()
	w.sessions.close()
}

// closeAdmin closes the admin listeners, which removes the control socket's file.
func (w *world) closeAdmin() {
	for _, l := range w.now.Load().admin.all() {
		_ = l.Close() // it may be closed already
	}
}
