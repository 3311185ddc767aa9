package health

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

var errDead = errors.New("nobody home")

// server is one that is probed. It answers at once with what it was told to, and records when it was asked.
type server struct {
	mu     sync.Mutex
	err    error
	silent bool // answers nothing until the timeout
	delay  time.Duration
	late   time.Duration // an answer or a failure is seen so much later: the process of the monitor was not there
	answer *probe.DatabaseAnswer

	lost     chan struct{} // a connection that was kept
	probers  int           // that were made of it
	closed   int
	asked    []time.Time
	inFlight int
	most     int // of inFlight
}

// Probe implements probe.Prober.
func (s *server) Probe(ctx context.Context) (probe.Answer, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	silent, delay, late := s.silent, s.delay, s.late
	s.mu.Unlock()
	defer time.Sleep(late) // the fake clock
	switch {
	case silent:
		<-ctx.Done()
	case delay > 0:
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if ctx.Err() != nil {
		return probe.Answer{}, ctx.Err()
	}
	if s.err != nil {
		return probe.Answer{}, s.err
	}
	if s.answer == nil {
		return probe.Answer{}, nil
	}
	a := *s.answer
	return probe.Answer{Database: &a}, nil
}

// Wait implements probe.Prober.
func (s *server) Wait(ctx context.Context) (lost bool) {
	select {
	case <-ctx.Done():
		return false
	case <-s.lost:
		return true
	}
}

// Close implements probe.Prober.
func (s *server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
}

// set makes the server answer, or fail.
func (s *server) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.silent = err, false
}

func (s *server) fallSilent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = true
}

// primary makes the server a primary of system 7.
func (s *server) primary(timeline uint32) {
	s.say(probe.DatabaseAnswer{Primary: true, System: 7, Timeline: timeline, Has: 100, Whole: 100})
}

// replica makes the server a replica of system 7 that has replayed everything, or else, when it is to lag, half of it:
// then the age of the last transaction is how much, or is not known when that is negative.
func (s *server) replica(lag time.Duration) {
	a := probe.DatabaseAnswer{System: 7, Has: 100, Whole: 100, Replayed: 100}
	if lag != 0 {
		a.Replayed, a.Age, a.AgeKnown = 50, max(lag, 0), lag > 0
	}
	s.say(a)
}

func (s *server) say(a probe.DatabaseAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.silent, s.answer = nil, false, &a
}

func (s *server) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.asked...)
}

// spec is a pool of a test: the names of its backends stand for servers.
type spec struct {
	name     string
	backends string
	cfg      Config
}

// rig is a monitor at work, in a bubble of testing/synctest.
type rig struct {
	*Monitor
	t        *testing.T
	pools    map[string]*pool.Pool
	pool     *pool.Pool // the first
	servers  map[string]*server
	sessions *sessions
	log      *logBuffer
	start    time.Time
	stop     func() // ends Run and waits for it
}

// inBubble runs f with a monitor at work. Before that, prepare may say how the servers are.
func inBubble(t *testing.T, specs []spec, prepare func(r *rig), f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, specs)
		if prepare != nil {
			prepare(r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Run(ctx)
		}()
		r.stop = func() { cancel(); <-done }
		defer r.stop()
		synctest.Wait()
		f(r)
	})
}

// newRig returns a monitor that does not run yet.
func newRig(t *testing.T, specs []spec) *rig {
	t.Helper()
	return newRigOf(t, specs, map[string]*server{})
}

