package configs

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/health"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/pool"
)

// A check is what the keys of a pool's check say, before they are held against each other and against the pool. The
// keys may come in any order.
type check struct {
	health.Config
	at    place            // of the check
	given map[string]value // the keys that are there

	address      *pool.Address // nil: the backend's; complete when host names are resolved
	jitter       int           // percent
	port         int
	sendProxy    bool
	caFile       string
	passwordFile string
}

func newCheck() *check {
	c := &check{Config: health.DefaultConfig(), given: make(map[string]value)}
	c.jitter = int(c.Jitter * 100)
	c.Probe.HTTP = probe.HTTPConfig{Method: "GET", Path: "/"}
	c.Probe.Postgres = probe.PostgresConfig{Database: "postgres", SSLMode: "prefer"}
	return c
}

// noteKeys makes a table note which of its keys are there.
func noteKeys(fs fields[check]) fields[check] {
	for i, f := range fs {
		fs[i].read = func(d *decoder, v value, to *check) {
			to.given[f.key] = v
			f.read(d, v, to)
		}
	}
	return fs
}

func readCheck(d *decoder, v value, to *poolDraft) {
	to.check.at = v.at
	checkFields.decode(d, v, to.check)
}

// checkOwners are the types of check that a key belongs to. Keys that are not listed belong to every type.
var checkOwners = map[string][]probe.Kind{
	"server_name": {probe.TLS, probe.HTTP, probe.Postgres}, "ca_file": {probe.TLS, probe.HTTP, probe.Postgres},
	"method": {probe.HTTP}, "path": {probe.HTTP}, "host": {probe.HTTP}, "status": {probe.HTTP}, "body": {probe.HTTP},
	"tls": {probe.HTTP}, "steps": {probe.Expect},
	"role": {probe.Postgres}, "user": {probe.Postgres}, "password_file": {probe.Postgres}, "database": {probe.Postgres},
	"sslmode": {probe.Postgres}, "max_lag": {probe.Postgres},
}

// finish holds what the check says against itself and the pool, and completes it.
func (c *check) finish(d *decoder, p *Pool) {
	for _, key := range slices.Sorted(maps.Keys(c.given)) {
		if owners := checkOwners[key]; owners != nil && !slices.Contains(owners, c.Probe.Kind) {
			d.report(c.given[key].at, "%s belongs to a check of type %s, this one is of type %v: remove it, or change the type",
				key, orList(owners), c.Probe.Kind)
		}
	}
	c.finishIntervals(d)
	c.finishTarget(d, p)
	c.finishTLS(d)
	switch c.Probe.Kind {
	case probe.Postgres:
		c.finishPostgres(d)
	case probe.Expect:
		if _, ok := c.given["steps"]; !ok {
			d.report(c.at, `a check of type expect has no steps: add some, for example steps: [{send: "PING\r\n", expect: "+PONG"}]`)
		}
	}
	c.Jitter = float64(c.jitter) / 100
	c.trim()
}

// orList writes "tls, http or postgres".
func orList(kinds []probe.Kind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = k.String()
	}
	if last := len(words) - 1; last > 0 {
		return strings.Join(words[:last], ", ") + " or " + words[last]
	}
	return words[0]
}

// finishIntervals relates the shorter and the longer interval to the one in between.
func (c *check) finishIntervals(d *decoder) {
	if v, ok := c.given["fast_interval"]; !ok {
		c.FastInterval = min(c.FastInterval, c.Interval)
	} else if c.FastInterval > c.Interval {
		d.reportAt(v, "fast_interval %v is longer than interval %v: write at most that", c.FastInterval, c.Interval)
	}
	if v, ok := c.given["down_interval"]; !ok {
		c.DownInterval = max(c.DownInterval, c.Interval)
	} else if c.DownInterval < c.Interval {
		d.reportAt(v, "down_interval %v is shorter than interval %v: write at least that", c.DownInterval, c.Interval)
	}
}

