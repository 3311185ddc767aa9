package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
)

const rebalanceConfig = `
listeners:
  db: {bind: "127.0.0.1:0", protocol: postgres, pool: db}
pools:
  db:
    check: {type: off}
    rebalance: {rate: 50/s, idle: 1s}
    backends: [{name: pg, address: "127.0.0.1:%[1]d"}, {name: two, address: "127.0.0.1:%[1]d", state: drain}]
`

// A server that is made ready gets its share of the sessions. Clients in a transaction, idle for longer than the others as
// they are, are not those that are closed.
func TestRebalanceBesidePgbench(t *testing.T) {
	t.Parallel()
	const idle, busy = 10, 4
	p := startPostgres(t)
	r := startSluice(t, fmt.Sprintf(rebalanceConfig, p.port))
	address := r.address("db")
	output(t, pgCommand(t, p.address(), "pgbench", "-i", "-q"))
	script := filepath.Join(tempDir(t), "transaction.sql")
	writeFile(t, script, "BEGIN;\nUPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :client_id + 1;\n"+
		"\\sleep 3 s\nEND;\n")
	bench := startPgbench(t, address, "-c", fmt.Sprint(busy), "-t", "2", "-f", script)
	for range idle {
		c := connect(t, address, "disable")
		if err := c.Exec(context.Background(), "select 1").Close(); err != nil {
			t.Fatal(err)
		}
	}
	expectClients(t, r, p, idle+busy)
	output(t, command(t, sluiceProgram, "set", "db/two", "state=ready", "--socket", r.socket))
	until(t, "half of the sessions are closed", func() error {
		if n := r.status().ended("rebalanced"); n < (idle+busy)/2 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	bench.finish(t)
	r.expectEnded("rebalanced", (idle+busy)/2)
}
