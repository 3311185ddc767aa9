package admin

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"sluice/health"
	"sluice/pool"
)

// expectJSON compares two texts of JSON, the order of the fields of objects aside.
func expectJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("what is wanted of %s: %v", what, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s is\n%s\nwant\n%s", what, got, want)
	}
}

// poolJSON returns the pools of /api/v1/status as they are written.
func poolJSON(t *testing.T, o Options) string {
	t.Helper()
	_, tcp, _ := serve(t, o)
	var answer struct{ Pools json.RawMessage }
	if _, body := tcp.do("GET", "/api/v1/status"); json.Unmarshal([]byte(body), &answer) != nil {
		t.Fatalf("not JSON: %s", body)
	}
	return string(answer.Pools)
}

// usedPool returns a pool whose backends have different numbers, addresses and states.
func usedPool(t *testing.T) *pool.Pool {
	t.Helper()
	p, err := pool.New(pool.Config{Name: "shop", Balance: pool.First, QueueMax: 7, Backends: []pool.BackendConfig{
		{Name: "a", Weight: 3, MaxConns: 9, Backup: true, Address: pool.Address{TCP: netip.MustParseAddrPort("[::1]:80")}},
		{Name: "b", Weight: 1, State: pool.Drain, Vanished: true, Address: pool.Address{TCP: netip.MustParseAddrPort("10.0.0.5:5432")}},
		{Name: "c", Weight: 1, Address: pool.Address{Unix: "/run/c.sock"}, Down: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, c := p.Backends()[0], p.Backends()[2]
	if got, err := p.Reserve(netip.Addr{}, nil); got != a {
		t.Fatalf("the slot is one of %v, %v", got, err)
	}
	a.SetEjected(true)
	c.SetUp(true)
	for i, r := range []pool.DialResult{pool.DialOK, pool.DialRefused, pool.DialTimeout, pool.DialError} {
		for range i + 1 {
			a.Dialed(r)
		}
	}
	for i, o := range pool.Obstacles() {
		for range i + 1 {
			a.Obstructed(o)
		}
	}
	a.AddTraffic(0, 10, 20)
	return p
}

// TestPoolFields: what scripts read of a pool, its backends and their checks keeps its names, units and words.
func TestPoolFields(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := options(usedPool(t))
	o.PoolHealth = func(*pool.Pool) health.PoolStatus {
		return health.PoolStatus{SplitBrain: true, SplitBrains: 4, AllLag: true}
	}
	o.Health = func(b *pool.Backend) health.Status {
		switch b.Name() {
		case "a":
			return health.Status{
				Checked: true, Reason: "gone", Standby: true, Since: at, Successes: 5, Failures: 6, LastProbe: at.Add(time.Second),
				Took: 1500 * time.Microsecond, Error: "connection refused", Role: "replica", Timeline: 2,
				Lag: 2500 * time.Millisecond, LagKnown: true, CertificateEnds: at.Add(time.Hour), EjectedUntil: at.Add(time.Minute),
			}
		case "b":
			return health.Status{Checked: true, Up: true, Since: at, Role: "replica", LagKnown: true} // it does not lag
		}
		return health.Status{}
	}
	expectJSON(t, "the pool", poolJSON(t, o), `[{
		"name": "shop", "balance": "first", "usable": 1, "waiting": 0, "queue_max": 7, "split_brain": true, "all_lag": true,
		"backends": [
			{"name": "a", "address": "[::1]:80", "state": "ready", "up": true, "ejected": true, "usable": false, "backup": true,
			"weight": 3, "share_percent": 100, "max_conns": 9, "active": 1, "connects": 1,
			"connect_failures": {"refused": 2, "timeout": 3, "error": 4},
			"connect_obstacles": {"no_port": 1, "backlog_full": 2, "no_resources": 3},
			"received_bytes": 10, "sent_bytes": 20, "check": {
				"since": "2026-01-02T03:04:05Z", "last": "2026-01-02T03:04:06Z", "took_seconds": 0.0015,
				"error": "connection refused", "successes": 5, "failures": 6, "ejected_until": "2026-01-02T03:05:05Z",
				"certificate_ends": "2026-01-02T04:04:05Z", "reason": "gone", "role": "replica", "timeline": 2, "lag_seconds": 2.5}},
			{"name": "b", "address": "10.0.0.5:5432", "state": "drain", "up": true, "ejected": false, "vanished": true, "usable": false, "backup": false,
			"weight": 1, "share_percent": 100, "max_conns": 0, "active": 0, "connects": 0,
			"connect_failures": {"refused": 0, "timeout": 0, "error": 0},
			"connect_obstacles": {"no_port": 0, "backlog_full": 0, "no_resources": 0},
			"received_bytes": 0, "sent_bytes": 0, "check": {
				"since": "2026-01-02T03:04:05Z", "took_seconds": 0, "successes": 0, "failures": 0, "role": "replica", "lag_seconds": 0}},
			{"name": "c", "address": "unix:/run/c.sock", "state": "ready", "up": true, "ejected": false, "usable": true, "backup": false,
			"weight": 1, "share_percent": 100, "max_conns": 0, "active": 0, "connects": 0,
			"connect_failures": {"refused": 0, "timeout": 0, "error": 0},
			"connect_obstacles": {"no_port": 0, "backlog_full": 0, "no_resources": 0},
			"received_bytes": 0, "sent_bytes": 0, "check": {
				"since": "0001-01-01T00:00:00Z", "took_seconds": 0, "successes": 0, "failures": 0}}
		]}]`)
	expectJSON(t, "a pool without backends", poolJSON(t, options(newPool(t, "none"))), `[{
		"name": "none", "balance": "least_conn", "usable": 0, "waiting": 0, "queue_max": 0, "split_brain": false, "all_lag": false,
		"backends": []}]`)
}
