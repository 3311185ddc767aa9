package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A cluster is a primary and two replicas that stream from it, all with TLS.
type cluster struct {
	t        *testing.T
	members  []*member // pg1 is the primary at first
	password string    // path of a file with the password of the user "sluice", which has no rights

	checkTimeout time.Duration // of sluice's probes
}

const (
	checkPassword = "correct horse battery staple"

	clusterSettings = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
dynamic_shared_memory_type = mmap # nothing is left in /dev/shm by a server that is killed
max_connections = 200
shared_buffers = 16MB
fsync = off
autovacuum = off
wal_keep_size = 1GB       # no replica ever misses anything
wal_log_hints = on        # for pg_rewind
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
log_connections = on
log_disconnections = on
log_error_verbosity = terse
log_line_prefix = '%m [%p] user=%u client=%r '
`
	// clusterAccess lets only the user "sluice" in with a password, as anybody may who is to check nothing but the state.
	clusterAccess = `
host all         sluice   127.0.0.1/32 scram-sha-256
host all         postgres 127.0.0.1/32 trust
host replication postgres 127.0.0.1/32 trust
`
)

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, password: filepath.Join(tempDir(t), "password"), checkTimeout: patient}
	if err := os.WriteFile(c.password, []byte(checkPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pg1", "pg2", "pg3"} {
		m := newMember(t, name)
		if primary := c.members; len(primary) > 0 {
			m.copyOf(primary[0])
		} else {
			initPrimary(t, m)
		}
		m.start()
		if len(c.members) == 0 {
			m.query("create role sluice login password '" + checkPassword + "'")
		}
		c.members = append(c.members, m)
	}
	until(t, "both replicas stream", func() error {
		if n := c.members[0].query("select count(*) from pg_stat_replication where state = 'streaming'"); n != "2" {
			return fmt.Errorf("%s do", n)
		}
		return nil
	})
	return c
}

func initPrimary(t *testing.T, m *member) {
	t.Helper()
	output(t, m.program("initdb", "--pgdata", m.data, "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--no-locale", "--no-sync"))
	cert := newCertificate(t, "postgres.example.com")
	m.write("server.crt", readFile(t, cert.file))
	m.write("server.key", readFile(t, cert.key))
	m.write("postgresql.conf", clusterSettings)
	m.write("pg_hba.conf", clusterAccess)
}

// member returns the server of that name.
func (c *cluster) member(name string) *member {
	c.t.Helper()
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == name })
	if i < 0 {
		c.t.Fatalf("the cluster has no member %q", name)
	}
	return c.members[i]
}

// others returns the servers but one.
func (c *cluster) others(one *member) []*member {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m == one })
}

// clusterConfig is a place to write and a place to read. CHECK is the check's user, and MEMBERS are the servers.
const clusterConfig = `
listeners:
  rw: {bind: "127.0.0.1:0", protocol: postgres, pool: primary}
  ro: {bind: "127.0.0.1:0", protocol: postgres, pool: replicas}
pools:
  primary:
    queue: {max: 1024, timeout: 3m}
    check: {type: postgres, role: primary, CHECK}
    backends: [MEMBERS]
  replicas:
    check: {type: postgres, role: replica, max_lag: 2s, CHECK}
    backends: [MEMBERS]
`

// config fills in what a configuration says of this cluster.
func (c *cluster) config(text string) string {
	var backends []string
	for _, m := range c.members {
		backends = append(backends, fmt.Sprintf("{name: %s, address: %q}", m.name, m.address()))
	}
	return strings.NewReplacer(
		"MEMBERS", strings.Join(backends, ", "),
		"CHECK", fmt.Sprintf("user: sluice, password_file: %q, database: postgres, sslmode: prefer, "+
			"interval: 1s, timeout: %v", c.password, c.checkTimeout),
	).Replace(text)
}

// startSluice runs sluice in front of the cluster, and waits until it knows who is who.
func (c *cluster) startSluice() *rig {
	c.t.Helper()
	r := startSluice(c.t, c.config(clusterConfig))
	r.untilMembers("primary", "pg1")
	r.untilMembers("replicas", "pg2", "pg3")
	return r
}

// usable returns the backends of a pool that may be given sessions.
func (r *rig) usable(pool string) (names []string) {
	r.t.Helper()
	for _, p := range r.status().Pools {
		for _, b := range p.Backends {
			if p.Name == pool && b.Usable {
				names = append(names, b.Name)
			}
		}
	}
	return names
}

// untilMembers waits until exactly these backends of a pool may be given sessions.
func (r *rig) untilMembers(pool string, want ...string) {
	r.t.Helper()
	slices.Sort(want)
	until(r.t, fmt.Sprintf("pool %s is %v", pool, want), func() error {
		if got := r.usable(pool); !slices.Equal(got, want) {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}

// untilRoles waits until the status says what each member is.
func (r *rig) untilRoles(pool string, want map[string]string) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("the roles are %v", want), func() error {
		got := make(map[string]string)
		for _, p := range r.status().Pools {
			for _, b := range p.Backends {
				if p.Name == pool {
					got[b.Name] = b.Check.Role
				}
			}
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
}

// Reading is spread over the replicas and nowhere else, writing reaches the primary and nobody else. The servers' own
// logs say so.
func TestClusterSpread(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	r := c.startSluice()
	primary := c.members[0]
	output(t, pgCommand(t, r.address("rw"), "pgbench", "-i", "-q"))
	c.untilReplayed(primary)

	const clients = 16
	before := c.logins("pgbench")
	read := startPgbench(t, r.address("ro"), "-S", "-c", fmt.Sprint(clients), "-T", "3")
	read.finish(t)
	reads := c.logins("pgbench")
	for name, n := range before {
		reads[name] -= n
	}
	// One more connection looks at the tables first.
	if reads["pg1"] != 0 || reads["pg2"]+reads["pg3"] != clients+1 || min(reads["pg2"], reads["pg3"]) < clients/2 {
		t.Errorf("connections that read: %v, want %d, half of them at each replica", reads, clients+1)
	}

	before = c.logins("pgbench")
	write := startPgbench(t, r.address("rw"), "-c", "8", "-T", "3")
	write.finish(t)
	writes := c.logins("pgbench")
	for name, n := range before {
		writes[name] -= n
	}
	if want := map[string]int{"pg1": 8 + 1, "pg2": 0, "pg3": 0}; !maps.Equal(writes, want) {
		t.Errorf("connections that write: %v, want %v", writes, want)
	}
	c.untilReplayed(primary)
	for _, m := range c.members {
		if n := m.query("select count(*) from pgbench_history"); n != fmt.Sprint(write.processed) {
			t.Errorf("pgbench processed %d transactions, %s has %s of them", write.processed, m.name, n)
		}
	}
}

// logins returns how many connections of a program each member has let in.
func (c *cluster) logins(application string) map[string]int {
	c.t.Helper()
	n := make(map[string]int)
	for _, m := range c.members {
		n[m.name] = m.logins(application)
	}
	return n
}

// untilReplayed waits until the other members have all that the primary has written so far.
func (c *cluster) untilReplayed(primary *member) {
	c.t.Helper()
	end := primary.query("select pg_current_wal_lsn()")
	for _, m := range c.others(primary) {
		until(c.t, m.name+" has replayed everything", func() error {
			if got := m.query("select pg_last_wal_replay_lsn() >= '" + end + "'"); got != "t" {
				return fmt.Errorf("it has not replayed %s", end)
			}
			return nil
		})
	}
}
