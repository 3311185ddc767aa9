package configs

import (
	"log/slog"
	"math"
	"time"

	"sluice/health"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/l4/route"
	"sluice/pool"
)

// The tables of this file are the schema: every documented key is in one of them.

// maxLoops is beyond any machine; a slip such as 10000 must not start ten thousand threads.
const maxLoops = 1024

var fileFields = fields[File]{
	number("loops", 0, maxLoops, func(f *File) *int { return &f.Loops }),
	section("admin", adminFields, func(f *File) *Admin { return &f.Admin }),
	section("log", logFields, func(f *File) *Log { return &f.Log }),
	section("shutdown", shutdownFields, func(f *File) *Shutdown { return &f.Shutdown }),
	section("upgrade", upgradeFields, func(f *File) *Upgrade { return &f.Upgrade }),
	{key: "defaults", read: readDefaults, sub: defaultsFields},
	{key: "listeners", read: readListeners, sub: listenerFields, example: `listeners: {web: {bind: ":8080", pool: web}}`},
	{key: "pools", read: readPools, sub: poolFields, example: "pools: {web: {backends: [10.0.0.1:80]}}"},
}

var adminFields = fields[Admin]{
	{
		key: "listen", read: readAdminListen, sub: adminListenFields,
		shape: shape{"anyOf": []shape{textShape, objectOf(adminListenFields)}},
	},
	{key: "metrics", read: readAdminMetrics, shape: textShape},
	{key: "hosts", read: readAdminHosts, shape: listOf(textShape)},
	{
		key: "socket", read: readAdminSocket, sub: adminSocketFields,
		shape: shape{"anyOf": []shape{textShape, objectOf(adminSocketFields)}},
	},
	textField("state_file", "the absolute path of a file, or \"\" for none", func(a *Admin) *string { return &a.StateFile },
		checkStateFile),
}

var adminListenFields = fields[Admin]{
	{key: "address", read: readAdminAddress},
	{key: "allow", read: readAdminAllow, shape: listOf(textShape)},
}

var adminSocketFields = append(fields[Admin]{{key: "path", read: readAdminSocketPath}},
	socketFileFields(func(a *Admin) *l4.SocketFile { return &a.SocketFile })...)

var listenerSocketFields = socketFileFields(func(f *l4.SocketFile) *l4.SocketFile { return f })

var logFields = fields[Log]{
	word("level", []string{"debug", "info", "warn", "error"}, unmarshal, func(l *Log) *slog.Level { return &l.Level }),
	word("format", []string{"text", "json"}, assign, func(l *Log) *LogFormat { return &l.Format }),
	word("sessions", []string{"off", "failed", "all"}, assign, func(l *Log) *SessionLog { return &l.Sessions }),
}

var shutdownFields = fields[Shutdown]{
	duration("delay", 0, func(s *Shutdown) *time.Duration { return &s.Delay }),
	duration("drain", 0, func(s *Shutdown) *time.Duration { return &s.Drain }),
}

var upgradeFields = fields[Upgrade]{
	duration("deadline", 0, func(u *Upgrade) *time.Duration { return &u.Deadline }),
	word("leftover", []string{"end", "drain"}, assign, func(u *Upgrade) *Leftover { return &u.Leftover }),
}

var listenerFields = noteKeys(fields[listenerDraft]{
	{key: "bind", read: readBind, example: `bind: ":8080"`},
	boolean("freebind", func(l *listenerDraft) *bool { return &l.Freebind }),
	{key: "socket", read: readListenerSocket, sub: listenerSocketFields},
	word("protocol", l4.Protocols(), unmarshal, func(l *listenerDraft) *l4.Protocol { return &l.Protocol }),
	{key: "routes", read: readRoutes, sub: routeFields},
	{key: "pool", read: readDefaultPool, example: "pool: web", unless: "routes"},
	{key: "accept_proxy", read: readAcceptProxy, sub: acceptProxyFields},
	{key: "allow", read: readAllow, sub: networkFileFields},
	{key: "deny", read: readDeny, sub: networkFileFields},
	number("max_sessions", 0, noLimit, func(l *listenerDraft) *int { return &l.MaxSessions }),
	{key: "per_client", read: readPerClient, sub: perClientFields},
	section("timeouts", listenerTimeouts, func(l *listenerDraft) *Listener { return &l.Listener }),
})

