package e2e

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A patroniFault is a change of the leader under load, and what came of it.
type patroniFault struct {
	name     string
	crash    bool // the old leader is killed; otherwise it shuts down
	old, new *patroniNode
	at       time.Time // when it began
	struck   time.Time // the old leader is gone, as far as who made it so can tell
	promoted time.Time // the new leader takes writes
	fronts   []*patroniOutcome
}

// A patroniOutcome is what clients of one balancer have seen of a fault.
type patroniOutcome struct {
	*patroniFront
	idlers  []*idler
	writer  *patroniWriter
	writes  []*patroniWrite
	found   time.Time // sluice has noticed that the old leader is down
	closed  time.Time // no session from before the fault is left
	first   time.Time // the first row at the new leader
	longest time.Duration
	served  int // rows by connections that were opened after the fault
	cut     int // connections that the old leader had let in and that were cut before they had their row
	refused int // connections that failed in another way
}

// strike changes the leader while clients come and go.
func (c *patroniCluster) strike(f *patroniFault, fronts []*patroniFront) *patroniFault {
	c.t.Helper()
	f.old = c.untilHealthy()
	for _, front := range fronts {
		o := &patroniOutcome{patroniFront: front, idlers: openIdlers(c.t, front.write, 6)}
		o.writer = startWriter(c.t, f.name+" "+front.name, front.write)
		f.fronts = append(f.fronts, o)
	}
	for _, o := range f.fronts {
		o.writer.untilWritten(c.t, 5, time.Time{})
	}
	promoted := c.awaitPromotion(f.old)
	f.at = time.Now()
	if f.crash {
		f.old.crash()
	} else {
		c.switchover(f.old, c.replicas(f.old)[0])
	}
	f.struck = time.Now()
	for _, o := range f.fronts {
		o.writer.untilWritten(c.t, 10, f.at)
	}
	p := <-promoted
	f.new, f.promoted = p.node, p.when
	if f.new == nil {
		c.t.Fatal("no replica is promoted")
	}
	for _, o := range f.fronts {
		o.closed = untilEnded(c.t, o.idlers)
		o.writes = o.writer.end()
		o.measure(f)
	}
	return f
}

// A patroniPromotion is the node that has become the leader; nil: none did.
type patroniPromotion struct {
	node *patroniNode
	when time.Time
}

// awaitPromotion asks the replicas themselves, over connections that it opens now, which one becomes the leader.
func (c *patroniCluster) awaitPromotion(leader *patroniNode) <-chan patroniPromotion {
	c.t.Helper()
	conns := make(map[*patroniNode]*pgconn.PgConn)
	for _, n := range c.replicas(leader) {
		conns[n] = connect(c.t, n.address(), "disable")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patient)
	promoted := make(chan patroniPromotion, 1)
	var done sync.WaitGroup
	done.Go(func() { promoted <- pollPromotion(ctx, conns) })
	c.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return promoted
}

func pollPromotion(ctx context.Context, conns map[*patroniNode]*pgconn.PgConn) patroniPromotion {
	for ctx.Err() == nil {
		for n, conn := range conns {
			results, err := conn.Exec(ctx, "select pg_is_in_recovery()").ReadAll()
			if err == nil && string(results[0].Rows[0][0]) == "f" {
				return patroniPromotion{n, time.Now()}
			}
		}
		time.Sleep(2 * pollEvery)
	}
	return patroniPromotion{}
}
