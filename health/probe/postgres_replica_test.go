package probe

import (
	"context"
	"syscall"
	"testing"
	"time"
)

func TestPostgresReplica(t *testing.T) {
	primary := newCluster(t)
	replica := primary.newReplica()
	p := newProber(t, as("sluice", "prefer"), replica.address())
	said := func() DatabaseAnswer {
		t.Helper()
		answer, err := ask(t, p)
		if err != nil {
			t.Fatal(err)
		}
		return *answer.Database
	}
	keepsUp := func() bool {
		primary, err := askOnce(t, as("sluice", "prefer"), primary.address())
		if err != nil {
			t.Fatal(err)
		}
		a := said()
		return a.Has >= primary.Whole && a.Replayed >= primary.Whole && a.Whole >= a.Replayed
	}
	until(t, "it has everything", keepsUp)
	// An age is known from the first transaction on that is replayed.
	primary.exec("INSERT INTO written VALUES (0)")
	until(t, "it is replayed", func() bool {
		return replica.exec("SELECT pg_last_xact_replay_timestamp() IS NOT NULL") == "t"
	})
	first, err := askOnce(t, as("sluice", "prefer"), primary.address())
	if err != nil {
		t.Fatal(err)
	}
	if a := said(); a.Primary || a.Timeline != 1 || a.System != first.System {
		t.Errorf("the replica says %+v, the primary %+v", a, first)
	}

	replica.exec("SELECT pg_wal_replay_pause()")
	primary.exec("INSERT INTO written VALUES (1)")
	until(t, "it has received more than it has replayed", func() bool { a := said(); return a.Replayed < a.Whole })
	until(t, "the last transaction gets older", func() bool { a := said(); return a.AgeKnown && a.Age > 200*time.Millisecond })
	replica.exec("SELECT pg_wal_replay_resume()")
	until(t, "it has everything", keepsUp)

	// Its age and nothing else grows while nobody writes, be the primary there or not.
	before := said()
	primary.signalAll(syscall.SIGSTOP)
	between := said()
	primary.signalAll(syscall.SIGCONT)
	primary.stop(syscall.SIGINT)
	until(t, "the shutdown is replayed", func() bool { a := said(); return a.Replayed == a.Has })
	if a := said(); !before.AgeKnown || between.Age <= before.Age || a.Age <= between.Age || a.Has < before.Has {
		t.Errorf("%+v, %+v, %+v", before, between, a)
	}

	// The new timeline is told at once, over the same session.
	replica.exec("SELECT pg_promote()")
	if a := said(); !a.Primary || a.Timeline != 2 || a.System != first.System {
		t.Errorf("after the promotion: %+v", a)
	}
	if n := replica.sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestPostgresReplicaTimeline: a replica that follows a promotion knows of it, and still does when the server that was
// promoted is gone.
func TestPostgresReplicaTimeline(t *testing.T) {
	first := newCluster(t)
	first.exec("GRANT pg_read_all_stats TO tlsonly")
	promoted := first.newReplica()
	follower := promoted.newReplica()
	plain := newProber(t, as("sluice", "prefer"), follower.address())
	reader := newProber(t, as("tlsonly", "require"), follower.address())
	said := func(p Prober) uint32 {
		t.Helper()
		answer, err := ask(t, p)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Database.Primary {
			t.Error("it says that it is the primary")
		}
		return answer.Database.Timeline
	}
	if a, b := said(plain), said(reader); a != 1 || b != 1 {
		t.Errorf("timelines %d and %d before the promotion", a, b)
	}
	promoted.exec("SELECT pg_promote()")
	until(t, "what it receives tells it", func() bool { return said(reader) == 2 })
	until(t, "a restartpoint tells everybody", func() bool {
		follower.exec("CHECKPOINT")
		return said(plain) == 2
	})
	promoted.stop(syscall.SIGQUIT)
	until(t, "nothing is received", func() bool {
		return follower.exec("SELECT count(*) FROM pg_stat_wal_receiver") == "0"
	})
	if a, b := said(plain), said(reader); a != 2 || b != 2 {
		t.Errorf("timelines %d and %d without anybody to follow", a, b)
	}
}

// TestPostgresHalfRecord: a transaction that is not over has filled pages, and its last record ends in one that is not
// written yet. The replica has replayed all that it can.
func TestPostgresHalfRecord(t *testing.T) {
	primary := newCluster(t)
	replica := primary.newReplica()
	onPrimary := newProber(t, as("sluice", "prefer"), primary.address())
	onReplica := newProber(t, as("sluice", "prefer"), replica.address())
	writer, err := primary.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close(context.Background())
	said := func(p Prober) DatabaseAnswer {
		t.Helper()
		answer, err := ask(t, p)
		if err != nil {
			t.Fatal(err)
		}
		return *answer.Database
	}
	halves := 0
	for _, sql := range []string{"BEGIN", "INSERT INTO written SELECT generate_series(1, 20000)",
		"INSERT INTO written SELECT generate_series(1, 20001)", "INSERT INTO written SELECT generate_series(1, 20002)"} {
		if _, err := writer.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
		until(t, "the replica has replayed what is whole", func() bool {
			p, r := said(onPrimary), said(onReplica)
			if r.Has == p.Has && r.Replayed < r.Has && p.Has == said(onPrimary).Has {
				halves++
			}
			return r.Has == p.Has && r.Replayed >= p.Whole && r.Replayed == r.Whole
		})
	}
	t.Logf("%d times the end of a page was seen with half a record before it", halves)
}

// TestPostgresShutdown: a server that waits for its sessions, as it does after SIGTERM, says that it takes no others.
func TestPostgresShutdown(t *testing.T) {
	c := newCluster(t)
	held, err := c.connect() // keeps the server from ending
	if err != nil {
		t.Fatal(err)
	}
	p := newProber(t, as("sluice", "prefer"), c.address())
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	until(t, "the server shuts down", func() bool {
		_, err = ask(t, p)
		return err != nil
	})
	for range 2 {
		_, err = ask(t, newProber(t, as("sluice", "prefer"), c.address()))
		wantError(t, err, `log in as "sluice": FATAL: the database system is shutting down (57P03)`)
		if !Unavailable(err) {
			t.Error("is not unavailable")
		}
	}
	_ = held.Close(context.Background())
}