var routeFields = noteKeys(fields[routeDraft]{
	condition("sni", `a server name, for example shop.example.com or "*.example.com"`, checkSNI,
		func(r *route.Rule) *[]string { return &r.SNI }),
	condition("alpn", "a protocol as ALPN has it, for example h2 or http/1.1", checkALPN,
		func(r *route.Rule) *[]string { return &r.ALPN }),
	condition("database", "the name of a database", nil, func(r *route.Rule) *[]string { return &r.Database }),
	condition("user", "the name of a user", nil, func(r *route.Rule) *[]string { return &r.User }),
	{key: "pool", read: readRoutePool, example: "pool: web"},
})

var networkFileFields = fields[string]{
	textField("file", "the path of a file with a network on each line", func(path *string) *string { return path },
		checkNoEmptyPath),
}

var perClientFields = noteKeys(fields[perClientDraft]{
	number("sessions", 0, noLimit, func(p *perClientDraft) *int { return &p.Sessions }),
	{key: "rate", read: readRate},
	number("burst", 1, noLimit, func(p *perClientDraft) *int { return &p.Burst }),
	number("ipv6_prefix", 1, 128, func(p *perClientDraft) *int { return &p.IPv6Prefix }),
})

var listenerTimeouts = fields[Listener]{
	duration("idle", 0, func(l *Listener) *time.Duration { return &l.IdleTimeout }),
	duration("fin", 0, func(l *Listener) *time.Duration { return &l.FinTimeout }),
	duration("peek", 0, func(l *Listener) *time.Duration { return &l.PeekTimeout }),
	deadPeer(func(l *Listener) *time.Duration { return &l.DeadPeer }),
}

var acceptProxyFields = fields[l4.AcceptProxy]{
	{key: "from", read: readFrom, example: "from: [10.0.0.0/8]"},
	duration("timeout", time.Millisecond, func(a *l4.AcceptProxy) *time.Duration { return &a.Timeout }),
}

var poolFields = noteKeys(fields[poolDraft]{
	word("balance", pool.Policies(), unmarshal, func(p *poolDraft) *pool.Policy { return &p.Config.Balance }),
	boolean("failback", func(p *poolDraft) *bool { return &p.failback }),
	word("send_proxy", l4.ProxyVersions(), unmarshal, func(p *poolDraft) *l4.ProxyVersion { return &p.SendProxy }),
	{key: "tlvs", read: readTLVs},
	{key: "source", read: readPoolSources, shape: listOf(textShape)},
	section("timeouts", poolTimeouts, func(p *poolDraft) *Pool { return &p.Pool }),
	number("retries", 0, noLimit, func(p *poolDraft) *int { return &p.Retries }),
	section("queue", queueFields, func(p *poolDraft) *Pool { return &p.Pool }),
	duration("slow_start", 0, func(p *poolDraft) *time.Duration { return &p.Config.SlowStart }),
	{key: "max_session_age", read: readMaxAge, sub: maxAgeFields},
	{key: "rebalance", read: readRebalance, sub: rebalanceFields},
	{key: "check", read: readCheck, sub: checkFields},
	section("eject", ejectFields, func(p *poolDraft) *health.EjectConfig { return &p.check.Eject }),
	section("on_down", onDownFields, func(p *poolDraft) *onDown { return &p.onDown }),
	word("on_empty", []string{"auto", "keep", "empty"}, assign, func(p *poolDraft) *OnEmpty { return &p.OnEmpty }),
	duration("remove_after", 0, func(p *poolDraft) *time.Duration { return &p.RemoveAfter }),
	section("template", templateFields, func(p *poolDraft) *pool.BackendConfig { return &p.template }),
	{key: "discover", read: readDiscover, sub: discoverFields, shape: listOf(objectOf(discoverFields))},
	{key: "backends", read: readBackends, sub: backendFields, example: "backends: [10.0.0.1:80]", unless: "discover"},
})

var poolTimeouts = fields[Pool]{
	duration("connect", 0, func(p *Pool) *time.Duration { return &p.ConnectTimeout }),
	duration("answer", 0, func(p *Pool) *time.Duration { return &p.AnswerTimeout }),
	deadPeer(func(p *Pool) *time.Duration { return &p.DeadPeer }),
}

var queueFields = fields[Pool]{
	number("max", 0, noLimit, func(p *Pool) *int { return &p.Config.QueueMax }),
	duration("timeout", 0, func(p *Pool) *time.Duration { return &p.QueueTimeout }),
}

