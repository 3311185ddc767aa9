package configs

import (
	"cmp"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/health"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/pool"
)

func tcp(s string) pool.Address { return pool.Address{TCP: netip.MustParseAddrPort(s)} }

// everywhere is what ":port" means.
func everywhere(port uint16) pool.Address {
	return pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, port)}
}

const minimalText = `
listeners:
  web:
    bind: ":8080"
    pool: web
pools:
  web:
    backends: 10.0.0.1:80
`

// minimalFile is what minimalText says, with every default written out.
func minimalFile() *File {
	return &File{
		Admin: Admin{Listen: "127.0.0.1:9600", Socket: "/run/sluice/sluice.sock"},
		Log:   Log{Level: slog.LevelInfo, Format: "text", Sessions: "failed"},

		Upgrade: Upgrade{Deadline: 30 * time.Second, Leftover: LeftoverEnd},
		Listeners: []Listener{{
			ListenerConfig: l4.ListenerConfig{
				Name: "web", Bind: []pool.Address{everywhere(8080)},
				PeekTimeout: 5 * time.Second, FinTimeout: 10 * time.Minute, DeadPeer: 50 * time.Second,
			},
			Pool: "web",
		}},
		Pools: []Pool{{
			Config: pool.Config{Name: "web", Backends: []pool.BackendConfig{
				{Name: "10.0.0.1:80", Address: tcp("10.0.0.1:80"), Weight: 1},
			}, QueueMax: 1024},
			Health: health.Config{
				Interval: 2 * time.Second, FastInterval: 500 * time.Millisecond, DownInterval: 5 * time.Second,
				Timeout: time.Second, Rise: 2, Fall: 3, Jitter: 0.2,
				Eject: health.EjectConfig{Failures: 5, Window: 10 * time.Second, Duration: 30 * time.Second, MaxPercent: 50},
				OnDown: health.OnDown{
					Failed:   health.CloseRule{Close: true, Grace: 10 * time.Second, Rate: 50},
					Demoted:  health.CloseRule{Close: true},
					Promoted: health.CloseRule{Close: true, Grace: 10 * time.Second, Rate: 50},
					Maint:    health.CloseRule{Close: true, Rate: 50},
				},
			},
			Target: l4.Target{
				ConnectTimeout: 3 * time.Second, Retries: 2, QueueTimeout: 10 * time.Second, DeadPeer: 50 * time.Second,
				MaxAge: l4.MaxAge{Jitter: 0.1},
			},
			OnEmpty: OnEmptyAuto, RemoveAfter: 30 * time.Second,
		}},
	}
}