// newRigOf is newRig with servers that there are already.
func newRigOf(t *testing.T, specs []spec, servers map[string]*server) *rig {
	t.Helper()
	r := &rig{t: t, pools: map[string]*pool.Pool{}, servers: servers, log: new(logBuffer), start: time.Now()}
	r.sessions = &sessions{start: r.start, live: map[*pool.Backend]int{}, calls: map[*pool.Backend][]string{}, ended: map[Cause]int{}}
	watched := r.watched(specs)
	r.pool = watched[0].Pool
	m, err := New(watched, Options{
		Logger: testLogger(r.log), Sessions: r.sessions,
		NewProber: func(c probe.Config, a pool.Address) (probe.Prober, error) {
			s := r.servers[a.Unix[1:]]
			if c.Port == badPort {
				return nil, errors.New("no such port")
			}
			s.probers++
			return s, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Monitor = m
	return r
}

// badPort in a configuration makes that there is no prober for it.
const badPort = 666

// watched returns the pools of specs, which get other backends where they have others.
func (r *rig) watched(specs []spec) (watched []Watched) {
	for _, s := range specs {
		p := r.pools[s.name]
		if names := strings.Fields(s.backends); p == nil {
			p = newPool(r.t, s.name, names...)
			r.pools[s.name] = p
		} else if !slices.Equal(names, namesOf(p)) {
			update(r.t, p, names...)
		}
		watched = append(watched, Watched{Pool: p, Config: s.cfg})
		for _, b := range p.Backends() {
			if r.servers[b.Name()] == nil {
				r.servers[b.Name()] = &server{lost: make(chan struct{})}
			}
		}
	}
	return watched
}

func namesOf(p *pool.Pool) (names []string) {
	for _, b := range p.Backends() {
		names = append(names, b.Name())
	}
	return names
}

// apply puts other pools in the place of those there are.
func (r *rig) apply(specs ...spec) {
	r.t.Helper()
	if err := r.Apply(r.watched(specs)); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// newPool returns a pool of backends at Unix sockets of their names.
func newPool(t *testing.T, name string, backends ...string) *pool.Pool {
	t.Helper()
	p, err := pool.New(poolConfig(name, backends...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// update gives a pool other backends.
func update(t *testing.T, p *pool.Pool, backends ...string) {
	t.Helper()
	if _, err := p.Update(poolConfig(p.Name(), backends...)); err != nil {
		t.Fatal(err)
	}
}

func poolConfig(name string, backends ...string) pool.Config {
	c := pool.Config{Name: name, Balance: pool.RoundRobin}
	for _, b := range backends {
		c.Backends = append(c.Backends, pool.BackendConfig{Name: b, Address: pool.Address{Unix: "/" + b}, Weight: 1})
	}
	return c
}

// steady has no jitter, so that a test knows when what happens.
func steady() Config {
	c := DefaultConfig()
	c.Jitter = 0
	return c
}

// postgres is steady for servers of a role.
func postgres(role Role) Config {
	c := steady()
	c.Probe.Kind, c.Role = probe.Postgres, role
	return c
}

// after lets the bubble's clock run.
func after(d time.Duration) {
	time.Sleep(d) // the fake clock of testing/synctest: takes no time, and is no race
	synctest.Wait()
}

// backend returns the backend of a name in the first pool.
func (r *rig) backend(name string) *pool.Backend { return r.pool.Lookup(name) }

// wantUp checks which backends of a pool are up, and that the status agrees.
func (r *rig) wantUp(when, poolName, want string) {
	r.t.Helper()
	var up []string
	for _, b := range r.pools[poolName].Backends() {
		if b.Stats().Up {
			up = append(up, b.Name())
		}
		if s := r.Status(b); s.Up != b.Stats().Up || s.Up != (s.Reason == "") {
			r.t.Errorf("%s: status of %s: up %v, reason %q", when, b.Name(), s.Up, s.Reason)
		}
	}
	if got := strings.Join(up, " "); got != want {
		r.t.Errorf("%s: up in %s: %q, want %q", when, poolName, got, want)
	}
}

// wantReason checks why a backend of a pool is down.
func (r *rig) wantReason(poolName, backend, want string) {
	r.t.Helper()
	if got := r.Status(r.pools[poolName].Lookup(backend)).Reason; got != want {
		r.t.Errorf("reason of %s in %s: %q, want %q", backend, poolName, got, want)
	}
}

// wantLog checks the log since the last look.
func (r *rig) wantLog(when string, want ...string) {
	r.t.Helper()
	if got := r.logged(); got != strings.Join(want, "\n") {
		r.t.Errorf("%s: log\n%s\nwant\n%s", when, got, strings.Join(want, "\n"))
	}
}

// logged returns the log so far and empties it.
func (r *rig) logged() string {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	defer r.log.lines.Reset()
	return strings.TrimSpace(r.log.lines.String())
}

// logBuffer holds log lines.
type logBuffer struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// testLogger writes lines like `WARN "backend down" pool=web backend=a reason=...`.
func testLogger(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}
