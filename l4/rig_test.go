package l4

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil"
	"sluice/sysutil/systest"
)

// patient is how long a test waits for what must happen. It is long because
// machines that test are busy; nothing waits for it to pass.
const patient = time.Minute

// longestTurn is the most that one direction moves before others get theirs.
const longestTurn = aloneTurn

// A rig is a server with one loop, which the test steps by hand, and with a
// clock that only the test moves. The test holds the other ends of every
// session. When the test is over, the rig checks that nothing leaked.
type rig struct {
	t       testing.TB
	srv     *Server
	loop    *loop
	pool    *pool.Pool
	backend net.Listener // nil when the test brought its own
	now     time.Duration
	ended   []End
	checked int // how many of ended a test has looked at
	dials   []pool.DialResult
	dialled []conn // the clients, in order
	logs    bytes.Buffer

	forgotten uint64 // sessions that have ended on pools that their listeners have no more

	setup   rigConfig
	formers []former // servers that have handed over to the present one
	sockets []int    // that they have handed over
}

// rigConfig is what differs from test to test; the zero value relays from
// 127.0.0.1 to one backend there.
type rigConfig struct {
	bind               []pool.Address
	backends           []pool.Address
	maxConns, retries  int
	accept             *AcceptProxy
	send               ProxyVersion
	connect, idle, fin time.Duration
	dead               [2]time.Duration // by side
	protocol           Protocol
	peek               time.Duration
	queueMax           int
	queueTimeout       time.Duration
	pipes              *sysutil.PipeBudget
	maxSessions        int // of all listeners
	DefaultMaxCancels  int
	listener           func(*ListenerConfig) // sets what is rarely set; nil = nothing is
}

func newRig(t testing.TB, c rigConfig) *rig {
	t.Helper()
	before := systest.OpenFiles()
	r := &rig{t: t}
	if c.backends == nil {
		r.backend = listenTCP(t, "127.0.0.1:0")
		c.backends = []pool.Address{tcpAddress(r.backend.Addr())}
	}
	if c.bind == nil {
		c.bind = []pool.Address{{TCP: netip.MustParseAddrPort("127.0.0.1:0")}}
	}
	r.setup = c
	r.serve()
	r.now = r.loop.now
	r.srv.clock = func() time.Duration { return r.now }
	t.Cleanup(func() { r.close(before) })
	return r
}

