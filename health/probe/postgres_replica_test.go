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
	said := func() PostgresAnswer {
		t.Helper()
		answer, err := ask(t, p)
		if err != nil {
			t.Fatal(err)
		}
		return *answer.Postgres
	}
	until(t, "a receiver runs", func() bool { a := said(); return a.LagKnown && a.Lag == 0 })
	// An age is known from the first transaction on that is replayed.
	primary.exec("INSERT INTO written VALUES (0)")
	until(t, "it is replayed", func() bool {
		return replica.exec("SELECT pg_last_xact_replay_timestamp() IS NOT NULL") == "t"
	})
	first, err := askOnce(t, as("sluice", "prefer"), primary.address())
	if err != nil {
		t.Fatal(err)
	}
	if a := said(); a.Primary || a.Timeline != 0 || a.System != first.System {
		t.Errorf("the replica says %+v, the primary %+v", a, first)
	}

	replica.exec("SELECT pg_wal_replay_pause()")
	primary.exec("INSERT INTO written VALUES (1)")
	until(t, "the lag grows", func() bool { a := said(); return a.LagKnown && a.Lag > 200*time.Millisecond })
	replica.exec("SELECT pg_wal_replay_resume()")
	until(t, "the lag is gone", func() bool { return said().Lag == 0 })

	// An idle primary, or one that is frozen but connected, is no lag; a receiver that is gone is.
	primary.signalAll(syscall.SIGSTOP)
	if a := said(); a.Lag != 0 {
		t.Errorf("lag %v behind a frozen primary", a.Lag)
	}
	primary.signalAll(syscall.SIGCONT)
	primary.stop(syscall.SIGINT)
	until(t, "the lag grows without a primary", func() bool { a := said(); return a.LagKnown && a.Lag > 0 })

	// The new timeline is told at once, over the same session.
	replica.exec("SELECT pg_promote()")
	if a := said(); !a.Primary || a.Timeline != 2 || a.System != first.System {
		t.Errorf("after the promotion: %+v", a)
	}
	if n := replica.sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
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
