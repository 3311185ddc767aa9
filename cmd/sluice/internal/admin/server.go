package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/pool"
)

// Options is what a Server tells of.
type Options struct {
	Build   Build
	Started time.Time
	Limits  func() Limits
	Hosts   func() []string       // names in lower case that requests to the TCP side may be for, besides addresses and localhost
	Allow   func() []netip.Prefix // who may ask at the address of ServeTCP; none = everybody
	Stats   func() l4.Stats
	// Visit calls visit with the open sessions, some at a time, until it returns an error. See l4.Server.VisitSessions.
	Visit  func(ctx context.Context, visit func([]l4.SessionStats) error) error
	Kill   func(l4.SessionRef) bool // ends a session, and reports whether it was there
	Pools  func() []*pool.Pool
	Health func(*pool.Backend) health.Status

	PoolHealth func(*pool.Pool) health.PoolStatus
	Checked    func(*pool.Pool) bool // whether the pool's backends are probed
	Metrics    *Metrics
	Logger     *slog.Logger // gets what goes wrong while requests are answered

	LinesDropped func() uint64 // log lines given up
	Discovery    Discovery     // nil: no backend comes from a source
	Control      Control       // nil: nothing can be changed
}

// A Server answers requests on any number of listeners. It is safe for concurrent use.
type Server struct {
	options  Options
	counters *counters
	draining atomic.Bool
	serving  sync.WaitGroup
	changing chan struct{} // holds a value while something is changed

	mu       sync.Mutex // guards what follows
	servers  []served
	released bool // no address is to be held any more
	paused   bool // no request is taken
}

// New returns a Server that serves nothing yet.
func New(options Options) *Server {
	return &Server{options: options, counters: newCounters(options), changing: make(chan struct{}, 1)}
}

// ServeTCP answers on a listener that anybody may reach: nothing can be changed through it. It does not block, and
// takes the listener over.
func (s *Server) ServeTCP(l net.Listener) {
	isList := func(r *http.Request) bool { return isRead(r) && r.URL.Path == sessionsPath }
	h := paced(knownHost(s.options.Hosts, readOnly(s.routes(false))), isList)
	s.serve(l, TCPConns, allowed(s.options.Allow, h), func(a *AdminStatus) *string { return &a.Listen })
}

// ServeMetrics answers on a listener that anybody may reach, as ServeTCP does, but says nothing of clients: only counters,
// and whether the process lives and is ready.
func (s *Server) ServeMetrics(l net.Listener) {
	mux := http.NewServeMux()
	for i := range textEndpoints {
		if e := &textEndpoints[i]; e.public {
			mux.HandleFunc(e.method+" "+e.path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, e) })
		}
	}
	h := paced(knownHost(s.options.Hosts, readOnly(mux)), func(*http.Request) bool { return false })
	s.serve(l, TCPConns, h, func(a *AdminStatus) *string { return &a.Metrics })
}

// ServeSocket answers on the control socket, the place of every call that changes something. It does not block, and
// takes the listener over.
func (s *Server) ServeSocket(l net.Listener) {
	isListOrChange := func(r *http.Request) bool { return !isRead(r) || r.URL.Path == sessionsPath }
	s.serve(l, SocketConns, paced(s.routes(true), isListOrChange), func(a *AdminStatus) *string { return &a.Socket })
}

// isRead reports whether a request can change nothing.
func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// Retire gives up a listener. Requests that are being answered on it, that which has led to this among them, are finished,
// or cut when retireTime is over. It does not wait.
func (s *Server) Retire(l net.Listener) {
	s.mu.Lock()
	i := slices.IndexFunc(s.servers, func(one served) bool { return one.listener == l })
	if i < 0 {
		s.mu.Unlock()
		_ = l.Close() // it was never served
		return
	}
	hs := s.servers[i].server
	s.servers = slices.Delete(slices.Clone(s.servers), i, i+1)
	s.mu.Unlock()
	_ = l.Close() // at once: the address is somebody else's to take
	go func() {   // nobody waits for it, not even the end of the process
		ctx, cancel := context.WithTimeout(context.Background(), retireTime)
		defer cancel()
		if hs.Shutdown(ctx) != nil {
			_ = hs.Close()
		}
	}()
}

// retireTime bounds how long requests may go on at an address that was given up.
const retireTime = 30 * time.Second

// A served is a listener that requests come from.
type served struct {
	listener net.Listener
	server   *http.Server
	places   *places
	told     func(*AdminStatus) *string // where the status has its address
}

// addresses returns where requests are answered.
func (s *Server) addresses() (a AdminStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.servers {
		*one.told(&a) = one.listener.Addr().String()
	}
	return a
}

// Drain makes /readyz answer 503 from now on: the process is about to end.
func (s *Server) Drain() { s.draining.Store(true) }

// Release gives up the addresses, so that a successor may have them. Requests that are being answered are finished; Close
// is still to be called.
// A listener that comes later is given up at once.
func (s *Server) Release() {
	s.mu.Lock()
	servers := s.servers
	s.released = true
	s.mu.Unlock()
	done, cancel := context.WithCancel(context.Background())
	cancel() // nobody is waited for
	for _, hs := range servers {
		_ = hs.server.Shutdown(done) // it says that somebody is not waited for
	}
	s.serving.Wait()
}

// Close ends all listeners. Requests that are being answered are finished until ctx is done, and then cut.
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	servers := s.servers
	s.mu.Unlock()
	for _, hs := range servers {
		if hs.server.Shutdown(ctx) != nil {
			_ = hs.server.Close() // what it closes is of no use any more
		}
	}
	s.serving.Wait()
}

func (s *Server) serve(l net.Listener, conns int, h http.Handler, told func(*AdminStatus) *string) {
	hs := &http.Server{
		Handler:     placed(plain(h)),
		ConnContext: withConn,
		ConnState:   connChanged,
		// A client that sends or reads a byte now and then must not hold a connection for ever.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       30 * time.Second, // longer than the scrape interval where scrapes are frequent
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelWarn),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released { // a reload was under way when the process began to end
		_ = l.Close()
		return
	}
	p := newPlaces(l, conns)
	if s.paused {
		p.pause()
	}
	s.servers = append(s.servers, served{l, hs, p, told})
	s.serving.Go(func() {
		if err := hs.Serve(p); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.options.Logger.Error("admin API has ended", "address", l.Addr().String(), "error", err)
		}
	})
}

// readOnly refuses every method that could change something, whatever the path and whoever adds a route later.
func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isRead(r) {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this address is read-only: use the control socket", http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// plain sets the headers that every answer has.
func plain(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		h.ServeHTTP(w, r)
	})
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request, _ url.Values) {
	writeText(w, http.StatusOK, indexText())
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request, _ url.Values) {
	writeText(w, http.StatusOK, "ok\n")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client is gone
}