// finishTarget says whom to ask, and whether the PROXY header goes first: as for sessions, unless somebody else is asked.
func (c *check) finishTarget(d *decoder, p *Pool) {
	c.Probe.Port = uint16(c.port)
	_, elsewhere := c.given["address"]
	port, otherPort := c.given["port"]
	if otherPort && !elsewhere && slices.ContainsFunc(p.Config.Backends, isUnix) {
		d.reportAt(port, "port is of no use for a backend on a Unix socket: write the address to ask as well")
	}
	send, given := c.given["send_proxy"]
	switch {
	case given && c.sendProxy && p.SendProxy == l4.ProxyOff:
		d.reportAt(send, "send_proxy is true, and the pool sends no PROXY header: set the pool's send_proxy to v1 or v2")
	case given && c.sendProxy, !given && !elsewhere && !otherPort:
		c.Probe.ProxyVersion = uint8(p.SendProxy)
	}
}

func isUnix(b pool.BackendConfig) bool { return b.Address.IsUnix() }

// finishTLS reads the certificates to trust.
func (c *check) finishTLS(d *decoder) {
	v, ok := c.given["ca_file"]
	if !ok || c.caFile == "" {
		return
	}
	c.Probe.TLS.CAFile = d.path(c.caFile)
	roots, err := readCertificates(c.Probe.TLS.CAFile)
	if err != nil {
		d.reportAt(v, "ca_file: %v", err)
		return
	}
	c.Probe.TLS.CA = roots
}

// finishPostgres checks how the check logs in and what it wants to hear.
func (c *check) finishPostgres(d *decoder) {
	if _, ok := c.given["user"]; !ok {
		d.report(c.at, "a check of type postgres has no user: add one that may log in, for example user: sluice")
	}
	mode := c.Probe.Postgres.SSLMode
	if _, ok := c.given["ca_file"]; !ok && strings.HasPrefix(mode, "verify-") {
		d.reportAt(c.given["sslmode"], "sslmode %s needs the certificates to trust: add ca_file", mode)
	}
	if v, ok := c.given["max_lag"]; ok && c.Role == health.RolePrimary {
		d.reportAt(v, "max_lag says nothing of a primary: remove it, or write it where role is replica")
	}
	if v, ok := c.given["password_file"]; ok && c.passwordFile != "" {
		password, err := readPassword(d.path(c.passwordFile))
		if err != nil {
			d.reportAt(v, "password_file: %v", err)
		}
		c.Probe.Postgres.Password = password
	}
}

// trim takes out what the type of the check does not use, so that equal checks are equal.
func (c *check) trim() {
	if c.Probe.Kind != probe.HTTP {
		c.Probe.HTTP = probe.HTTPConfig{}
	}
	if c.Probe.Kind != probe.Postgres {
		c.Probe.Postgres = probe.PostgresConfig{}
	}
}

// readCheckAddress reads a host with or without a port; without one the backend's port counts.
func readCheckAddress(d *decoder, v value, to *check) {
	const want = "the address to ask in place of the backend's, HOST or HOST:PORT"
	text, ok := d.string(v, want)
	if !ok {
		return
	}
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && ip.Zone() == "" {
		to.address = &pool.Address{TCP: netip.AddrPortFrom(ip.Unmap(), 0)}
		return
	}
	if !strings.ContainsAny(text, ":/") && text != "" {
		if err := checkHostName(text); err != nil {
			d.reportAt(v, "%v", err)
			return
		}
		to.address = new(pool.Address)
		d.hosts = append(d.hosts, hostName{at: d.place(v.node), host: text, to: to.address})
		return
	}
	to.address = new(pool.Address)
	d.address(d.place(v.node), text, addressRules{}, to.address)
}

// leastDeadPeer is what keepalives, which count in seconds, can keep.
const leastDeadPeer = 5 * time.Second

// deadPeer is a field with the time after which a peer that answers nothing is given up; 0 = never.
func deadPeer[T any](at func(*T) *time.Duration) field[T] {
	f := duration("dead_peer", 0, at)
	read := f.read
	f.read = func(d *decoder, v value, to *T) {
		read(d, v, to)
		if t := *at(to); t != 0 && t < leastDeadPeer {
			d.reportAt(v, "dead_peer is too short: write at least %v, or 0s for none", leastDeadPeer)
		}
	}
	return f
}