func TestParse(t *testing.T) {
	f := func(name, text string, change func(*File)) {
		t.Helper()
		got, err := parse("good.yaml", []byte(text), testLookup)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			return
		}
		want := minimalFile()
		change(want)
		got.Warnings = nil // see the scripts of check
		if !equal(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
	same := func(*File) {}
	f("defaults", minimalText, same)
	f("defaults written out", minimalText+fullPoolDefaults, same)
	f("shutdown", "shutdown: {delay: 5s, drain: 5m}"+minimalText, func(file *File) {
		file.Shutdown = Shutdown{Delay: 5 * time.Second, Drain: 5 * time.Minute}
	})
	f("upgrade", "upgrade: {deadline: 0s, leftover: drain}"+minimalText, func(file *File) {
		file.Upgrade = Upgrade{Leftover: LeftoverDrain}
	})
	f("byte order mark and CRLF", "\ufeff"+strings.ReplaceAll(minimalText, "\n", "\r\n"), same)
	f("document markers", "---"+minimalText+"...\n", same)
	f("JSON", `{"listeners":{"web":{"bind":":8080","pool":"web"}},"pools":{"web":{"backends":["10.0.0.1:80"]}}}`, same)
	f("flow with addresses out of quotes", "{listeners: {web: {bind: [:8080], pool: web}}, pools: {web: {backends: [10.0.0.1:80]}}}", same)
	f("tabs that indent nothing", minimalText+"\t\nloops: 0\t# tab\n", same)
	f("a range of ports and a zone", strings.Replace(minimalText, `":8080"`, `["127.0.0.1:79-81", "[fe80::1%eth0]:80"]`, 1), func(w *File) {
		w.Listeners[0].Bind = []pool.Address{tcp("127.0.0.1:79"), tcp("127.0.0.1:80"), tcp("127.0.0.1:81"), tcp("[fe80::1%eth0]:80")}
	})
	f("an unused pool", minimalText+"  spare: {backends: [10.0.0.1:80]}\n", func(w *File) {
		spare := minimalFile().Pools[0]
		spare.Config.Name = "spare"
		w.Pools = append(w.Pools, spare)
	})
	f("admin off", minimalText+`admin: {listen: "", socket: ''}`, func(w *File) { w.Admin = Admin{} })
	f("admin elsewhere", minimalText+"admin: {listen: seven.example:0, socket: /tmp/s}", func(w *File) {
		w.Admin = Admin{Listen: "seven.example:0", Socket: "/tmp/s"}
	})
	f("who may ask", minimalText+`admin: {listen: {allow: [10.0.0.0/8, "::1"]}, metrics: ":9601"}`, func(w *File) {
		w.Admin.Metrics = ":9601"
		w.Admin.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	f("who may ask elsewhere", minimalText+`admin: {listen: {address: ":7", allow: 10.0.0.1}}`, func(w *File) {
		w.Admin.Listen, w.Admin.Allow = ":7", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
	})
	root, seven := 0, 7
	f("a control socket for a group", minimalText+"admin: {socket: {path: /tmp/s, mode: 0660, group: root}}", func(w *File) {
		w.Admin.Socket, w.Admin.SocketFile = "/tmp/s", l4.SocketFile{Mode: 0o660, Group: &root}
	})
	f("a control socket with a mode", minimalText+"admin: {socket: {mode: 0o640}}", func(w *File) {
		w.Admin.SocketFile = l4.SocketFile{Mode: 0o640}
	})
	f("sockets", strings.Replace(minimalText, `bind: ":8080"`,
		"bind: [unix:/run/s, \"unix:@name\"]\n    socket: {mode: \"666\", user: 7, group: \"0\"}", 1), func(w *File) {
		w.Listeners[0].Bind = []pool.Address{{Unix: "/run/s"}, {Unix: "@name"}}
		w.Listeners[0].Socket = l4.SocketFile{Mode: 0o666, User: &seven, Group: &root}
	})
	f("an abstract backend", strings.Replace(minimalText, "10.0.0.1:80", "unix:@name", 1), func(w *File) {
		b := &w.Pools[0].Config.Backends[0]
		b.Name, b.Address = "unix:@name", pool.Address{Unix: "@name"}
	})
	f("admin by name", minimalText+"admin: {hosts: [Metrics.internal., lb1]}", func(w *File) {
		w.Admin.Hosts = []string{"metrics.internal", "lb1"}
	})
	f("log", minimalText+"log: {level: debug, format: json, sessions: off}\nloops: 4\n", func(w *File) {
		w.Log = Log{Level: slog.LevelDebug, Format: FormatJSON, Sessions: SessionsOff}
		w.Loops = 4
	})
}

// fullPoolDefaults sets every key of a pool to its documented default.
const fullPoolDefaults = `
    balance: least_conn
    send_proxy: off
    timeouts: {connect: 3s, dead_peer: 50s}
    retries: 2
    queue: {max: 1024, timeout: 10s}
    slow_start: 0s
    max_session_age: {age: 0s, jitter: 10%, idle_only: false}
    check: {type: tcp, interval: 2s, fast_interval: 500ms, down_interval: 5s, jitter: 20, timeout: 1s, rise: 2, fall: 3}
    eject: {failures: 5, window: 10s, duration: 30s, max_percent: 50}
    on_down:
      failed: {sessions: close, grace: 10s, rate: 50}
      demoted: {sessions: close, grace: 0s, rate: 0}
      promoted: {sessions: close, grace: 10s, rate: 50}
      lagging: {sessions: keep, grace: 0s, rate: 0}
      maint: {sessions: close, grace: 0s, rate: 50}
      drain: {sessions: keep, grace: 0s, rate: 0}
      removed: {sessions: keep, grace: 0s, rate: 0}
`

func TestParseListener(t *testing.T) {
	f := func(settings string, want l4.ListenerConfig) {
		t.Helper()
		text := "pools: {web: {backends: 10.0.0.1:80}}\nlisteners:\n  l:\n    pool: web\n" + settings
		got, err := parse("good.yaml", []byte(text), testLookup)
		if err != nil {
			t.Errorf("%s:\n%v", settings, err)
			return
		}
		want.Name = "l"
		want.PeekTimeout = cmp.Or(want.PeekTimeout, 5*time.Second)
		want.DeadPeer = cmp.Or(want.DeadPeer, 50*time.Second)
		if !equal(got.Listeners, []Listener{{ListenerConfig: want, Pool: "web"}}) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", settings, got.Listeners[0], want)
		}
	}
	bound := func(addresses ...pool.Address) l4.ListenerConfig {
		return l4.ListenerConfig{Bind: addresses, FinTimeout: 10 * time.Minute}
	}
	f("    bind: :80", bound(everywhere(80)))
	f("    bind: :0", bound(everywhere(0)))
	f("    bind: [:0, :0, 127.0.0.1:0]", bound(everywhere(0), everywhere(0), tcp("127.0.0.1:0")))
	f("    bind: 0.0.0.0:80", bound(tcp("0.0.0.0:80")))
	f(`    bind: ["0.0.0.0:443", "[::]:443"]`, bound(tcp("0.0.0.0:443"), tcp("[::]:443")))
	f(`    bind: ["127.0.0.1:443", "127.0.0.2:443", "[::]:443"]`, bound(tcp("127.0.0.1:443"), tcp("127.0.0.2:443"), tcp("[::]:443")))
	f(`    bind: "[::ffff:10.0.0.1]:443"`, bound(tcp("10.0.0.1:443")))
	f("    bind: unix:/run/x.sock", bound(pool.Address{Unix: "/run/x.sock"}))
	f("    bind:\n    - 10.0.0.1:65535\n    - unix:/a b", bound(tcp("10.0.0.1:65535"), pool.Address{Unix: "/a b"}))
	f("    bind: seven.example:80", bound(tcp("10.0.0.7:80")))
	f("    bind: :80\n    protocol: tcp\n    timeouts: {idle: 1h30m, fin: 0s}",
		l4.ListenerConfig{Bind: []pool.Address{everywhere(80)}, IdleTimeout: 90 * time.Minute})
	f("    bind: :80\n    protocol: postgres\n    timeouts: {peek: 1s, dead_peer: 5s}", l4.ListenerConfig{
		Bind: []pool.Address{everywhere(80)}, FinTimeout: 10 * time.Minute,
		Protocol: l4.ProtocolPostgres, PeekTimeout: time.Second, DeadPeer: 5 * time.Second,
	})
	f("    bind: :80\n    accept_proxy: {from: 10.0.0.0/8}", l4.ListenerConfig{
		Bind: []pool.Address{everywhere(80)}, FinTimeout: 10 * time.Minute,
		AcceptProxy: &l4.AcceptProxy{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Timeout: 5 * time.Second},
	})
	f(`    bind: :80
    accept_proxy:
      timeout: 250ms
      from: [10.1.2.3, "2001:db8::/32", "::1", "::ffff:10.9.9.9", 0.0.0.0/0]`, l4.ListenerConfig{
		Bind: []pool.Address{everywhere(80)}, FinTimeout: 10 * time.Minute,
		AcceptProxy: &l4.AcceptProxy{Timeout: 250 * time.Millisecond, From: []netip.Prefix{
			netip.MustParsePrefix("10.1.2.3/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::1/128"),
			netip.MustParsePrefix("10.9.9.9/32"), netip.MustParsePrefix("0.0.0.0/0"),
		}},
	})
}

func TestParsePool(t *testing.T) {
	f := func(settings string, change func(*Pool)) {
		t.Helper()
		got, err := parse("good.yaml", []byte(minimalText+settings), testLookup)
		if err != nil {
			t.Errorf("%s:\n%v", settings, err)
			return
		}
		want := minimalFile().Pools[0]
		change(&want)
		if !equal(got.Pools, []Pool{want}) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", settings, got.Pools[0], want)
		}
	}
	f("    balance: round_robin", func(p *Pool) { p.Config.Balance = pool.RoundRobin })
	f("    balance: random", func(p *Pool) { p.Config.Balance = pool.Random })
	f("    balance: 'source_hash'", func(p *Pool) { p.Config.Balance = pool.SourceHash })
	f("    balance: \"first\"", func(p *Pool) { p.Config.Balance = pool.First })
	f("    failback: false\n    balance: first", func(p *Pool) { p.Config.Balance, p.Config.NoFailback = pool.First, true })
	f("    failback: true", func(*Pool) {})
	f("    send_proxy: v1", func(p *Pool) { p.SendProxy, p.Health.Probe.ProxyVersion = l4.ProxyV1, 1 })
	f("    send_proxy: v2", func(p *Pool) { p.SendProxy, p.Health.Probe.ProxyVersion = l4.ProxyV2, 2 })
	f("    tlvs: [unique_id, authority]\n    send_proxy: v2", func(p *Pool) { // in whatever order
		p.SendProxy, p.Health.Probe.ProxyVersion, p.TLVs = l4.ProxyV2, 2, []l4.TLV{l4.TLVUniqueID, l4.TLVAuthority}
	})
	f("    send_proxy: v2\n    tlvs: crc32c", func(p *Pool) {
		p.SendProxy, p.Health.Probe.ProxyVersion, p.TLVs = l4.ProxyV2, 2, []l4.TLV{l4.TLVCRC32C}
	})
	f("    source: 10.0.0.250", func(p *Pool) {
		p.Sources = []netip.Addr{netip.MustParseAddr("10.0.0.250")}
		p.Health.Probe.Sources = p.Sources
	})
	f("    source: ['fd00::1', '::ffff:10.0.0.250', 10.0.0.251]", func(p *Pool) {
		p.Sources = []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.0.0.250"), netip.MustParseAddr("10.0.0.251")}
		p.Health.Probe.Sources = p.Sources
	})
	f("    timeouts: {connect: 0s}\n    retries: 0", func(p *Pool) { p.ConnectTimeout, p.Retries = 0, 0 })
	f("    timeouts: {}\n    check: {}\n    eject: {}", func(*Pool) {})
	f("    max_session_age: {age: 1h}", func(p *Pool) { p.MaxAge.Age = time.Hour })
	f("    max_session_age: {idle_only: true, jitter: 0%, age: 1s}", func(p *Pool) {
		p.MaxAge = l4.MaxAge{Age: time.Second, IdleOnly: true}
	})
	f("    rebalance: {}", func(p *Pool) {
		p.Rebalance, p.NoteReady = Rebalance{Skew: 0.1, Rate: 5, Idle: 30 * time.Second}, true
	})
	f("    rebalance: {skew: 0%, rate: 30/m, idle: 1h}\n    balance: random", func(p *Pool) {
		p.Rebalance, p.NoteReady, p.Config.Balance = Rebalance{Rate: 0.5, Idle: time.Hour}, true, pool.Random
	})
	f("    rebalance: {rate: 0/s}\n    balance: first", func(p *Pool) {
		p.Rebalance, p.Config.Balance = Rebalance{Skew: 0.1, Idle: 30 * time.Second}, pool.First
	})
	f("    check: {type: off}", func(p *Pool) { p.Health.Probe.Kind = probe.Off })
	f("    check: {interval: 1s, timeout: 1.5s, rise: 1, fall: 10}", func(p *Pool) {
		p.Health.Interval, p.Health.Timeout, p.Health.Rise, p.Health.Fall = time.Second, 1500*time.Millisecond, 1, 10
	})
	f("    queue: {max: 0, timeout: 0s}\n    slow_start: 30s\n    timeouts: {dead_peer: 0s}", func(p *Pool) {
		p.Config.QueueMax, p.QueueTimeout, p.Config.SlowStart, p.DeadPeer = 0, 0, 30*time.Second, 0
	})
	f("    eject: {failures: 0, window: 1m, duration: 1ms, max_percent: 100}", func(p *Pool) {
		p.Health.Eject = health.EjectConfig{Window: time.Minute, Duration: time.Millisecond, MaxPercent: 100}
	})
}

func TestParseBackends(t *testing.T) {
	f := func(backends string, want ...pool.BackendConfig) {
		t.Helper()
		text := "listeners: {l: {bind: :80, pool: p}}\npools:\n  p:\n    backends: " + backends
		got, err := parse("good.yaml", []byte(text), testLookup)
		if err != nil {
			t.Errorf("%s:\n%v", backends, err)
			return
		}
		if !equal(got.Pools[0].Config.Backends, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", backends, got.Pools[0].Config.Backends, want)
		}
	}
	backend := func(name, address string) pool.BackendConfig {
		return pool.BackendConfig{Name: name, Address: tcp(address), Weight: 1}
	}
	f("10.0.0.1:80", backend("10.0.0.1:80", "10.0.0.1:80"))
	f("{address: 10.0.0.1:80}", backend("10.0.0.1:80", "10.0.0.1:80"))
	f(`["[2001:db8::1]:80"]`, backend("[2001:db8::1]:80", "[2001:db8::1]:80"))
	f("\n      - 10.0.0.1:80\n      - {name: b, address: 10.0.0.1:80}\n      - address: 10.0.0.1:80\n        name: c",
		backend("10.0.0.1:80", "10.0.0.1:80"), backend("b", "10.0.0.1:80"), backend("c", "10.0.0.1:80"))
	f("unix:/run/app.sock", pool.BackendConfig{Name: "unix:/run/app.sock", Address: pool.Address{Unix: "/run/app.sock"}, Weight: 1})
	f("[{address: 10.0.0.1:80, name: a-1_b.c:d, weight: 256, max_conns: 200, backup: true, state: maint}]",
		pool.BackendConfig{Name: "a-1_b.c:d", Address: tcp("10.0.0.1:80"), Weight: 256, MaxConns: 200, Backup: true, State: pool.Maint})
	f("[{address: 10.0.0.1:80, weight: 0, backup: false, state: drain}, {address: 10.0.0.2:80, weight: 0, state: ready}]",
		pool.BackendConfig{Name: "10.0.0.1:80", Address: tcp("10.0.0.1:80"), State: pool.Drain},
		pool.BackendConfig{Name: "10.0.0.2:80", Address: tcp("10.0.0.2:80")})
}
