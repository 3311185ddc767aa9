package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/pool"
	"sluice/sysutil"
)

// limited returns a configuration with one listener of two addresses and one pool of three backends.
func limited(protocol l4.Protocol, kind probe.Kind) *configs.File {
	file := &configs.File{
		Listeners: []configs.Listener{{
			ListenerConfig: l4.ListenerConfig{Name: "web", Bind: make([]pool.Address, 2), Protocol: protocol},
		}},
		Pools: make([]configs.Pool, 1),
	}
	file.Pools[0].Config.Backends = make([]pool.BackendConfig, 3)
	file.Pools[0].Health.Probe.Kind = kind
	return file
}

func TestReserve(t *testing.T) {
	const program = programDescriptors + adminDescriptors
	f := func(protocol l4.Protocol, kind probe.Kind, loops int, files, want uint64) {
		t.Helper()
		if got := reserveOf(limited(protocol, kind), loops, files); got != want {
			t.Errorf("%v, %v checks, %d loops, %d files: %d reserved, want %d", protocol, kind, loops, files, got, want)
		}
	}
	f(l4.ProtocolTCP, probe.Off, 1, 20000, program+2+2)
	f(l4.ProtocolTCP, probe.TCP, 1, 20000, program+2+2+3)
	f(l4.ProtocolTLS, probe.HTTP, 4, 20000, program+2+8+3)
	f(l4.ProtocolPostgres, probe.Postgres, 4, 20000, program+2+8+6+128)
	f(l4.ProtocolPostgres, probe.Postgres, 4, 320, program+2+8+6+20) // where there are few
	f(l4.ProtocolPostgres, probe.Postgres, 4, 0, program+2+8+6+128)  // where nobody knows
	file := limited(l4.ProtocolTCP, probe.Off)
	file.Admin.Metrics = "127.0.0.1:9601"
	if got, want := reserveOf(file, 1, 20000), uint64(program+2+2+metricsDescriptors); got != want {
		t.Errorf("with an address for metrics: %d reserved, want %d", got, want)
	}
}

func TestLimits(t *testing.T) {
	file := limited(l4.ProtocolTCP, probe.Off)
	reserved := reserveOf(file, 1, 0)
	f := func(files uint64, pipes int, want int) {
		t.Helper()
		limits := limitsOf(file, 1, files, pipes)
		if limits != (admin.Limits{Descriptors: files, Reserved: reserved, Sessions: want}) {
			t.Errorf("with %d files and %d pipes the limits are %+v, want %d sessions", files, pipes, limits, want)
		}
	}
	f(reserved+100, 0, 50)
	f(reserved+100, 20, 30)
	f(reserved+101, 20, 30)
	f(reserved+2, 0, 1)
	f(reserved, 0, 1) // never none
	f(10, 100, 1)     // more pipes than descriptors: no wrap-around
	f(1<<63, 0, 1<<31-1)
	f(0, 4, 0) // unknown: no limit
}

// TestAdminHosts: the address itself may be a name.
func TestAdminHosts(t *testing.T) {
	f := func(listen string, want ...string) {
		t.Helper()
		if got := adminHosts(&configs.Admin{Listen: listen, Hosts: []string{"lb1"}}); !slices.Equal(got, want) {
			t.Errorf("at %q the hosts are %q, want %q", listen, got, want)
		}
	}
	f("", "lb1")
	f(":9600", "lb1")
	f("Metrics.internal:9600", "lb1", "metrics.internal")
	f("[::1]:9600", "lb1", "::1")
	got := adminHosts(&configs.Admin{Listen: "127.0.0.1:9600", Metrics: "Metrics.internal:9601"})
	if !slices.Equal(got, []string{"127.0.0.1", "metrics.internal"}) {
		t.Errorf("the hosts are %q", got)
	}
}

// TestPipeSize: pipes are counted before l4 opens any.
func TestPipeSize(t *testing.T) {
	file, err := configs.Simple([]string{"127.0.0.1:0"}, []string{"127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pool.New(file.Pools[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	server, err := l4.New(l4.Config{Loops: 1, Listeners: []l4.ListenerConfig{{
		Name: "web", Bind: file.Listeners[0].Bind, Target: l4.Target{Pool: p},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got, want := sysutil.PlanPipes(l4.PipeSize).Limit, server.Stats().Pipes.Limit; got != want {
		t.Errorf("%d pipes are expected, and l4 opens up to %d", got, want)
	}
}

// TestLimitsAreLogged: nothing is capped silently.
func TestLimitsAreLogged(t *testing.T) {
	f := func(limits admin.Limits, maxSessions int, want ...string) {
		t.Helper()
		file := limited(l4.ProtocolTCP, probe.Off)
		file.Listeners[0].MaxSessions = maxSessions
		var out bytes.Buffer
		logLimits(slog.New(slog.NewTextHandler(&out, nil)), file, limits, 2, sysutil.PipePlan{Limit: 5, Size: 65536})
		for _, text := range append(want, "msg=limits ", " loops=2 pipes=5 pipe_size=65536 source_ports=") {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%+v, max_sessions %d: not logged: %q, but\n%s", limits, maxSessions, text, out.String())
			}
		}
		if n := strings.Count(out.String(), "level=WARN"); n != min(len(want), 1) {
			t.Errorf("%+v, max_sessions %d: %d warnings:\n%s", limits, maxSessions, n, out.String())
		}
	}
	f(admin.Limits{Descriptors: 320, Reserved: 60, Sessions: 120}, 0)
	f(admin.Limits{Descriptors: 320, Reserved: 60, Sessions: 120}, 120)
	f(admin.Limits{Descriptors: 320, Reserved: 60, Sessions: 120}, 121,
		`msg="max_sessions is more than the descriptors are enough for`, " listener=web max_sessions=121 sessions=120")
	f(admin.Limits{Descriptors: 50, Reserved: 60, Sessions: 1}, 0, `msg="too few descriptors`, " descriptors=50 needed=72")
	f(admin.Limits{Reserved: 60}, 10) // unknown: no limit
}

// TestPipesAreLogged: who has few of them is told what to turn.
func TestPipesAreLogged(t *testing.T) {
	var out bytes.Buffer
	plan := sysutil.PipePlan{Limit: 256, Size: 128 << 10, Soft: true}
	logLimits(slog.New(slog.NewTextHandler(&out, nil)), limited(l4.ProtocolTCP, probe.Off), admin.Limits{}, 1, plan)
	for _, want := range []string{"pipes=256 pipe_size=131072 ", " pipes_limited_by=fs.pipe-user-pages-soft enough_is=131072\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("logged\n%swant %s", out.String(), want)
		}
	}
}
