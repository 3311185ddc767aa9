package admin

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/l4/clients"
	"sluice/pool"
	"sluice/pool/discovery"
	"sluice/sysutil"
)

// newPool returns a pool with one backend for each name. Nothing connects to them.
func newPool(t *testing.T, name string, backends ...string) *pool.Pool {
	t.Helper()
	c := pool.Config{Name: name}
	for _, b := range backends {
		c.Backends = append(c.Backends, pool.BackendConfig{
			Name: b, Weight: 1, Address: pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:1")},
		})
	}
	p, err := pool.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// options describes a program with these pools, with a listener "on POOL" for each.
func options(pools ...*pool.Pool) Options {
	stats := l4.Stats{Loops: make([]l4.LoopStats, 2)}
	for _, p := range pools {
		stats.Listeners = append(stats.Listeners, l4.ListenerStats{Name: "on " + p.Name(), Pools: []string{p.Name()}, Accepts: 5})
	}
	return Options{
		Build:      Build{Version: "v1.2.3", Commit: "abc", Go: "go1.26"},
		Started:    time.Now(),
		Limits:     func() Limits { return Limits{Descriptors: 1024, Reserved: 24, Sessions: 500} },
		Hosts:      func() []string { return nil },
		Allow:      func() []netip.Prefix { return nil },
		Stats:      func() l4.Stats { return stats },
		Visit:      visiting(nil),
		Kill:       func(l4.SessionRef) bool { return false },
		Pools:      func() []*pool.Pool { return pools },
		Health:     func(*pool.Backend) health.Status { return health.Status{} },
		PoolHealth: func(*pool.Pool) health.PoolStatus { return health.PoolStatus{} },
		Checked:    func(*pool.Pool) bool { return false },
		Metrics:    metricsOf(pools),
		Logger:     slog.New(slog.DiscardHandler),

		LinesDropped: func() uint64 { return 0 },
	}
}

// serve starts a server on both kinds of listener and returns a client for each.
func serve(t *testing.T, o Options) (s *Server, tcp, socket *client) {
	t.Helper()
	s = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := ListenSocket(filepath.Join(t.TempDir(), "s.sock"), sysutil.SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	s.ServeTCP(l)
	s.ServeSocket(u)
	t.Cleanup(func() { s.Close(t.Context()) })
	return s, &client{t, l.Addr()}, &client{t, u.Addr()}
}

type client struct {
	t    *testing.T
	addr net.Addr
}

// do sends one request and returns the answer with its body read.
func (c *client) do(method, path string) (*http.Response, string) {
	c.t.Helper()
	return c.send(method, path, "")
}

// send is do with a body.
func (c *client) send(method, path, body string) (*http.Response, string) {
	c.t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, c.addr.Network(), c.addr.String())
		},
		DisableKeepAlives: true,
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer, string(text)
}

func TestTCPSideIsReadOnly(t *testing.T) {
	_, tcp, _ := serve(t, options(newPool(t, "web", "a")))
	f := func(method, path string, status int) {
		t.Helper()
		if answer, body := tcp.do(method, path); answer.StatusCode != status {
			t.Errorf("%s %s: %s %s", method, path, answer.Status, body)
		}
	}
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/api/v1/sessions", "/api/v1/openapi.json"} {
		f("GET", path, 200)
		f("HEAD", path, 200)
	}
	f("GET", "/nothing", 404)
	// Also on paths that do not exist yet: whoever adds one is not to open it here.
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"} {
		f(method, "/api/v1/status", 405)
		f(method, "/api/v1/sessions", 405)
		f(method, "/nothing", 405)
	}
}

func TestSocketAnswersTheSame(t *testing.T) {
	_, tcp, socket := serve(t, options(newPool(t, "web", "a")))
	for _, path := range []string{"/", "/healthz", "/readyz"} {
		_, a := tcp.do("GET", path)
		_, b := socket.do("GET", path)
		if a != b || a == "" {
			t.Errorf("%s: %q on TCP, %q on the socket", path, a, b)
		}
	}
}

func TestReadyz(t *testing.T) {
	web, mail := newPool(t, "web", "a", "b"), newPool(t, "mail", "c")
	unused := newPool(t, "unused")
	o := options(web, mail)
	o.Pools = func() []*pool.Pool { return []*pool.Pool{web, mail, unused} }
	s, tcp, _ := serve(t, o)
	f := func(status int, body string) {
		t.Helper()
		if answer, got := tcp.do("GET", "/readyz"); answer.StatusCode != status || got != body {
			t.Errorf("%s %q, want %d %q", answer.Status, got, status, body)
		}
	}
	f(200, "ready\n")
	web.Backends()[0].SetUp(false) // one is left
	f(200, "ready\n")
	web.Backends()[1].SetEjected(true)
	f(503, "pool \"web\": none of its 2 backends is usable\n")
	mail.Backends()[0].SetAdmin(pool.Maint)
	f(503, "pool \"web\": none of its 2 backends is usable\npool \"mail\": none of its 1 backends is usable\n")
	web.Backends()[0].SetUp(true)
	mail.Backends()[0].SetAdmin(pool.Ready)
	f(200, "ready\n")
	s.Drain()
	f(503, "draining: this process is about to end\n")
	if answer, _ := tcp.do("GET", "/healthz"); answer.StatusCode != 200 {
		t.Errorf("/healthz of a process that drains: %s", answer.Status)
	}
}

