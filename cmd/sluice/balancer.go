package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/health"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/pool"
	"sluice/sysutil"
)

// A balancer is one running configuration: everything it asks for, made and connected. newBalancer takes all that can
// be refused, such as ports; start only lets it go.
type balancer struct {
	file     *configs.File
	log      *slog.Logger
	loops    int
	pools    []*pool.Pool // in the order of the file
	monitor  *health.Monitor
	metrics  *admin.Metrics
	sessions *sessionLog
	server   *l4.Server
	access   *accessReloader
	resolver *resolver
	admin    *admin.Server
	listen   net.Listener // of the admin API; nil: off, like socket
	socket   net.Listener

	limits     admin.Limits
	checks     sync.WaitGroup // the monitor's goroutine
	stopChecks context.CancelFunc
	ending     chan struct{} // closed: nothing is to be read again
}

// bindAdvice is what to do when an address cannot be had. It depends on how sluice was started.
type bindAdvice struct {
	listener, admin, socket string
	socketOptional          bool // nobody chose the default control socket: serve without when it is not permitted
}

// newBalancer makes a balancer that serves nothing yet; out is what log writes to. On an error nothing stays
// bound.
func newBalancer(file *configs.File, log *slog.Logger, out *logWriter, advice bindAdvice) (*balancer, error) {
	b := &balancer{file: file, log: log, loops: file.Loops, ending: make(chan struct{})}
	if b.loops == 0 {
		b.loops = runtime.GOMAXPROCS(0)
	}
	files := raiseFileLimit(log) // first: the number of pipes depends on it
	pipes := sysutil.PlanPipes(l4.PipeSize)
	b.limits = limitsOf(file, b.loops, files, pipes.Limit)
	if err := b.makePools(); err != nil {
		return nil, err
	}
	b.resolver = newResolver(b)
	b.metrics = admin.NewMetrics(b.pools)
	if err := b.makeMonitor(); err != nil {
		return nil, err
	}
	b.sessions = openSessionLog(log, file.Log.Sessions, out.drop, listenerNames(file)...)
	if err := b.bind(advice); err != nil {
		b.release()
		return nil, err
	}
	logLimits(log, file, b.limits, b.loops, pipes)
	logPorts(log, file, b.limits, sourcePorts())
	b.access = newAccessReloader(file.Listeners, b.server, log)
	b.admin = admin.New(admin.Options{
		Build: thisBuild(), Started: time.Now(), Limits: b.limits, Hosts: adminHosts(&file.Admin), Stats: b.server.Stats, Sessions: b.server.Sessions,
		Pools: func() []*pool.Pool { return b.pools }, Health: b.monitor.Status, PoolHealth: b.monitor.PoolStatus, Checked: b.checked,
		Metrics: b.metrics, Logger: log, LinesDropped: out.linesDropped, Reloads: b.access.counts,
	})
	return b, nil
}

// adminHosts returns the names by which the admin address is known: those that are listed, and its own.
func adminHosts(a *configs.Admin) []string {
	hosts := slices.Clone(a.Hosts)
	if host, _, err := net.SplitHostPort(a.Listen); err == nil && host != "" {
		hosts = append(hosts, strings.ToLower(host))
	}
	return hosts
}

func listenerNames(file *configs.File) (names []string) {
	for _, l := range file.Listeners {
		names = append(names, l.Name)
	}
	return names
}

func (b *balancer) makePools() error {
	for _, p := range b.file.Pools {
		config := p.Config
		config.Shards = b.loops
		made, err := pool.New(config)
		if err != nil {
			return err
		}
		b.pools = append(b.pools, made)
	}
	return nil
}

func (b *balancer) makeMonitor() (err error) {
	watched := make([]health.Watched, len(b.pools))
	for i, p := range b.pools {
		watched[i] = health.Watched{Pool: p, Config: b.file.Pools[i].Health}
	}
	b.monitor, err = health.New(watched, health.Options{
		Logger:   b.log,
		OnProbe:  func(backend *pool.Backend, took time.Duration, _ error) { b.metrics.Checked(backend, took) },
		Sessions: liveSessions{b},
	})
	return err
}

// liveSessions is how the monitor, which is made before the server, reaches the sessions of a backend.
type liveSessions struct{ b *balancer }

