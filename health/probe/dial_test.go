package probe

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"sluice/pool"
)

func tcpAt(s string) pool.Address { return pool.Address{TCP: netip.MustParseAddrPort(s)} }

func TestAsked(t *testing.T) {
	anyPort := pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.9"), 0)}
	unix := pool.Address{Unix: "/run/x.sock"}
	f := func(c Config, backend pool.Address, want string) {
		t.Helper()
		got, err := asked(c, backend)
		if err != nil || got.String() != want {
			t.Errorf("%+v of %v: %v, %v, want %s", c.Address, backend, got, err, want)
		}
	}
	f(Config{}, tcpAt("10.0.0.1:80"), "10.0.0.1:80")
	f(Config{Port: 8008}, tcpAt("10.0.0.1:80"), "10.0.0.1:8008")
	f(Config{Address: anyPort}, tcpAt("10.0.0.1:80"), "10.0.0.9:80")
	f(Config{Address: anyPort, Port: 8008}, tcpAt("10.0.0.1:80"), "10.0.0.9:8008")
	f(Config{Address: tcpAt("[::1]:81")}, tcpAt("10.0.0.1:80"), "[::1]:81")
	f(Config{Address: tcpAt("[::1]:81"), Port: 8008}, tcpAt("10.0.0.1:80"), "[::1]:8008")
	f(Config{}, unix, "unix:/run/x.sock")
	f(Config{Address: unix}, tcpAt("10.0.0.1:80"), "unix:/run/x.sock")
	f(Config{Address: anyPort, Port: 80}, unix, "10.0.0.9:80")
}

func TestNewRefuses(t *testing.T) {
	here := tcpAt("127.0.0.1:80")
	f := func(c Config, backend pool.Address, words ...string) {
		t.Helper()
		p, err := New(c, backend)
		if p != nil && err != nil {
			t.Errorf("%+v: a prober and an error", c)
		}
		wantError(t, err, words...)
	}
	f(Config{Kind: Off}, here, "off")
	f(Config{Port: 80}, pool.Address{Unix: "/x"}, "unix:/x has no ports")
	anyPort := pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("::1"), 0)}
	f(Config{Address: anyPort}, pool.Address{Unix: "/x"}, "port")
	f(Config{}, pool.Address{}, "address")
	f(Config{ProxyVersion: 3}, here, "version 3")
	f(Config{Kind: Expect}, here, "without steps")
	f(Config{Kind: Expect, Steps: []Step{{Send: []byte("x")}, {}}}, here, "step 2")
	f(Config{Kind: HTTP, HTTP: HTTPConfig{Path: "x"}}, here, `path "x"`)
	f(Config{Kind: HTTP, HTTP: HTTPConfig{Method: "G ET"}}, here, "method")
	f(Config{Kind: Postgres, Postgres: PostgresConfig{SSLMode: "maybe"}}, here, `sslmode "maybe"`)
}

func TestLocal(t *testing.T) {
	if !Local(&wrapped{syscall.EMFILE}) || !Local(syscall.EAGAIN) || Local(syscall.ECONNREFUSED) || Local(nil) || Local(context.DeadlineExceeded) {
		t.Error("EMFILE is a matter of this machine, and the others are not")
	}
}

type wrapped struct{ error }

func (w *wrapped) Unwrap() error { return w.error }

// A Unix socket whose queue is full is that of a server that is busy: every kind of probe waits for it, and if that does
// not help, it has nothing against the server.
func TestFullBacklog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "full")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.UnixListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	first, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	var probes sync.WaitGroup
	for _, c := range []Config{
		{Kind: TCP}, {Kind: TLS}, {Kind: HTTP, HTTP: HTTPConfig{Host: "x"}}, {Kind: Expect, Steps: []Step{{Send: []byte("x")}}},
		{Kind: Postgres, Postgres: PostgresConfig{User: "sluice", Database: "postgres"}},
	} {
		p, err := New(c, pool.Address{Unix: path})
		if err != nil {
			t.Fatal(err)
		}
		probes.Go(func() {
			defer p.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 50*backlogPause)
			defer cancel()
			if _, err := p.Probe(ctx); !Local(err) {
				t.Errorf("%v: %v, want it to be no evidence", c.Kind, err)
			}
		})
	}
	probes.Wait()
	p, err := New(Config{Kind: TCP}, pool.Address{Unix: path})
	if err != nil {
		t.Fatal(err)
	}
	go func() { // sooner or later while the probe is at it
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if _, err := p.Probe(ctx); err != nil {
		t.Errorf("when there is room: %v", err)
	}
}
