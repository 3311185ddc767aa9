package l4

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sysutil"
)

// A Server accepts connections on its listeners and relays them to backends,
// on a fixed number of event loops.
type Server struct {
	config  Config
	log     *slog.Logger
	clock   func() time.Duration // the present; tests put their own in
	loops   []*loop
	pipes   *sysutil.PipeBudget
	running sync.WaitGroup // loops, and goroutines that pass cancel requests on
	failed  chan error
	life    context.Context // done when the server is shut down, or a loop has failed
	end     context.CancelFunc
	hurried context.Context // done when a Shutdown is to wait for nobody
	hurry   context.CancelFunc

	changing  sync.Mutex          // held from Prepare to Commit or Abandon; taken before mu
	mu        sync.Mutex          // held while listeners and their sockets change; guards:
	stopped   bool                // no more sockets are opened
	holding   bool                // nobody is accepted until Accept
	added     map[addedKey]uint64 // what AddCounters was told of another server
	departure *Departure          // under way; nil = none
	rivals    int                 // servers that did not take over, and may still watch the sockets
	held      []door              // sockets that are to be closed and have clients waiting
	set       atomic.Pointer[listenerSet]

	places     quota // of all listeners
	stalls     warning
	uniqueIDs  uniqueIDPrefix
	cancelKeys cancelKeys
	sealed     sealedSessions
	cancelling chan struct{} // holds one value per cancel request under way

	cancelDials chan struct{} // holds one value per connection for one of them
}

// New makes a server and binds the addresses of its listeners, if it begins with some;
// nothing is accepted yet. On an error nothing stays bound.
func New(config Config) (_ *Server, err error) {
	if config.Loops == 0 {
		config.Loops = runtime.GOMAXPROCS(0)
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	cancels := cmp.Or(config.MaxCancels, DefaultMaxCancels)
	pipes := sysutil.PlanPipes(PipeSize)
	srv := &Server{
		config: config,
		log:    config.Logger,
		clock:  newClock(),
		pipes:  sysutil.NewPipeBudget(pipes.Limit, pipes.Size),
		failed: make(chan error, config.Loops),

		holding: config.Hold,

		places:     quota{name: "process"},
		uniqueIDs:  newUniqueIDPrefix(),
		cancelling: make(chan struct{}, cancels),

		cancelDials: make(chan struct{}, cancels),
	}
	srv.life, srv.end = context.WithCancel(context.Background())
	srv.hurried, srv.hurry = context.WithCancel(srv.life)
	srv.set.Store(new(listenerSet))
	defer func() {
		if err != nil {
			srv.config.Inherited = nil // they stay the caller's
			srv.Close()
		}
	}()
	for i := range config.Loops {
		l, err := newLoop(srv, i)
		if err != nil {
			return nil, fmt.Errorf("create loop %d: %w", i, err)
		}
		srv.loops = append(srv.loops, l)
	}
	if len(config.Listeners) == 0 {
		srv.places.limit.Store(int64(config.MaxSessions))
		return srv, nil
	}
	srv.config.Listeners = nil // they change
	first, err := srv.Prepare(Update{Listeners: config.Listeners, MaxSessions: config.MaxSessions})
	if err != nil {
		return nil, err
	}
	first.Commit()
	return srv, nil
}

// newClock returns a monotonic clock. It starts at an hour, so that no point in
// time is zero, which means "never" for a deadline.
func newClock() func() time.Duration {
	born := time.Now().Add(-time.Hour)
	return func() time.Duration { return time.Since(born) }
}

// spareProcs is how many threads may run Go code besides the loops. A saturated
// loop never gives up its P, so there must be one more for everything else. A loop
// that has waited long has given it up, and waits for one before its first event
// when all are taken: the admin API, which makes one answer at a time, must leave one.
// More are no gain: with six a stream cost 3 to 9 % more CPU per byte than with two.
const spareProcs = 2

// Start begins to accept. It makes room for all loops and what else has work.
func (srv *Server) Start() error {
	if want := len(srv.loops) + spareProcs; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, l := range srv.loops {
		if errno := l.watchListeners(); errno != 0 {
			srv.end()
			return fmt.Errorf("watch listeners: %w", errno)
		}
	}
	for _, l := range srv.loops {
		srv.running.Go(func() {
			if err := l.run(); err != nil {
				srv.end() // nobody is to wait for this loop
				srv.failed <- err
			}
		})
	}
	return nil
}

// Accept ends Config.Hold: new connections are taken from now on, those first who have waited.
func (srv *Server) Accept() error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopped || srv.life.Err() != nil {
		return errStopped
	}
	srv.holding = false
	srv.tellSockets(srv.doors())
	return nil
}

// Failed delivers the error of a loop that could not go on. That is a bug or
// a broken kernel; the process should end.
func (srv *Server) Failed() <-chan error { return srv.failed }

// Close releases a Server on which Start was never called.
func (srv *Server) Close() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !srv.stopped {
		closeDoors(srv.doors())
		srv.returnLent()
	}
	srv.stopped = true
	srv.end()
	for _, l := range srv.loops {
		l.close()
	}
}

// place chooses the loop for a connection that l has accepted: l itself while
// it is about as loaded as the least loaded one, because a hand-over costs a
// wake-up; otherwise that one. So long-lived sessions end up even, and short
// ones stay where they were accepted.
func (srv *Server) place(l *loop) *loop {
	own := l.load.Load()
	least, low := l, own
	for _, other := range srv.loops {
		if n := other.load.Load(); n < low {
			least, low = other, n
		}
	}
	if own-low <= max(1, own/10) {
		return l
	}
	return least
}

func (srv *Server) sessionCount() int {
	n := int64(0)
	for _, l := range srv.loops {
		n += l.load.Load()
	}
	return int(n)
}