// found are sources of which nothing is in force.
type found []SourceStatus

func (f found) Sources() []SourceStatus { return f }
func (found) Found(string) Found        { return Found{} }

// TestNotReadyWithoutListeners: nobody can be served, and where listeners come from a source that is why.
func TestNotReadyWithoutListeners(t *testing.T) {
	source := func(problem string, generation uint64) found {
		return found{{Status: discovery.Status{Source: "docker labels", Problem: problem, Generation: generation}}}
	}
	for _, c := range []struct {
		sources found
		want    string
	}{
		{nil, "no listener: nothing is served\n"},
		{source("", 0), "no listener: docker labels has not answered yet\n"},
		{source("refused", 0), "no listener: docker labels has not answered yet: refused\n"},
		{source("refused", 1), "no listener: nothing is served\n"},
	} {
		o := options()
		o.Discovery = c.sources
		_, tcp, _ := serve(t, o)
		if answer, got := tcp.do("GET", "/readyz"); answer.StatusCode != 503 || got != c.want {
			t.Errorf("%s %q, want 503 %q", answer.Status, got, c.want)
		}
	}
}

func TestNotReadyWhileAListenerRests(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	o.Stats().Listeners[0].Scarce = true
	_, tcp, _ := serve(t, o)
	want := "listener \"on web\": out of descriptors or memory, new sessions wait\n"
	if answer, got := tcp.do("GET", "/readyz"); answer.StatusCode != 503 || got != want {
		t.Errorf("%s %q, want 503 %q", answer.Status, got, want)
	}
}

// TestReadyAtTheLimit: who is full is busy, and new sessions wait.
func TestReadyAtTheLimit(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	l := &o.Stats().Listeners[0]
	l.AtLimit, l.Resting = true, true
	_, tcp, _ := serve(t, o)
	if answer, got := tcp.do("GET", "/readyz"); answer.StatusCode != 200 || got != "ready\n" {
		t.Errorf("%s %q, want 200", answer.Status, got)
	}
}

// TestReadyzOfSome: a listener is asked for with all of its pools, and nothing that is beside it counts.
func TestReadyzOfSome(t *testing.T) {
	web, mail, spare := newPool(t, "web", "a"), newPool(t, "mail", "b"), newPool(t, "spare", "c")
	o := options(web, mail)
	o.Pools = func() []*pool.Pool { return []*pool.Pool{web, mail, spare} }
	o.Stats().Listeners[1].Scarce = true
	s, tcp, socket := serve(t, o)
	f := func(query string, status int, body string) {
		t.Helper()
		for _, side := range []*client{tcp, socket} {
			if answer, got := side.do("GET", "/readyz"+query); answer.StatusCode != status || got != body {
				t.Errorf("%s: %s %q, want %d %q", query, answer.Status, got, status, body)
			}
		}
	}
	const rests, none = "listener \"on mail\": out of descriptors or memory, new sessions wait\n", "pool \"mail\": none of its 1 backends is usable\n"
	mail.Backends()[0].SetUp(false)
	f("", 503, rests+none)
	f("?listener=on+web", 200, "ready\n")
	f("?listener=on+mail", 503, rests+none)
	f("?pool=web&pool=spare", 200, "ready\n")
	f("?pool=mail", 503, none)
	f("?listener=on+web&pool=mail", 503, none)
	f("?listener=on+mail&pool=mail", 503, rests+none)
	f("?listener=web", 404, "no listener \"web\": there are on web, on mail\n")
	f("?listener=", 404, "no listener \"\": there are on web, on mail\n")
	f("?pool=wep&listener=on+web", 404, "no pool \"wep\": there are web, mail, spare\n")
	f("?listner=on+web", 400, "unknown parameter \"listner\": want listener or pool\n")
	f("?pool=%zz", 400, "invalid URL escape \"%zz\"\n")
	s.Drain()
	f("?listener=on+web", 503, "draining: this process is about to end\n")
}

// TestReadyzOfRoutes: every pool that a route leads to counts, each once.
func TestReadyzOfRoutes(t *testing.T) {
	web, shop := newPool(t, "web", "a"), newPool(t, "shop", "b")
	o := options(web)
	o.Pools = func() []*pool.Pool { return []*pool.Pool{web, shop} }
	o.Stats().Listeners[0].Pools = []string{"shop", "web"}
	_, tcp, _ := serve(t, o)
	shop.Backends()[0].SetUp(false)
	web.Backends()[0].SetUp(false)
	want := "pool \"shop\": none of its 1 backends is usable\npool \"web\": none of its 1 backends is usable\n"
	if answer, got := tcp.do("GET", "/readyz"); answer.StatusCode != 503 || got != want {
		t.Errorf("%s %q, want 503 %q", answer.Status, got, want)
	}
}

