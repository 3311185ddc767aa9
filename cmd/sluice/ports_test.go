package main

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
)

// TestPortsAreLogged: the start says what ports are enough for, pool by pool.
func TestPortsAreLogged(t *testing.T) {
	backends := func(addresses ...string) (list []pool.BackendConfig) {
		for _, a := range addresses {
			list = append(list, pool.BackendConfig{Name: a, Address: pool.Address{TCP: netip.MustParseAddrPort(a)}})
		}
		return list
	}
	f := func(p configs.Pool, sessions int, want ...string) {
		t.Helper()
		p.Config.Name = "web"
		var out bytes.Buffer
		logPorts(slog.New(slog.NewTextHandler(&out, nil)), &configs.File{Pools: []configs.Pool{p}}, admin.Limits{Sessions: sessions}, 100)
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%+v, %d sessions: not logged: %q, but\n%s", p, sessions, text, out.String())
			}
		}
		if n := strings.Count(out.String(), "\n"); n != len(want) {
			t.Errorf("%+v, %d sessions: %d lines:\n%s", p, sessions, n, out.String())
		}
	}
	one, two := backends("10.0.0.1:80"), backends("10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80")
	f(configs.Pool{Config: pool.Config{Backends: one}}, 100)
	f(configs.Pool{Config: pool.Config{Backends: one}}, 101, "pool=web connections=100 servers=1 sources=0 source_ports=100")
	f(configs.Pool{Config: pool.Config{Backends: two}}, 200)
	f(configs.Pool{Config: pool.Config{Backends: two}}, 0, "connections=200 servers=2") // unknown
	here := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("::1")}
	f(configs.Pool{Config: pool.Config{Backends: two}, Target: l4.Target{Sources: here}}, 400)
	f(configs.Pool{Config: pool.Config{Backends: two}, Target: l4.Target{Sources: here}}, 401, "connections=400 servers=2 sources=3")
	elsewhere := []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	f(configs.Pool{Config: pool.Config{Backends: one}, Target: l4.Target{Sources: elsewhere}}, 1, "level=WARN")
	var out bytes.Buffer
	many := make([]configs.Pool, portLines+3)
	for i := range many {
		many[i].Config.Backends = one
	}
	logPorts(slog.New(slog.NewTextHandler(&out, nil)), &configs.File{Pools: many}, admin.Limits{}, 100)
	if n := strings.Count(out.String(), "\n"); n != portLines+1 || !strings.Contains(out.String(), "more pools\" pools=3\n") {
		t.Errorf("of %d pools there are %d lines:\n%s", len(many), n, out.String())
	}
	f(configs.Pool{Config: pool.Config{Backends: two}, Entries: make([]configs.Entry, 1)}, 1000) // nobody knows how many there will be
	f(configs.Pool{Config: pool.Config{Backends: append(one, pool.BackendConfig{Address: pool.Address{Unix: "/x"}})}}, 1000)
}
