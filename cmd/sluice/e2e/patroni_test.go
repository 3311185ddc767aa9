package e2e

import (
	"fmt"
	"testing"
)

// A real Patroni changes the leader of a real cluster, once because it is asked to, and once because the leader has
// crashed. Behind sluice, with the configuration that it prints for Patroni and with its own check of roles, new
// connections wait and then reach the new leader. HAProxy, with Patroni's own sample, sends to the same servers before
// and after.
func TestPatroni(t *testing.T) {
	t.Parallel()
	c := startPatroni(t)
	leader := c.untilHealthy()
	leader.query(patroniTable)
	fronts := []*patroniFront{
		c.startSluice("sluice asking Patroni", c.sample()),
		c.startSluice("sluice asking Postgres", fmt.Sprintf(patroniRoleConfig, c.backends())),
		c.startHAProxy(),
	}
	c.expectRouting(fronts)

	switchover := c.strike(&patroniFault{name: "switchover"}, fronts)
	switchover.check(t)
	c.expectRouting(fronts)

	failover := c.strike(&patroniFault{name: "failover", crash: true}, fronts)
	failover.check(t)
	c.expectRouting(fronts)

	failover.old.start()
	c.expectRouting(fronts) // it is a replica now
	logPatroniTimes(t, []*patroniFault{switchover, failover})
}

// expectRouting waits until Patroni is healthy, and checks that every balancer sends to the servers that should get it.
func (c *patroniCluster) expectRouting(fronts []*patroniFront) {
	c.t.Helper()
	leader := c.untilHealthy()
	for _, f := range fronts {
		f.expectRouting(c.t, leader, c.replicas(leader))
	}
}
