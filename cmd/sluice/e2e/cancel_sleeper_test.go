package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

const sleepLong = "select pg_sleep(600)"

// A sleeper is a psql that runs a query without end.
type sleeper struct {
	*process
	name string // of the application, for the server
	at   string // which server runs the query, in which process, and since when
}

type sleepers []*sleeper

// startSleepers returns when the servers run the queries of all. Each of them runs some.
func startSleepers(t *testing.T, c *cluster, address, sslmode, name string, n int) (all sleepers) {
	t.Helper()
	dir := tempDir(t)
	for i := range n {
		s := &sleeper{name: fmt.Sprintf("%s-%s-%d", sslmode, name, i)}
		cmd := pgCommand(t, address, "psql", "-X", "-c", sleepLong)
		cmd.Env = append(cmd.Env, "PGSSLMODE="+sslmode, "PGAPPNAME="+s.name)
		s.process = start(t, s.name, dir, cmd)
		all = append(all, s)
	}
	until(t, "all queries run", func() error {
		at := c.asleep()
		for _, s := range all {
			if !s.running() {
				t.Fatalf("psql ended before its query was cancelled: %v\n%s", s.err, readFile(t, s.log))
			}
			if s.at = at[s.name]; s.at == "" {
				return fmt.Errorf("that of %s does not", s.name)
			}
		}
		return nil
	})
	servers := make(map[string]int)
	for _, s := range all {
		server, _, _ := strings.Cut(s.at, " ")
		servers[server]++
	}
	if len(servers) < 2 {
		t.Errorf("all sessions are at the same server: %v", servers)
	}
	return all
}

// asleep returns where each sleeper's query runs.
func (c *cluster) asleep() map[string]string {
	c.t.Helper()
	at := make(map[string]string)
	for _, m := range c.members {
		rows := m.query("select application_name, pid, query_start from pg_stat_activity" +
			" where state = 'active' and query = '" + sleepLong + "'")
		for row := range strings.Lines(rows) {
			name, since, _ := strings.Cut(strings.TrimSpace(row), "|")
			at[name] = m.name + " " + since
		}
	}
	return at
}

// expectAsleep checks that the queries are still those that were started.
func (all sleepers) expectAsleep(c *cluster) {
	c.t.Helper()
	at := c.asleep()
	for _, s := range all {
		if at[s.name] != s.at {
			c.t.Errorf("the query of %s ran at %q, now at %q: nobody has cancelled it", s.name, s.at, at[s.name])
		}
	}
}

// interrupt presses Ctrl-C everywhere, and returns how many queries were cancelled by that.
func (all sleepers) interrupt() (n int) {
	for _, s := range all {
		s.t.Helper()
		s.signal(syscall.SIGINT)
	}
	for _, s := range all {
		err := s.wait()
		if text := readFile(s.t, s.log); err == nil || !strings.Contains(text, cancelled) {
			s.t.Errorf("psql %s at %s ended with %v, and says %q", s.name, s.at, err, text)
			continue
		}
		n++
	}
	return n
}
