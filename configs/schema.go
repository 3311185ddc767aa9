package configs

import (
	"log/slog"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/pool"
)

// The tables of this file are the schema: every documented key is in one of them. A key without a reader is refused as
// "not supported yet"; to support it, give it one.

// maxLoops is beyond any machine; a slip such as 10000 must not start ten thousand threads.
const maxLoops = 1024

var fileFields = fields[File]{
	number("loops", 0, maxLoops, func(f *File) *int { return &f.Loops }),
	section("admin", adminFields, func(f *File) *Admin { return &f.Admin }),
	section("log", logFields, func(f *File) *Log { return &f.Log }),
	{key: "listeners", read: readListeners, sub: listenerFields, example: `listeners: {web: {bind: ":8080", pool: web}}`},
	{key: "pools", read: readPools, sub: poolFields, example: "pools: {web: {backends: [10.0.0.1:80]}}"},
}

var adminFields = fields[Admin]{
	{key: "listen", read: readAdminListen},
	{key: "socket", read: readAdminSocket},
}

var logFields = fields[Log]{
	word("level", []string{"debug", "info", "warn", "error"}, unmarshal, func(l *Log) *slog.Level { return &l.Level }),
	word("format", []string{"text", "json"}, assign, func(l *Log) *LogFormat { return &l.Format }),
	word("sessions", []string{"off", "failed", "all"}, assign, func(l *Log) *SessionLog { return &l.Sessions }),
}

var listenerFields = fields[Listener]{
	{key: "bind", read: readBind, example: `bind: ":8080"`},
	{key: "protocol", read: readProtocol},
	{key: "pool", read: readPoolRef, example: "pool: web"},
	{key: "accept_proxy", read: readAcceptProxy, sub: acceptProxyFields},
	section("timeouts", listenerTimeouts, func(l *Listener) *Listener { return l }),
	{key: "routes"},
	{key: "allow"},
	{key: "deny"},
	{key: "max_sessions"},
	{key: "per_client"},
}

var listenerTimeouts = fields[Listener]{
	duration("idle", 0, func(l *Listener) *time.Duration { return &l.IdleTimeout }),
	duration("fin", 0, func(l *Listener) *time.Duration { return &l.FinTimeout }),
	{key: "peek"},
}

var acceptProxyFields = fields[l4.AcceptProxy]{
	{key: "from", read: readFrom, example: "from: [10.0.0.0/8]"},
	duration("timeout", time.Millisecond, func(a *l4.AcceptProxy) *time.Duration { return &a.Timeout }),
}

// laterProtocols are the documented values of protocol that are not supported yet.
var laterProtocols = []string{"tls", "postgres"}

var poolFields = fields[Pool]{
	word("balance", pool.Policies(), unmarshal, func(p *Pool) *pool.Policy { return &p.Config.Balance }),
	word("send_proxy", l4.ProxyVersions(), unmarshal, func(p *Pool) *l4.ProxyVersion { return &p.SendProxy }),
	section("timeouts", poolTimeouts, func(p *Pool) *Pool { return p }),
	number("retries", 0, noLimit, func(p *Pool) *int { return &p.Retries }),
	section("check", checkFields, func(p *Pool) *health.Config { return &p.Health }),
	section("eject", ejectFields, func(p *Pool) *health.EjectConfig { return &p.Health.Eject }),
	{key: "backends", read: readBackends, sub: backendFields, example: "backends: [10.0.0.1:80]"},
	{key: "queue"},
	{key: "slow_start"},
	{key: "on_down"},
}

var poolTimeouts = fields[Pool]{
	duration("connect", 0, func(p *Pool) *time.Duration { return &p.ConnectTimeout }),
}

var checkFields = fields[health.Config]{
	word("type", health.Kinds(), unmarshal, func(c *health.Config) *health.Kind { return &c.Type },
		"tls", "http", "postgres", "expect"),
	duration("interval", time.Millisecond, func(c *health.Config) *time.Duration { return &c.Interval }),
	duration("timeout", time.Millisecond, func(c *health.Config) *time.Duration { return &c.Timeout }),
	number("rise", 1, noLimit, func(c *health.Config) *int { return &c.Rise }),
	number("fall", 1, noLimit, func(c *health.Config) *int { return &c.Fall }),
	{key: "role"},
	{key: "user"},
	{key: "password_file"},
	{key: "database"},
	{key: "sslmode"},
	{key: "max_lag"},
}

var ejectFields = fields[health.EjectConfig]{
	number("failures", 0, noLimit, func(e *health.EjectConfig) *int { return &e.Failures }),
	duration("window", time.Millisecond, func(e *health.EjectConfig) *time.Duration { return &e.Window }),
	duration("duration", time.Millisecond, func(e *health.EjectConfig) *time.Duration { return &e.Duration }),
	number("max_percent", 0, 100, func(e *health.EjectConfig) *int { return &e.MaxPercent }),
}

var backendFields = fields[pool.BackendConfig]{
	{key: "address", read: readBackendAddress, example: "address: 10.0.0.1:80"},
	{key: "name", read: readBackendName},
	number("weight", 0, pool.MaxWeight, func(b *pool.BackendConfig) *int { return &b.Weight }),
	number("max_conns", 0, noLimit, func(b *pool.BackendConfig) *int { return &b.MaxConns }),
	boolean("backup", func(b *pool.BackendConfig) *bool { return &b.Backup }),
	word("state", pool.AdminStates(), unmarshal, func(b *pool.BackendConfig) *pool.AdminState { return &b.State }),
}
