package health

import (
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
)

// readers is a pool of replicas with a limit of 10 s, in which the primary is pg1.
func readers() []spec {
	cfg := postgres(RoleReplica)
	cfg.MaxLag = 10 * time.Second
	return []spec{{"ro", "pg1 pg2 pg3", cfg}}
}

// at makes the server a primary, or a replica with a last transaction of a minute ago, that has got so far.
func (s *server) at(timeline uint32, has, replayed uint64) {
	if replayed == 0 {
		s.say(probe.DatabaseAnswer{Primary: true, System: 7, Timeline: timeline, Has: has, Whole: has})
		return
	}
	s.say(probe.DatabaseAnswer{
		System: 7, Timeline: timeline, Has: has, Whole: has, Replayed: replayed, AgeKnown: true, Age: time.Minute})
}

// wantLag checks the lag of a backend, to the second.
func (r *rig) wantLag(backend string, want time.Duration) {
	r.t.Helper()
	if s := r.Status(r.backend(backend)); !s.LagKnown || s.Lag.Round(time.Second) != want {
		r.t.Errorf("lag of %s: %v, known %t, want %v", backend, s.Lag, s.LagKnown, want)
	}
}

// Nobody has written for a while when the primary ends, or is cut off: its replicas have everything.
func TestQuietPrimaryEnds(t *testing.T) {
	inBubble(t, readers(), func(r *rig) {
		r.servers["pg1"].at(1, 500, 0)
		r.servers["pg2"].at(1, 500, 500)
		r.servers["pg3"].at(0, 500, 500)
	}, func(r *rig) {
		after(time.Minute)
		r.logged()
		r.servers["pg1"].set(errDead)
		after(time.Minute)
		r.wantUp("the primary is gone", "ro", "pg2 pg3")
		r.wantLag("pg2", 0)
		r.wantLag("pg3", 0)
		if log := r.logged(); strings.Contains(log, "lag") {
			t.Errorf("log %s", log)
		}
		// One had received more than the other, which is cut off too.
		r.servers["pg2"].at(1, 600, 600)
		after(30 * time.Second)
		r.wantUp("pg3 lacks something", "ro", "pg2")
		r.servers["pg3"].at(1, 600, 600)
		after(5 * time.Second)
		r.wantUp("pg3 has it too", "ro", "pg2 pg3")
		// The primary is back, and nobody receives anything yet.
		r.servers["pg1"].at(1, 600, 0)
		after(time.Minute)
		r.wantUp("the primary is back", "ro", "pg2 pg3")
		r.servers["pg1"].at(1, 700, 0)
		after(8 * time.Second)
		r.wantUp("somebody writes", "ro", "pg2 pg3")
		r.servers["pg3"].at(1, 700, 700)
		after(10 * time.Second)
		r.wantUp("pg2 still receives nothing", "ro", "pg3")
	})
}

// A promotion starts anew where it was: what the old primary had beyond that is not lacking to anybody.
func TestLagAfterAPromotion(t *testing.T) {
	inBubble(t, readers(), func(r *rig) {
		r.servers["pg1"].at(1, 900, 0)
		r.servers["pg2"].at(1, 800, 800)
		r.servers["pg3"].at(1, 850, 800)
	}, func(r *rig) {
		after(20 * time.Second)
		r.servers["pg1"].set(errDead)
		r.servers["pg2"].at(2, 801, 0)
		r.servers["pg3"].at(1, 850, 801) // it says 1 until its next restartpoint
		after(5 * time.Second)
		r.wantLag("pg3", 0)
		r.servers["pg1"].at(1, 1000, 0) // and is on its own
		after(time.Minute)
		r.wantLag("pg3", 0)
		r.wantUp("after the promotion", "ro", "pg3")
	})
}

// The primary's word alone counts while it answers, even when it has lost something.
func TestPrimaryLosesSomething(t *testing.T) {
	inBubble(t, readers(), func(r *rig) {
		r.servers["pg1"].at(1, 900, 0)
		r.servers["pg2"].at(1, 900, 900)
		r.servers["pg3"].at(1, 800, 800)
	}, func(r *rig) {
		after(20 * time.Second)
		r.wantUp("pg3 lags", "ro", "pg2")
		r.servers["pg1"].at(1, 800, 0)
		after(5 * time.Second)
		r.wantUp("nobody lags", "ro", "pg2 pg3")
		r.wantLag("pg3", 0)
	})
}

// MaxLag never takes the last backend: replicas that all lag serve all the same, and the log says so once.
func TestEveryReplicaLags(t *testing.T) {
	inBubble(t, readers(), func(r *rig) {
		r.servers["pg1"].at(1, 900, 0)
		r.servers["pg2"].at(1, 900, 100)
		r.servers["pg3"].at(1, 900, 900)
	}, func(r *rig) {
		after(time.Second)
		r.wantUp("pg2 lags", "ro", "pg3")
		r.logged()
		r.servers["pg3"].at(1, 900, 100)
		after(time.Minute)
		r.wantUp("both lag", "ro", "pg2 pg3")
		if s := r.PoolStatus(r.pool); !s.AllLag {
			t.Error("the status of the pool does not say so")
		}
		log := r.logged()
		if strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, `level=WARN msg="every replica lags more than `+
			`max_lag: they serve all the same" pool=ro reason="pg2 lags 1m0s, the limit is 10s, pg3 lags 1m0s, the limit is 10s"`) {
			t.Errorf("log\n%s", log)
		}
		r.servers["pg3"].at(1, 900, 900)
		after(5 * time.Second)
		r.wantUp("pg3 keeps up again", "ro", "pg3")
		if log := r.logged(); !strings.Contains(log, `level=INFO msg="max_lag is heeded again" pool=ro`) || r.PoolStatus(r.pool).AllLag {
			t.Errorf("log\n%s", log)
		}
		r.servers["pg3"].set(errDead)
		after(10 * time.Second)
		r.wantUp("pg3 is dead", "ro", "pg2")
	})
}

func TestSpareLagging(t *testing.T) {
	f := func(role Role, want string, facts ...string) {
		t.Helper()
		c := postgres(role)
		c.MaxLag = 10 * time.Second
		if got := judged(c, timelines{}, facts...); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", facts, got, want)
		}
	}
	const (
		lags   = "lags 1m30s, the limit is 10s"
		dead   = "\nfailed: nobody home"
		demote = "\npromoted: is the primary, the pool wants replicas"
	)
	f(RoleReplica, "spared: "+lags+dead, "pg1 up replica lagging", "pg2 down replica")
	f(RoleReplica, "spared: "+lags+demote, "pg1 up replica lagging", "pg2 up primary 1")
	f(RoleReplica, "lagging: "+lags+"\nup", "pg1 up replica lagging", "pg2 up replica")
	f(RoleReplica, "lagging: "+lags+"\ndown: not checked yet", "pg1 up replica lagging", "pg2 unchecked")
	f(RoleReplica, "spared: "+lags+"\nup", "pg1 up replica lagging", "pg2 up replica unwanted")
	f(RoleReplica, "failed: nobody home"+dead, "pg1 down replica lagging", "pg2 down replica")
	f(RolePreferReplica, "lagging: "+lags+"\nup, backup", "pg1 up replica lagging", "pg2 up primary 1")
	f(RolePreferReplica, "spared: "+lags+dead, "pg1 up replica lagging", "pg2 down primary 1")
	f(RoleAny, "lagging: "+lags+"\nup", "pg1 up replica lagging", "pg2 up primary 1")
}
