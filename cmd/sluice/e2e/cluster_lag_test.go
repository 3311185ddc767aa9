package e2e

import (
	"strconv"
	"testing"
	"time"
)

// maxLag is that of clusterConfig.
const maxLag = 2 * time.Second

// A replica that does not replay what it gets is given no sessions once it lags too much, and is given some again when
// it has caught up. Those that it has go on.
func TestClusterLag(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	r := c.startSluice()
	quick, slow := c.member("pg2"), c.member("pg3")
	c.members[0].query(journalTable)
	c.untilReplayed(c.members[0])
	session := connectTo(t, r.address("ro"), slow)
	j := startJournal(t, r.address("rw"))
	j.untilWritten(t, 1, time.Time{})

	slow.query("select pg_wal_replay_pause()")
	paused := time.Now()
	r.untilMembers("replicas", quick.name)
	left := time.Since(paused)
	t.Logf("%s leaves the pool %.1f s after its replay was paused", slow.name, left.Seconds())
	if left < maxLag {
		t.Errorf("%s leaves the pool after %v, before it lags %v", slow.name, left, maxLag)
	}
	for range 8 {
		if got := psql(t, r.address("ro"), "prefer", "select inet_server_port()"); got != strconv.Itoa(quick.port) {
			t.Errorf("a new session reads from the server at %s, which is not %s", got, quick.name)
		}
	}
	expectServer(t, session, slow)
	if got := r.usable("primary"); len(got) != 1 || got[0] != "pg1" {
		t.Errorf("the primary is %v while a replica lags", got)
	}

	slow.query("select pg_wal_replay_resume()")
	resumed := time.Now()
	r.untilMembers("replicas", quick.name, slow.name)
	t.Logf("%s is back %.1f s after its replay went on", slow.name, time.Since(resumed).Seconds())
	expectServer(t, session, slow)
	expectServer(t, connectTo(t, r.address("ro"), slow), slow)
	for id, e := range j.end() {
		if e.err != nil {
			t.Errorf("entry %d has failed: %v", id, e.err)
		}
	}
}