// TestNotReadyBeforeTheFirstChecks: a backend counts as up until its first check, which is no reason to be ready.
func TestNotReadyBeforeTheFirstChecks(t *testing.T) {
	web, off := newPool(t, "web", "a", "b", "c", "d"), newPool(t, "off", "e")
	var probed sync.Map // of *pool.Backend
	o := options(web, off)
	o.Checked = func(p *pool.Pool) bool { return p == web }
	o.Health = func(b *pool.Backend) (s health.Status) {
		if _, ok := probed.Load(b); ok {
			s.LastProbe = time.Now()
		}
		return s
	}
	_, tcp, _ := serve(t, o)
	f := func(status int, body string) {
		t.Helper()
		if answer, got := tcp.do("GET", "/readyz"); answer.StatusCode != status || got != body {
			t.Errorf("%s %q, want %d %q", answer.Status, got, status, body)
		}
	}
	backends := web.Backends()
	backends[2].SetAdmin(pool.Drain)
	backends[3].SetAdmin(pool.Maint)
	f(503, "pool \"web\": 2 of its 4 backends not checked yet\n")
	probed.Store(backends[0], true)
	f(503, "pool \"web\": 1 of its 4 backends not checked yet\n")
	probed.Store(backends[1], true)
	f(200, "ready\n")
}

func TestFetchStatus(t *testing.T) {
	web := newPool(t, "web", "a")
	web.Backends()[0].Dialed(pool.DialRefused)
	_, _, socket := serve(t, options(web))
	status, text, err := FetchStatus(t.Context(), socket.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if status.Version != "v1.2.3" || status.Admin.Socket != socket.addr.String() || len(status.Loops) != 2 {
		t.Errorf("status is %+v", status)
	}
	if b := status.Pools[0].Backends[0]; b.ConnectFailures["refused"] != 1 || !b.Up || b.Name != "a" {
		t.Errorf("backend is %+v", b)
	}
	if !bytes.Contains(text, []byte(`"balance": "least_conn"`)) {
		t.Errorf("a policy is not written as its word: %s", text)
	}
}

func TestStatusOfListeners(t *testing.T) {
	o := options(newPool(t, "web", "a"), newPool(t, "mail", "b"))
	listeners := o.Stats().Listeners
	listeners[0].Pools = []string{"shop", "web"}
	listeners[0].Sessions, listeners[0].MaxSessions, listeners[0].AtLimit = 7, 7, true
	listeners[0].Clients = clients.Stats{Table: 64, Busy: 3, Sessions: 7, Forgotten: 1, Untracked: 2}
	_, _, socket := serve(t, o)
	status, text, err := FetchStatus(t.Context(), socket.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	web, mail := status.Listeners[0], status.Listeners[1]
	if !slices.Equal(web.Pools, []string{"shop", "web"}) || web.MaxSessions != 7 || !web.AtLimit {
		t.Errorf("listener is %+v", web)
	}
	if web.Clients != (clients.Stats{Table: 64, Busy: 3, Sessions: 7, Forgotten: 1, Untracked: 2}) {
		t.Errorf("clients are %+v", web.Clients)
	}
	if mail.Clients != (clients.Stats{}) || mail.AtLimit || bytes.Count(text, []byte(`"clients"`)) != 1 {
		t.Errorf("a listener without limits is %+v in\n%s", mail, text)
	}
	if status.Limits != o.Limits() {
		t.Errorf("limits are %+v, want %+v", status.Limits, o.Limits())
	}
}

// TestServersAreBounded: a client that sends nothing, or too much, must not hold a connection for ever.
func TestServersAreBounded(t *testing.T) {
	s, tcp, _ := serve(t, options(newPool(t, "web", "a")))
	for _, one := range s.servers {
		hs := one.server
		if hs.ReadHeaderTimeout == 0 || hs.ReadTimeout == 0 || hs.WriteTimeout == 0 || hs.IdleTimeout == 0 {
			t.Errorf("a server without a limit: %+v", hs)
		}
	}
	conn, err := net.Dial("tcp", tcp.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 64<<10)) }()
	answer := make([]byte, len("HTTP/1.1 431"))
	_, _ = io.ReadFull(conn, answer)
	if got := string(answer); got != "HTTP/1.1 431" {
		t.Errorf("a header of 64 KiB is answered with %q", got)
	}
}

func metricsOf(pools []*pool.Pool) *Metrics {
	m := NewMetrics()
	m.Follow(pools)
	return m
}

// generationOnly is a Control that is asked for the generation alone.
type generationOnly struct {
	Control
	now Generation
	set []OverrideStatus
}

func (g generationOnly) Generation() Generation      { return g.now }
func (g generationOnly) Overrides() []OverrideStatus { return g.set }
