package configs

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"sluice/health"
	"sluice/health/probe"
	"sluice/pool"
)

// A check is what the keys of a pool's check say, before they are held against each other and against the pool. The
// keys may come in any order.
type check struct {
	health.Config
	keyNotes
	at place // of the check; of its pool when it has none

	address      *pool.Address // nil: the backend's; complete when host names are resolved
	jitter       int           // percent
	port         int
	sendProxy    bool
	caFile       string
	certFile     string
	keyFile      string
	passwordFile string
}

func newCheck(at place) *check {
	c := &check{Config: health.DefaultConfig(), at: at}
	c.jitter = int(c.Jitter * 100)
	c.Probe.HTTP = probe.HTTPConfig{Method: "GET", Path: "/"}
	c.Probe.Postgres = probe.PostgresConfig{Database: "postgres", SSLMode: "prefer"}
	return c
}

func readCheck(d *decoder, v value, to *poolDraft) {
	to.check.at = v.at
	if n, ok := v.node.(*ast.StringNode); ok && slices.Contains(probe.Kinds(), n.Value) {
		d.reportAt(v, "check must be a mapping: write check: {type: %s}", n.Value)
		return
	}
	checkFields.decode(d, v, to.check)
}

// speakTLS are the types of check that speak TLS, or can.
var speakTLS = []probe.Kind{probe.TLS, probe.HTTP, probe.Postgres, probe.MySQL, probe.Expect}

// askDatabases are the types of check that log in.
var askDatabases = []probe.Kind{probe.Postgres, probe.MySQL}

// checkOwners are the types of check that a key belongs to. Keys that are not listed belong to every type.
var checkOwners = map[string][]probe.Kind{
	"server_name": speakTLS, "ca_file": speakTLS, "cert": speakTLS, "key": speakTLS,
	"method": {probe.HTTP}, "path": {probe.HTTP}, "host": {probe.HTTP}, "status": {probe.HTTP}, "body": {probe.HTTP},
	"headers": {probe.HTTP}, "tls": {probe.HTTP, probe.Expect}, "steps": {probe.Expect},
	"role": askDatabases, "user": askDatabases, "password_file": askDatabases, "database": {probe.Postgres},
	"sslmode": askDatabases, "max_lag": askDatabases,
}

// finish holds what the check says against itself and the pool, and completes it. A check that is off may keep its
// other keys, so that one word switches it off and on.
func (c *check) finish(d *decoder, p *Pool) {
	if c.Probe.Kind != probe.Off {
		c.finishIntervals(d)
		c.finishTarget(d, p)
	}
	if !c.bad["type"] && c.Probe.Kind != probe.Off {
		c.checkOwners(d)
		c.finishType(d)
	}
	c.Jitter = float64(c.jitter) / 100
	c.trim()
}

// checkOwners reports keys that the type of the check does not use, unless they are from defaults.
func (c *check) checkOwners(d *decoder) {
	for _, key := range slices.Sorted(maps.Keys(c.given)) {
		if owners := checkOwners[key]; owners != nil && !slices.Contains(owners, c.Probe.Kind) && !c.given[key].inherited {
			d.report(c.given[key].at, "%s belongs to a check of type %s, this one is of type %v: remove it, or change the type",
				key, orList(owners), c.Probe.Kind)
		}
	}
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
	if c.bad["interval"] {
		return
	}
	if _, ok := c.given["fast_interval"]; !ok {
		c.FastInterval = min(c.FastInterval, c.Interval)
	} else if v, ok := c.has("fast_interval"); ok && c.FastInterval > c.Interval {
		d.reportAt(v, "fast_interval %v is longer than interval %v: write at most that", c.FastInterval, c.Interval)
	}
	if _, ok := c.given["down_interval"]; !ok {
		c.DownInterval = max(c.DownInterval, c.Interval)
	} else if v, ok := c.has("down_interval"); ok && c.DownInterval < c.Interval {
		d.reportAt(v, "down_interval %v is shorter than interval %v: write at least that", c.DownInterval, c.Interval)
	}
}

// trim takes out what the type of the check does not use, so that equal checks are equal.
func (c *check) trim() {
	if c.Probe.Kind != probe.HTTP {
		c.Probe.HTTP = probe.HTTPConfig{}
	}
	if c.Probe.Kind != probe.HTTP && c.Probe.Kind != probe.Expect {
		c.Probe.InTLS = false
	}
	if c.Probe.Kind == probe.MySQL {
		login := c.Probe.Postgres // whose keys are the same
		c.Probe.MySQL = probe.MySQLConfig{
			User: login.User, PasswordFile: login.PasswordFile, SSLMode: login.SSLMode,
			Replication: c.Role != health.RoleAny || c.MaxLag > 0,
		}
	}
	if c.Probe.Kind != probe.Postgres {
		c.Probe.Postgres = probe.PostgresConfig{}
	}
}
