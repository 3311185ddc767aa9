package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A primary ends after a time without a write. Its replicas have all it ever had: they do not lag, however old their
// last transaction is. A replica that then lacks something does; when it is the last one, it serves all the same.
func TestClusterQuiet(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	r := c.startSluice()
	first, second, third := c.members[0], c.members[1], c.members[2]
	first.query(journalTable)
	c.untilReplayed(first)
	for _, m := range c.others(first) {
		until(t, m.name+" has replayed nothing for long", func() error {
			if age := m.query("select now() - pg_last_xact_replay_timestamp() > interval '4 s'"); age != "t" {
				return fmt.Errorf("for less than twice max_lag")
			}
			return nil
		})
	}
	first.crash()
	r.untilMembers("primary")
	r.untilChecked("replicas", second.name, third.name)
	r.expectNoLag(second.name, third.name)
	r.untilMembers("replicas", second.name, third.name)
	for _, line := range readLines(t, r.log) {
		if strings.Contains(line, `"lagging"`) || strings.Contains(line, "max_lag") {
			t.Errorf("sluice says %s", line)
		}
	}

	second.promote()
	third.follow(second)
	r.untilMembers("primary", second.name)
	r.untilMembers("replicas", third.name)
	third.query("select pg_wal_replay_pause()")
	until(t, third.name+" replays nothing more", func() error {
		if state := third.query("select pg_get_wal_replay_pause_state()"); state != "paused" {
			return errors.New(state)
		}
		return nil
	})
	second.query("insert into journal values (1)")
	r.untilLogged("WARN", "every replica lags more than max_lag", "replicas", third.name)
	r.untilChecked("replicas", third.name)
	r.untilMembers("replicas", third.name)
	if b := r.inPool("replicas", third.name); b.Check.Lag == nil || *b.Check.Lag < maxLag.Seconds() {
		t.Errorf("%s does not lag: %+v", third.name, b)
	}
	r.expectMetric(`sluice_pool_all_lag{pool="replicas"}`, 1)
	third.query("select pg_wal_replay_resume()")
	r.untilLogged("INFO", "max_lag is heeded again")
	until(t, third.name+" has caught up", func() error {
		if b := r.inPool("replicas", third.name); b.Check.Lag == nil || *b.Check.Lag != 0 {
			return fmt.Errorf("it is %+v", b)
		}
		return nil
	})
}

// expectNoLag checks that replicas do not lag, by the status and by the metrics.
func (r *rig) expectNoLag(names ...string) {
	r.t.Helper()
	metrics := r.metrics()
	for _, name := range names {
		if b := r.inPool("replicas", name); b.Check.Lag == nil || *b.Check.Lag != 0 {
			r.t.Errorf("%s: %+v, want a lag of 0", name, b)
		}
		series := fmt.Sprintf(`sluice_backend_replay_lag_seconds{pool="replicas",backend=%q}`, name)
		if lag, known := metrics[series]; !known || lag != 0 {
			r.t.Errorf("%s is %v, known %t, want 0", series, lag, known)
		}
	}
}

// untilChecked waits until some more checks of servers have succeeded, enough to change a verdict.
func (r *rig) untilChecked(pool string, names ...string) {
	r.t.Helper()
	const enough = 4 // one more than fall
	for _, name := range names {
		from := r.inPool(pool, name).Check.Successes
		until(r.t, name+" has been checked again", func() error {
			if n := r.inPool(pool, name).Check.Successes; n < from+enough {
				return fmt.Errorf("%d checks have succeeded, %d of them before", n, from)
			}
			return nil
		})
	}
}

// inPool returns what is known of a backend of a pool.
func (r *rig) inPool(pool, name string) backendStatus {
	r.t.Helper()
	for _, p := range r.status().Pools {
		for _, b := range p.Backends {
			if p.Name == pool && b.Name == name {
				return b
			}
		}
	}
	r.t.Fatalf("pool %s has no backend %q", pool, name)
	return backendStatus{}
}
