package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

const (
	// operator is how long after a fault a replica is promoted, as an operator or an agent of high availability would.
	operator = 2 * time.Second
	// tempted is how long connections are opened beside an old primary that is back.
	tempted = 3 * time.Second
)

// A fault is how a primary is lost. The old primary comes back in the belief that it still is the primary.
type fault struct {
	name   string
	strike func(*member) (comeback func())
}

var (
	crash = fault{"kill -9", func(m *member) func() {
		m.crash()
		return m.start
	}}
	silence = fault{"SIGSTOP", func(m *member) func() { return m.freeze() }}
	// switchover is begun by a fast shutdown.
	switchover = fault{"switchover", func(m *member) func() {
		m.signal(syscall.SIGINT)
		return func() {
			m.wait()
			m.start()
		}
	}}
)

// A failover is a fault and what came of it.
type failover struct {
	fault
	t     *testing.T
	c     *cluster
	r     *rig
	old   *member // the primary before the fault
	next  *member // and after it
	other *member

	began, struck time.Time   // the fault
	promoting     time.Time   // no server is the primary
	promoted      time.Time   // the new primary is one
	found         time.Time   // sluice says that the old one is down
	closed        time.Time   // no session from before the fault is left
	stale         journalRows // what the old primary had last, before it became a replica
	entries       []*entry
	twice         int // connections with TLS that the old primary turned away and that tried again
	cut           int // connections that were lost before their row was committed
	lost          int // rows that were committed and lost
}

// A primary is lost in three ways. New connections wait until there is another one, old ones are closed, and nothing
// reaches a server that only believes to be the primary.
func TestFailover(t *testing.T) {
	t.Parallel()
	var over []*failover
	t.Cleanup(func() { logTimes(t, over) })
	for _, fault := range []fault{crash, silence, switchover} {
		f := &failover{fault: fault}
		over = append(over, f)
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			f.t = t
			f.run()
		})
	}
}

func (f *failover) run() {
	t := f.t
	f.c = startCluster(t)
	f.c.checkTimeout = time.Second // the time in which a silent server is found is shown
	f.r = f.c.startSluice()
	f.r.mayLog = "split brain"
	f.old = f.c.members[0]
	f.old.query(journalTable)
	f.c.untilReplayed(f.old)
	idlers := openIdlers(t, f.r.address("rw"), 10)
	j := startJournal(t, f.r.address("rw"))
	j.untilWritten(t, 20, time.Time{})

	f.began = time.Now()
	comeback := f.strike(f.old)
	f.struck = time.Now()
	time.Sleep(time.Until(f.began.Add(operator))) // nothing is waited for: this is how long it takes
	f.promote()
	f.r.untilMembers("primary", f.next.name)
	j.untilWritten(t, 20, f.struck)
	f.closed = untilEnded(t, idlers)
	f.found = f.r.foundDown(f.began, f.old)

	comeback()
	f.tempt()
	f.old.shutDown()
	f.old.rejoin(f.next)
	f.r.untilMembers("replicas", f.old.name, f.other.name)
	f.r.untilMembers("primary", f.next.name)
	f.r.untilRoles("primary", map[string]string{f.next.name: "primary", f.old.name: "replica", f.other.name: "replica"})
	f.r.untilSplitBrain(false)
	f.entries = j.end()
	f.checkEntries()
	rows := readJournal(t, f.next)
	f.checkRows(rows)
	f.countLost(rows)
}

// promote makes the replica that has got most the primary of the other one.
func (f *failover) promote() {
	replicas := f.c.others(f.old)
	f.next, f.other = replicas[0], replicas[1]
	if f.other.received() > f.next.received() {
		f.next, f.other = f.other, f.next
	}
	f.promoting = time.Now()
	f.next.promote()
	f.promoted = time.Now()
	f.other.follow(f.next)
}

// foundDown is when sluice first said, after a time, that a server is down as the primary.
func (r *rig) foundDown(after time.Time, m *member) time.Time {
	r.t.Helper()
	for _, l := range r.logLines() {
		if l.Msg == "backend down" && l.Pool == "primary" && l.Backend == m.name && !l.Time.Before(after) {
			return l.Time
		}
	}
	r.t.Fatalf("the log does not say that %s is down", m.name)
	return time.Time{}
}

// untilSplitBrain waits until sluice says that more than one server claims to be the primary, or not.
func (r *rig) untilSplitBrain(want bool) {
	r.t.Helper()
	const series = `sluice_pool_split_brain{pool="primary"}`
	until(r.t, fmt.Sprintf("%s is %t", series, want), func() error {
		metrics := r.metrics()
		if got, there := metrics[series]; !there || (got == 1) != want {
			return fmt.Errorf("it is %v (there: %t)", got, there)
		}
		return nil
	})
}

// tempt holds the old primary, which takes writes, before sluice: none may reach it.
func (f *failover) tempt() {
	f.r.untilSplitBrain(true)
	const transactions = "select pg_snapshot_xmax(pg_current_snapshot())"
	before := f.old.query(transactions)
	time.Sleep(tempted) // nothing is waited for: nothing may happen
	f.r.untilSplitBrain(true)
	if after := f.old.query(transactions); after != before {
		f.t.Errorf("%s, which is not the primary, has gone from transaction %s to %s", f.old.name, before, after)
	}
	f.stale = readJournal(f.t, f.old)
	if got := f.r.usable("primary"); len(got) != 1 || got[0] != f.next.name {
		f.t.Errorf("the primary is %v, want %s", got, f.next.name)
	}
}
