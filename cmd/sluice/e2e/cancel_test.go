package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

const (
	cancels     = 100 // in clear, and as many with TLS
	cancelBatch = 20  // sessions at a time
	cancelled   = "canceling statement due to user request"
)

// cancelConfig has two places to read from. The second one leads a client to the same server each time.
const cancelConfig = `
listeners:
  ro: {bind: "127.0.0.1:0", protocol: postgres, pool: replicas}
  same: {bind: "127.0.0.1:0", protocol: postgres, pool: same}
pools:
  replicas:
    check: {type: postgres, role: replica, CHECK}
    backends: [MEMBERS]
  same:
    balance: source_hash
    check: {type: postgres, role: replica, CHECK}
    backends: [MEMBERS]
`

// A psql that is interrupted opens a connection of its own to cancel its query. That reaches the server that runs the
// query, and the sessions of others go on.
func TestCancel(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	r := startSluice(t, c.config(cancelConfig))
	r.untilMembers("replicas", "pg2", "pg3")
	r.untilMembers("same", "pg2", "pg3")
	address := r.address("ro")
	for _, sslmode := range []string{"disable", "require"} {
		onlookers := startSleepers(t, c, address, sslmode, "onlooker", 10)
		reached := 0
		for i := range cancels / cancelBatch {
			batch := startSleepers(t, c, address, sslmode, fmt.Sprint("batch", i), cancelBatch)
			reached += batch[:cancelBatch/2].interrupt()
			batch[cancelBatch/2:].expectAsleep(c)
			reached += batch[cancelBatch/2:].interrupt()
		}
		if reached != cancels {
			t.Errorf("sslmode %s: %d of %d cancels have reached the right server", sslmode, reached, cancels)
		}
		onlookers.expectAsleep(c)
		onlookers.interrupt()
		if n := c.strayCancels(); sslmode == "disable" && n != 0 {
			t.Errorf("%d cancels in clear have reached a server that they are not for", n)
		}
	}
	t.Logf("%d cancels for sessions with TLS have reached a second server too", c.strayCancels())
	for range 10 {
		checkGoCancel(t, c, r.address("same"))
	}
}

// strayCancels returns how many cancels the servers got that were not for them, which does no harm.
func (c *cluster) strayCancels() (n int) {
	c.t.Helper()
	for _, m := range c.members {
		n += strings.Count(readFile(c.t, m.log), "in cancel request did not match any process")
	}
	return n
}

// checkGoCancel cancels a query by a program that encrypts even that. Nobody but the server can read whose it is: it
// needs a pool that leads a client to the same server each time.
func checkGoCancel(t *testing.T, c *cluster, address string) {
	t.Helper()
	conn := connect(t, address, "require")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	query := conn.Exec(ctx, sleepLong)
	until(t, "the query runs", func() error {
		if at := c.asleep()[""]; !strings.Contains(at, fmt.Sprintf(" %d|", conn.PID())) {
			return fmt.Errorf("%q does, without a name", at)
		}
		return nil
	})
	if err := conn.CancelRequest(ctx); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if _, err := query.ReadAll(); err == nil || !strings.Contains(err.Error(), cancelled) {
		t.Errorf("a query that is cancelled ends with %v, want %q", err, cancelled)
	}
}
