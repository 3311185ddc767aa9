package load

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func startBackend(t *testing.T, cfg BackendConfig) *Backend {
	t.Helper()
	if cfg.Listen == nil {
		cfg.Listen = []netip.AddrPort{loopback}
	}
	if cfg.OnError == nil {
		cfg.OnError = func(err error) { t.Errorf("backend: %v", err) }
	}
	b, err := StartBackend(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// With a pause, a session makes at most one exchange per pause, and one to begin with.
func TestPause(t *testing.T) {
	backend := startBackend(t, BackendConfig{})
	const sessions, pause = 4, 20 * time.Millisecond
	report, err := runLonger(Plan{Target: backend.Addrs()[0], Duration: 200 * time.Millisecond,
		Flows: []Flow{{Work: Exchange, Sessions: sessions, Size: 64, Pause: pause}}}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	most := uint64(report.Elapsed/pause+1) * sessions
	if n := report.Flows[0].Replies; n == 0 || n > most {
		t.Errorf("%d replies in %v, want 1 to %d", n, report.Elapsed, most)
	}
}

func TestGeneratorAgainstBackend(t *testing.T) {
	f := func(name string, plan Plan, cfg BackendConfig) {
		t.Helper()
		before := len(systest.OpenFiles())
		backend, err := StartBackend(BackendConfig{Listen: []netip.AddrPort{loopback}, Loops: cfg.Loops,
			OnError: func(err error) { t.Errorf("%s: backend: %v", name, err) }})
		if err != nil {
			t.Fatal(err)
		}
		defer backend.Close()
		began := 0
		plan.Target = backend.Addrs()[0]
		plan.Begin = func() error { began++; return nil }
		plan.End = func() error { began *= 10; return nil }
		report, err := runLonger(plan, func() { began = 0 })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if began != 10 {
			t.Errorf("%s: Begin and End were not called once each, in turn", name)
		}
		for i, flow := range plan.Flows {
			checkFlow(t, name, flow, &report.Flows[i])
		}
		backend.Close()
		if after := len(systest.OpenFiles()); after != before {
			t.Errorf("%s: %d descriptors open, %d before", name, after, before)
		}
	}
	one := func(flow Flow) Plan { return Plan{Flows: []Flow{flow}, Duration: 500 * time.Millisecond} }
	f("smallest message", one(Flow{Work: Exchange, Sessions: 1, Size: 16}), BackendConfig{})
	f("64 B on two loops", one(Flow{Work: Exchange, Sessions: 65, Size: 64, Loops: 2}), BackendConfig{Loops: 2})
	f("8 KiB", one(Flow{Work: Exchange, Sessions: 10, Size: 8 << 10}), BackendConfig{})
	f("largest message", one(Flow{Work: Exchange, Sessions: 3, Size: MaxMessage}), BackendConfig{})
	// Only the limit ends these two.
	f("connect", Plan{Flows: []Flow{{Work: Connect, Sessions: 8, Size: 64, Limit: 5000}}, Duration: time.Hour}, BackendConfig{Loops: 2})
	f("download", one(Flow{Work: Download, Sessions: 4}), BackendConfig{})
	f("upload", one(Flow{Work: Upload, Sessions: 4}), BackendConfig{})
	f("hold", Plan{Flows: []Flow{{Work: Hold, Sessions: 200, Size: 64}}}, BackendConfig{})
	f("small beside bulk", Plan{Duration: 500 * time.Millisecond, Flows: []Flow{
		{Work: Exchange, Sessions: 4, Size: 64}, {Work: Download, Sessions: 2}, {Work: Upload, Sessions: 2}}}, BackendConfig{})
	f("connect from many addresses", Plan{Flows: []Flow{{Work: Connect, Sessions: 8, Size: 64, Limit: 3000}},
		Sources: 16, Duration: time.Hour}, BackendConfig{})
	f("hellos", Plan{Flows: []Flow{{Work: Connect, Sessions: 8, ServerName: "shop.example", Limit: 3000}},
		Duration: time.Hour}, BackendConfig{})
}

// checkFlow checks what can be known without a clock.
func checkFlow(t *testing.T, name string, flow Flow, got *FlowReport) {
	t.Helper()
	switch {
	case flow.stream():
		if got.Bytes == 0 || got.Replies != 0 {
			t.Errorf("%s: %d bytes and %d replies of a stream", name, got.Bytes, got.Replies)
		}
	case flow.Work == Hold:
		if got.Replies != 0 {
			t.Errorf("%s: %d replies while idle", name, got.Replies)
		}
	default:
		if got.Replies == 0 || got.Latency.Count() != got.Replies {
			t.Errorf("%s: %d replies, %d latencies", name, got.Replies, got.Latency.Count())
		}
		if got.Latency.Quantile(0.5) <= 0 || got.Latency.Quantile(0.5) > got.Latency.Quantile(0.99) {
			t.Errorf("%s: latencies %v to %v", name, got.Latency.Quantile(0.5), got.Latency.Quantile(1))
		}
	}
}

// TestSessionsReachTheBackend: the kernel counts what the generator claims.
func TestSessionsReachTheBackend(t *testing.T) {
	b := startBackend(t, BackendConfig{})
	before := len(systest.OpenFiles())
	_, err := Run(context.Background(), Plan{Target: b.Addrs()[0], Flows: []Flow{{Work: Hold, Sessions: 123, Size: 64}},
		Begin: func() error {
			// Both ends of each session are in this process; the run itself has an epoll and an eventfd.
			if open := len(systest.OpenFiles()) - before; open != 2*123+2 {
				t.Errorf("%d descriptors for 123 held sessions, want %d", open, 2*123+2)
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRepliesWereGiven: the server has made every reply of the measurement
// after it began, and none is claimed that it has not made.
func TestRepliesWereGiven(t *testing.T) {
	var made atomic.Uint64
	target := serve(t, answering(-1, func(b []byte) []byte { made.Add(1); return b }))
	var before uint64
	report, err := runLonger(Plan{Target: target, Duration: time.Second,
		Flows: []Flow{{Work: Exchange, Sessions: 5, Size: 64}},
		Begin: func() error { before = made.Load(); return nil }}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	// One reply per session can be under way when the measurement begins.
	if got, most := report.Flows[0].Replies, made.Load()-before+5; got == 0 || got > most {
		t.Errorf("%d replies measured, the server made at most %d", got, most)
	}
}

func TestCancelEndsRun(t *testing.T) {
	b := startBackend(t, BackendConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, Plan{Target: b.Addrs()[0], Duration: time.Hour,
		Flows: []Flow{{Work: Exchange, Sessions: 2, Size: 64}},
		Begin: func() error { cancel(); return nil }})
	if err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestInvalidPlans(t *testing.T) {
	f := func(plan Plan, want string) {
		t.Helper()
		if _, err := Run(context.Background(), plan); err == nil || err.Error() != "check plan: "+want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	v6 := netip.MustParseAddrPort("[::1]:1")
	f(Plan{}, "no flow")
	f(Plan{Flows: []Flow{{Size: 64}}}, "flow 0: 0 sessions: must be positive")
	f(Plan{Flows: []Flow{{Sessions: 1, Size: 15}}}, "flow 0: size 15: must be 16 to 131072")
	f(Plan{Flows: []Flow{{Sessions: 1, Size: 1 << 20}}}, "flow 0: size 1048576: must be 16 to 131072")
	f(Plan{Flows: []Flow{{Sessions: 1, Size: 64, ServerName: "x"}}}, `flow 0: server name "x": goes with Connect only`)
	f(Plan{Sources: 201, Flows: []Flow{{Sessions: 1, Size: 64}}}, "201 sources: must be 0 to 200")
	f(Plan{Target: v6, Sources: 1, Flows: []Flow{{Sessions: 1, Size: 64}}}, "sources with target [::1]:1: must be IPv4")
}

// serve accepts connections and hands each to handle.
func serve(t *testing.T, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}