var checkFields = noteKeys(fields[check]{
	word("type", probe.Kinds(), unmarshal, func(c *check) *probe.Kind { return &c.Probe.Kind }),
	duration("interval", time.Millisecond, func(c *check) *time.Duration { return &c.Interval }),
	duration("fast_interval", time.Millisecond, func(c *check) *time.Duration { return &c.FastInterval }),
	duration("down_interval", time.Millisecond, func(c *check) *time.Duration { return &c.DownInterval }),
	number("jitter", 0, 100, func(c *check) *int { return &c.jitter }),
	duration("timeout", time.Millisecond, func(c *check) *time.Duration { return &c.Timeout }),
	number("rise", 1, noLimit, func(c *check) *int { return &c.Rise }),
	number("fall", 1, noLimit, func(c *check) *int { return &c.Fall }),
	number("port", 1, math.MaxUint16, func(c *check) *int { return &c.port }),
	{key: "address", read: readCheckAddress},
	boolean("send_proxy", func(c *check) *bool { return &c.sendProxy }),
	textField("server_name", "the name in the server's certificate", func(c *check) *string { return &c.Probe.TLS.ServerName },
		checkServerName),
	textField("ca_file", "the path of a PEM file", func(c *check) *string { return &c.caFile }),
	textField("cert", "the path of a PEM file with a client's certificate", func(c *check) *string { return &c.certFile }),
	textField("key", "the path of a PEM file with the key of cert", func(c *check) *string { return &c.keyFile }),
	{key: "method", read: readMethod},
	{key: "path", read: readHTTPPath},
	textField("host", "the name of the site to ask for", func(c *check) *string { return &c.Probe.HTTP.Host },
		checkHostHeader),
	{key: "headers", read: readHeaders},
	{key: "status", read: readStatus},
	{key: "body", read: readBody},
	boolean("tls", func(c *check) *bool { return &c.Probe.InTLS }),
	{key: "steps", read: readSteps, sub: stepFields},
	word("role", health.Roles(), unmarshal, func(c *check) *health.Role { return &c.Role }),
	textField("user", "the name of a role that may log in", func(c *check) *string { return &c.Probe.Postgres.User },
		checkNotEmpty),
	textField("password_file", "the path of a file with the password", func(c *check) *string { return &c.passwordFile }),
	{key: "password", instead: "has no place here: write it into a file of its own, and password_file: PATH in its stead"},
	textField("database", "the name of a database", func(c *check) *string { return &c.Probe.Postgres.Database },
		checkNotEmpty),
	word("sslmode", sslModes, assign, func(c *check) *string { return &c.Probe.Postgres.SSLMode }),
	duration("max_lag", 0, func(c *check) *time.Duration { return &c.MaxLag }),
})

// sslModes are libpq's.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

var ejectFields = fields[health.EjectConfig]{
	number("failures", 0, noLimit, func(e *health.EjectConfig) *int { return &e.Failures }),
	duration("window", time.Millisecond, func(e *health.EjectConfig) *time.Duration { return &e.Window }),
	duration("duration", time.Millisecond, func(e *health.EjectConfig) *time.Duration { return &e.Duration }),
	number("max_percent", 0, 100, func(e *health.EjectConfig) *int { return &e.MaxPercent }),
}

var backendFields = noteKeys(append(fields[backendDraft]{
	{key: "address", read: readBackendAddress, example: "address: 10.0.0.1:80"},
	{key: "name", read: readBackendName},
}, backendSettings(func(b *backendDraft) *pool.BackendConfig { return b.BackendConfig })...))

var templateFields = backendSettings(func(b *pool.BackendConfig) *pool.BackendConfig { return b })

// backendSettings is what can be said of a backend whose address somebody else knows.
func backendSettings[T any](at func(*T) *pool.BackendConfig) fields[T] {
	return fields[T]{
		number("weight", 0, pool.MaxWeight, func(b *T) *int { return &at(b).Weight }),
		number("max_conns", 0, noLimit, func(b *T) *int { return &at(b).MaxConns }),
		boolean("backup", func(b *T) *bool { return &at(b).Backup }),
		word("state", pool.AdminStates(), unmarshal, func(b *T) *pool.AdminState { return &at(b).State }),
	}
}