// serve makes the server.
func (r *rig) serve(handed ...InheritedSocket) {
	t, c := r.t, r.setup
	t.Helper()
	r.pool = newQueuePool(t, 1, c.maxConns, c.queueMax, c.backends...)
	listener := ListenerConfig{
		Name: "test", Bind: c.bind, AcceptProxy: c.accept, IdleTimeout: c.idle, FinTimeout: c.fin,
		Protocol: c.protocol, PeekTimeout: c.peek, DeadPeer: c.dead[client],
		Target: Target{
			Pool: r.pool, SendProxy: c.send, ConnectTimeout: c.connect, Retries: c.retries,
			QueueTimeout: c.queueTimeout, DeadPeer: c.dead[server],
		},
	}
	if c.listener != nil {
		c.listener(&listener)
	}
	srv, err := New(Config{
		Loops:       1,
		Logger:      slog.New(slog.NewTextHandler(&r.logs, nil)),
		OnEnd:       func(e End) { r.ended = append(r.ended, e) },
		OnDial:      func(_ *pool.Backend, _ time.Duration, result pool.DialResult) { r.dials = append(r.dials, result) },
		Listeners:   []ListenerConfig{listener},
		Inherited:   handed,
		MaxSessions: c.maxSessions,
		MaxCancels:  c.DefaultMaxCancels,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.srv, r.loop = srv, srv.loops[0]
	if c.pipes != nil {
		r.srv.pipes, r.loop.pipes = c.pipes, sysutil.NewPipePool(c.pipes)
	}
	if errno := r.loop.watchListeners(); errno != 0 {
		t.Fatal(errno)
	}
}

// close ends what is left and checks that everything was given back.
func (r *rig) close(before []string) {
	t := r.t
	r.loop.sessions.each(func(s *session) { r.loop.end(s, Shutdown, 0) })
	r.srv.running.Wait() // cancel requests under way
	r.expectEmpty()
	if n := r.srv.pipes.Lent(); n != 0 {
		t.Errorf("%d pipes are lent in the end", n)
	}
	r.srv.Close()
	r.closeFormers()
	if n := r.srv.pipes.Open(); n != 0 {
		t.Errorf("%d pipes are open in the end", n)
	}
	if r.backend != nil {
		r.backend.Close()
	}
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors left open: %v", left)
	}
}

// expectEmpty checks that no counter remembers a session.
func (r *rig) expectEmpty() {
	r.t.Helper()
	for _, target := range r.srv.listeners()[0].rules.Load().targets.all {
		for _, b := range target.config.Pool.All() {
			if n := b.Stats().Active; n != 0 {
				r.t.Errorf("backend %s has %d active connections, want 0", b.Name(), n)
			}
		}
	}
	if all, own := r.srv.places.taken.Load(), r.srv.listeners()[0].places.taken.Load(); all != 0 || own != 0 {
		r.t.Errorf("%d places of all listeners and %d of this one are taken, want 0", all, own)
	}
	if n := r.loop.load.Load(); n != 0 {
		r.t.Errorf("the loop has %d sessions, want 0", n)
	}
	if n := len(r.srv.cancelKeys.owners); n != 0 {
		r.t.Errorf("%d cancel keys are remembered, want none", n)
	}
	if n := len(r.srv.sealed.count); n != 0 {
		r.t.Errorf("%d clients are known to have encrypted sessions, want none", n)
	}
	stats := r.srv.Stats()
	if n := stats.Listeners[0].Clients.Sessions; n != 0 {
		r.t.Errorf("%d sessions of clients are counted, want 0", n)
	}
	if n := stats.Listeners[0].Sessions; n != 0 {
		r.t.Errorf("the listener has %d sessions, want 0", n)
	}
	accepted := uint64(0)
	for _, l := range stats.Listeners {
		accepted += l.Accepts
	}
	came, gone := r.handed()
	if ended := endedTotal(stats) + r.forgotten; accepted+came != ended+gone {
		r.t.Errorf("%d sessions were accepted, %d have ended", accepted, ended)
	}
}

func endedTotal(stats Stats) (total uint64) {
	for _, e := range stats.Ended {
		total += e.Count
	}
	return total
}

// step lets the loop run once. It waits as long as the loop itself would, but
// at most a millisecond.
func (r *rig) step() {
	r.t.Helper()
	patience := r.loop.patience()
	if patience < 0 || patience > time.Millisecond {
		patience = time.Millisecond
	}
	if err := r.loop.runOnce(patience); err != nil {
		r.t.Fatal(err)
	}
	r.stepFormers()
}

// until steps the loop until a condition holds.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patient); !holds(); r.step() {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not in %v; sessions: %s", what, patient, r.describe())
		}
	}
}

func (r *rig) describe() (text string) {
	r.loop.sessions.each(func(s *session) {
		text += fmt.Sprintf("\n%d: state %d, ends %+v, halves %+v", s.id, s.state, s.ends, s.halves)
	})
	return text
}

// while steps the loop until f, which may block, has returned.
func (r *rig) while(what string, f func() error) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	var err error
	r.until(what, func() bool {
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

// settle lets the loop run until nothing has happened for a number of turns.
func (r *rig) settle() {
	r.t.Helper()
	r.turns(20)
}

func (r *rig) turns(n int) {
	r.t.Helper()
	for quiet := 0; quiet < n; quiet++ {
		before := r.traffic()
		r.step()
		if r.traffic() != before || len(r.loop.queue) > 0 {
			quiet = 0
		}
	}
}

// traffic is the number of bytes that all open sessions have passed on.
func (r *rig) traffic() (total uint64) {
	r.loop.sessions.each(func(s *session) { total += s.halves[client].bytes + s.halves[server].bytes })
	return total
}

func listenTCP(t testing.TB, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func tcpAddress(a net.Addr) pool.Address { return pool.Address{TCP: a.(*net.TCPAddr).AddrPort()} }

// newPool returns a pool whose backends are called b0, b1, ... and taken in
// that order.
func newPool(t testing.TB, loops, maxConns int, addresses ...pool.Address) *pool.Pool {
	t.Helper()
	return newQueuePool(t, loops, maxConns, 0, addresses...)
}

// newQueuePool is newPool with a queue.
func newQueuePool(t testing.TB, loops, maxConns, queueMax int, addresses ...pool.Address) *pool.Pool {
	t.Helper()
	return newNamedPool(t, "pool", loops, maxConns, queueMax, addresses...)
}

// newNamedPool is newQueuePool of another name.
func newNamedPool(t testing.TB, name string, loops, maxConns, queueMax int, addresses ...pool.Address) *pool.Pool {
	t.Helper()
	config := pool.Config{Name: name, Balance: pool.First, Shards: loops, QueueMax: queueMax}
	for i, a := range addresses {
		config.Backends = append(config.Backends, pool.BackendConfig{
			Name: fmt.Sprintf("b%d", i), Address: a, Weight: 1, MaxConns: maxConns,
		})
	}
	p, err := pool.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