func (s liveSessions) Redispatch(backend *pool.Backend) { s.b.server.Redispatch(backend) }

func (s liveSessions) End(backend *pool.Backend, cause health.Cause, limit int) int {
	reason := l4.BackendDown
	if cause == health.CauseDrain || cause == health.CauseRemoved {
		reason = l4.Drained
	}
	return s.b.server.EndSessions(backend, reason, limit)
}

// bind takes every address the configuration names.
func (b *balancer) bind(advice bindAdvice) (err error) {
	config, err := b.serverConfig()
	if err != nil {
		return err
	}
	if b.server, err = l4.New(config); err != nil {
		return advise(err, advice.listener)
	}
	if address := b.file.Admin.Listen; address != "" {
		if b.listen, err = net.Listen("tcp", address); err != nil {
			return advise(fmt.Errorf("open admin API: %w", err), advice.admin)
		}
	}
	return b.bindSocket(advice)
}

func (b *balancer) bindSocket(advice bindAdvice) (err error) {
	path := b.file.Admin.Socket
	if path == "" {
		return nil
	}
	b.socket, err = openControlSocket(path, b.file.Admin.SocketFile)
	if err != nil && path == configs.DefaultSocket && advice.socketOptional && denied(err) {
		b.log.Warn("the control socket is off: choose a path with admin.socket or --socket", "error", err)
		return nil
	}
	if err != nil {
		return advise(fmt.Errorf("open control socket: %w", err), advice.socket)
	}
	return nil
}

// denied reports whether an error means that this user may not write there,
// or that there is no such place: a container without /run.
func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS)
}

func advise(err error, advice string) error {
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}

// openControlSocket opens the socket at path. The default one's directory may be made too: no package has installed
// sluice then, and nobody chose that path.
func openControlSocket(path string, file l4.SocketFile) (net.Listener, error) {
	if path == configs.DefaultSocket {
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !os.IsExist(err) {
			return nil, err
		}
	}
	return admin.ListenSocket(path, file)
}

// checked reports whether a pool's backends are probed.
func (b *balancer) checked(p *pool.Pool) bool {
	i := slices.Index(b.pools, p)
	return i >= 0 && b.file.Pools[i].Health.Probe.Kind != probe.Off
}

// start begins to serve. The log says where.
func (b *balancer) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	b.stopChecks = cancel
	debug.FreeOSMemory() // what the configuration was read with is worth the memory of thousands of sessions
	b.checks.Go(func() { b.monitor.Run(ctx) })
	b.resolver.start(ctx)
	go b.access.run(b.ending)
	if err := b.server.Start(); err != nil {
		return fmt.Errorf("start to accept: %w", err)
	}
	if b.listen != nil {
		b.admin.ServeTCP(b.listen)
	}
	if b.socket != nil {
		b.admin.ServeSocket(b.socket)
	}
	b.logReady()
	return nil
}

func (b *balancer) logReady() {
	status := b.admin.Status()
	for i, l := range status.Listeners {
		fields := []any{
			"listener", l.Name, "addresses", addressList(l.Addresses), "protocol", l.Protocol,
			"pools", listText(l.Pools),
		}
		b.log.Info("listening", append(fields, limitFields(&b.file.Listeners[i])...)...)
	}
	b.log.Info("ready", "version", status.Version, "listeners", len(status.Listeners), "pools", len(status.Pools),
		"admin", status.Admin.Listen, "socket", status.Admin.Socket)
}

// adminGrace is how long requests to the admin API may take to end when everything else has.
const adminGrace = time.Second

// stop ends what is left when no session is: checks, admin API, session log.
func (b *balancer) stop() {
	close(b.ending)
	b.stopChecks()
	b.checks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
	defer cancel()
	b.admin.Close(ctx)
	b.closeAdmin() // after a start that failed they were not served
	b.sessions.close()
	b.log.Info("stopped")
}

// release gives up a balancer that was not started.
func (b *balancer) release() {
	b.closeAdmin()
	if b.server != nil {
		b.server.Close()
	}
	b.sessions.close()
}

// closeAdmin closes the admin listeners, which removes the control socket's file.
func (b *balancer) closeAdmin() {
	for _, l := range []net.Listener{b.listen, b.socket} {
		if l != nil {
			_ = l.Close() // it may be closed already
		}
	}
}
