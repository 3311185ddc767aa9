package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const mariaConfig = `
listeners:
  rw: {bind: "127.0.0.1:0", pool: writers}
  ro: {bind: "127.0.0.1:0", pool: readers}
pools:
  writers:
    queue: {max: 1024, timeout: 3m}
    check: {type: mysql, role: primary, CHECK}
    backends: [MEMBERS]
  readers:
    check: {type: mysql, role: replica, max_lag: 2s, CHECK}
    backends: [MEMBERS]
`

// A primary of MariaDB and two replicas: who is what, a replica that does not replicate, a failover, and an old primary
// that comes back writable. The servers' logs know nothing of the checks.
func TestMariaDB(t *testing.T) {
	t.Parallel()
	c := startMariaDBs(t)
	r := startSluice(t, c.config(mariaConfig))
	r.mayLog = "split brain"
	first, second, third := c.members[0], c.members[1], c.members[2]
	r.untilMembers("writers", first.name)
	r.untilMembers("readers", second.name, third.name)
	c.ask(r.address("rw"), "INSERT INTO app.written VALUES (1)")
	for range 4 {
		if id := c.ask(r.address("ro"), "SELECT @@server_id"); id != "2" && id != "3" {
			t.Errorf("server %s reads", id)
		}
	}

	third.exec("STOP SLAVE SQL_THREAD")
	r.untilMembers("readers", second.name)
	third.exec("START SLAVE SQL_THREAD")
	r.untilMembers("readers", second.name, third.name)

	first.kill()
	r.untilMembers("writers")
	r.untilChecked("readers", second.name, third.name)
	r.untilMembers("readers", second.name, third.name)
	for _, m := range c.members[1:] {
		if b := r.inPool("readers", m.name); b.Check.Lag == nil || *b.Check.Lag != 0 {
			t.Errorf("without a primary: %+v", b)
		}
	}
	waiting := start(t, "client", tempDir(t), c.client(r.address("rw"), "INSERT INTO app.written VALUES (2); SELECT @@server_id"))
	until(t, "the writer waits", func() error {
		if n := r.metrics()[`sluice_pool_queue{pool="writers"}`]; n != 1 {
			return fmt.Errorf("%v do", n)
		}
		return nil
	})
	second.exec("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")
	if err := waiting.wait(); err != nil || !slices.Equal(readLines(t, waiting.log), []string{"2"}) {
		t.Errorf("the writer that waited: %v, %q", err, readLines(t, waiting.log))
	}
	third.follow(second)
	r.untilMembers("readers", third.name)

	first.start() // as it was: writable
	r.untilLogged("split brain: db1 and db2 both claim to be the primary", `"sessions_go_to":"db2"`)
	r.untilChecked("writers", first.name)
	r.untilMembers("writers", second.name)
	if id := c.ask(r.address("rw"), "SELECT @@server_id"); id != "2" {
		t.Errorf("server %s takes writes", id)
	}
	first.follow(second)
	r.untilLogged("split brain is over")
	r.untilMembers("readers", first.name, third.name)
	until(t, "everybody has everything", func() error {
		for _, m := range c.members {
			if got := m.exec("SELECT group_concat(n ORDER BY n) FROM app.written"); got != "1,2" {
				return fmt.Errorf("%s has %s", m.name, got)
			}
		}
		return nil
	})
	r.signal(syscall.SIGTERM)
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	for _, m := range c.members {
		for _, line := range readLines(t, m.errorLog()) {
			if strings.Contains(line, "user: 'sluice'") || strings.Contains(line, "unauthenticated") || strings.Contains(line, "Access denied") {
				t.Errorf("%s has logged: %s", m.name, line)
			}
		}
	}
}
