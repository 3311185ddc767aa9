package health

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// cluster is a pool of two servers, the first of which is the primary on timeline 1.
func cluster(role Role) ([]spec, func(r *rig)) {
	return []spec{{"db", "pg1 pg2", postgres(role)}}, func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].replica(0)
	}
}

// isReplica is why a replica is down in a pool that wants the primary.
const isReplica = `reason="is a replica, the pool wants the primary" cause=demoted role=replica`

func TestRoleChangeCountsAtOnce(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		r.wantUp("at first", "db", "pg1")
		log := strings.Split(r.logged(), "\n")
		if len(log) != 2 {
			t.Fatalf("log %q", log)
		}
		if log[0] > log[1] {
			log[0], log[1] = log[1], log[0]
		}
		if log[0] != `level=INFO msg="backend down" pool=db backend=pg2 `+isReplica ||
			log[1] != `level=INFO msg="backend up" pool=db backend=pg1 role=primary timeline=1` {
			t.Errorf("log %q", log)
		}

		r.servers["pg1"].replica(0)
		after(2 * time.Second)
		r.wantUp("nobody is the primary", "db", "")
		r.servers["pg2"].primary(2)
		after(500 * time.Millisecond)
		r.wantUp("switched over", "db", "pg2")
		r.wantLog("in the end",
			`level=WARN msg="backend down" pool=db backend=pg1 `+isReplica,
			`level=INFO msg="backend up" pool=db backend=pg2 role=primary timeline=2`)
		if s := r.PoolStatus(r.pool); s != (PoolStatus{}) {
			t.Errorf("a clean switchover is taken for a split brain: %+v", s)
		}
	})
}

// TestStandby: a server that answers and waits for its turn is told from one that is down.
func TestStandby(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		want := func(when, backend string, standby bool) {
			t.Helper()
			if s := r.Status(r.backend(backend)); s.Standby != standby {
				t.Errorf("%s: %s is %+v, want standby %v", when, backend, s, standby)
			}
		}
		want("before it is asked", "pg2", false)
		after(time.Second)
		want("at first", "pg1", false)
		want("at first", "pg2", true)
		r.servers["pg2"].set(errDead)
		after(time.Minute)
		want("dead", "pg2", false)
		r.servers["pg2"].set(nil)
		after(time.Minute)
		want("back", "pg2", true)
		r.backend("pg2").SetAdmin(pool.Maint)
		after(time.Minute)
		want("in maintenance", "pg2", false)
	})
}

func TestOldPrimaryResumes(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		r.logged()
		pg1, pg2 := r.servers["pg1"], r.servers["pg2"]
		pg1.fallSilent()
		after(10 * time.Second)
		r.wantUp("the primary is silent", "db", "")
		pg2.primary(2)
		after(time.Second)
		r.wantUp("the replica is promoted", "db", "pg2")
		const replaced = "pg2 is the primary now, on timeline 2, and this one does not answer: context deadline exceeded"
		r.wantReason("db", "pg1", replaced)
		r.wantLog("after the failover",
			`level=WARN msg="backend down" pool=db backend=pg1 reason="context deadline exceeded" cause=failed failures=3`,
			`level=INFO msg="backend still down" pool=db backend=pg1 reason="`+replaced+`" cause=demoted`,
			`level=INFO msg="backend up" pool=db backend=pg2 role=primary timeline=2`)

		pg1.primary(1)
		after(10 * time.Second)
		r.wantUp("the old primary is back", "db", "pg2")
		r.wantReason("db", "pg1", "claims to be primary on timeline 1, pg2 is on timeline 2")
		if s := r.PoolStatus(r.pool); !s.SplitBrain || s.SplitBrains != 1 {
			t.Errorf("two primaries: %+v", s)
		}
		r.wantLog("two primaries", `level=ERROR msg="split brain: pg1 and pg2 both claim to be the primary" pool=db `+
			`reason="pg1 is on timeline 1 of system 7, pg2 is on timeline 2 of system 7" sessions_go_to=pg2`)

		pg2.set(errDead)
		after(10 * time.Second)
		r.wantUp("the new primary is dead", "db", "")
		r.wantReason("db", "pg1", "stale: claims to be primary on timeline 1, timeline 2 was seen on pg2")
		if s := r.PoolStatus(r.pool); s.SplitBrain || s.SplitBrains != 1 {
			t.Errorf("one of them is dead: %+v", s)
		}
		r.wantLog("one of them is dead", `level=INFO msg="split brain is over" pool=db`,
			`level=WARN msg="backend down" pool=db backend=pg2 reason="nobody home" cause=failed failures=3`)

		pg1.primary(3)
		after(time.Second)
		r.wantUp("the old primary was promoted after all", "db", "pg1")
		pg2.primary(2)
		after(10 * time.Second)
		r.wantUp("and the other is stale now", "db", "pg1")
		if s := r.PoolStatus(r.pool); !s.SplitBrain || s.SplitBrains != 2 {
			t.Errorf("two primaries again: %+v", s)
		}
		pg2.replica(0)
		after(2 * time.Second)
		if s := r.PoolStatus(r.pool); s.SplitBrain || s.SplitBrains != 2 {
			t.Errorf("repaired: %+v", s)
		}
	})
}

// Of two primaries that are there when sluice starts, the first to answer may be the wrong one.
func TestStartIntoASplitBrain(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	for range 20 {
		inBubble(t, specs, func(r *rig) {
			prepare(r)
			r.servers["pg2"].primary(2)
		}, func(r *rig) {
			for range 300 {
				after(time.Millisecond)
				if r.backend("pg1").Stats().Up {
					t.Fatal("the stale primary is up")
				}
			}
			r.wantUp("after the first probes", "db", "pg2")
		})
	}
}

func TestStartWithASilentServer(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, func(r *rig) {
		prepare(r)
		r.servers["pg2"].fallSilent()
	}, func(r *rig) {
		after(900 * time.Millisecond)
		r.wantUp("before the timeout", "db", "")
		r.wantReason("db", "pg1", "claims to be primary, and waits until pg2 has been checked too")
		after(300 * time.Millisecond)
		r.wantUp("after the timeout", "db", "pg1")
	})
}

func TestEqualTimelines(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		pg2 := r.servers["pg2"]
		pg2.primary(1)
		after(2 * time.Second)
		r.wantUp("both are primary on timeline 1", "db", "")
		r.wantReason("db", "pg1", "claims to be primary on timeline 1, and so does pg2")
		r.wantReason("db", "pg2", "claims to be primary on timeline 1, and so does pg1")
		if s := r.PoolStatus(r.pool); !s.SplitBrain {
			t.Error("no split brain")
		}
		if log := r.logged(); !strings.Contains(log, "sessions_go_to=none") {
			t.Errorf("log %s", log)
		}
		pg2.set(errDead)
		after(2 * time.Second)
		r.wantUp("one of them is dead", "db", "pg1")
		pg2.primary(1)
		after(6 * time.Second)
		r.wantUp("both again", "db", "")
		r.backend("pg2").SetAdmin(pool.Maint)
		after(time.Second)
		r.wantUp("the operator has decided", "db", "pg1")
		if s := r.PoolStatus(r.pool); s.SplitBrain || s.SplitBrains != 2 {
			t.Errorf("the operator has decided: %+v", s)
		}
		r.backend("pg2").SetAdmin(pool.Ready)
		if !r.backend("pg1").Usable() || r.backend("pg2").Usable() {
			t.Error("two primaries are usable as soon as one is back from maintenance")
		}
		after(time.Second)
		r.wantUp("both again", "db", "")
	})
}

func TestPreferReplica(t *testing.T) {
	specs, prepare := cluster(RolePreferReplica)
	inBubble(t, specs, prepare, func(r *rig) {
		f := func(when, up string, backups ...string) {
			t.Helper()
			r.wantUp(when, "db", up)
			var got []string
			for _, b := range r.pool.Backends() {
				if b.Stats().Backup {
					got = append(got, b.Name())
				}
			}
			if strings.Join(got, " ") != strings.Join(backups, " ") {
				t.Errorf("%s: backups %q, want %q", when, got, backups)
			}
		}
		f("before the first probe", "")
		after(time.Second)
		f("at first", "pg1 pg2", "pg1")
		r.servers["pg2"].set(errDead)
		after(5 * time.Second)
		f("without a replica", "pg1", "pg1")
		r.servers["pg2"].replica(0)
		after(10 * time.Second)
		f("with one again", "pg1 pg2", "pg1")
		r.servers["pg1"].replica(0)
		r.servers["pg2"].primary(2)
		after(2 * time.Second)
		f("switched over", "pg1 pg2", "pg2")
		r.servers["pg2"].set(errDead)
		after(5 * time.Second)
		f("without a primary", "pg1", "pg2")
		r.servers["pg2"].replica(0)
		after(10 * time.Second)
		f("two replicas", "pg1 pg2")
	})
}

func TestConfiguredBackupStaysOne(t *testing.T) {
	specs, prepare := cluster(RoleReplica)
	inBubble(t, specs, prepare, func(r *rig) {
		after(10 * time.Second)
		for _, b := range r.pool.Backends() {
			if b.Stats().Backup {
				t.Errorf("%s is a backup", b.Name())
			}
		}
	})
	b := &member{pool: &poolWatch{cfg: postgres(RolePreferReplica)}, backup: true, tier: true}
	b.backend = newPool(t, "db", "pg1").Backends()[0]
	b.backend.SetBackup(true)
	b.target = &target{}
	m := &Monitor{logger: slog.New(slog.DiscardHandler)}
	m.enact(b, verdict{up: true}, time.Now())
	if !b.backend.Backup() {
		t.Error("a replica that is configured as a backup is none any more")
	}
}

func TestMaxLag(t *testing.T) {
	cfg := postgres(RoleReplica)
	cfg.MaxLag = 10 * time.Second
	prepare := func(r *rig) {
		r.servers["pg1"].replica(0)
		r.servers["pg2"].replica(time.Hour)
		r.servers["pg3"].replica(0)
	}
	inBubble(t, []spec{{"ro", "pg1 pg2 pg3", cfg}}, prepare, func(r *rig) {
		after(time.Second)
		r.wantUp("the first answer decides alone", "ro", "pg1 pg3")
		r.wantReason("ro", "pg2", "lags 1h0m0s, the limit is 10s")
		want := `level=WARN msg="backend down" pool=ro backend=pg2 ` +
			`reason="lags 1h0m0s, the limit is 10s" cause=lagging role=replica`
		if log := r.logged(); !strings.Contains(log, want) {
			t.Errorf("log\n%s\nwithout\n%s", log, want)
		}

		pg1 := r.servers["pg1"]
		pg1.replica(11 * time.Second)
		after(1700 * time.Millisecond) // 2 of 3
		r.wantUp("after 2 lags of 3", "ro", "pg1 pg3")
		after(500 * time.Millisecond)
		r.wantUp("after 3 lags", "ro", "pg3")
		pg1.replica(10 * time.Second)
		after(2 * time.Second)
		r.wantUp("after 1 answer in time", "ro", "pg3")
		r.wantReason("ro", "pg1", "lagged more than 10s, keeps up again, 1 of 2 checks so far")
		after(500 * time.Millisecond)
		r.wantUp("after 2 answers in time", "ro", "pg1 pg3")

		pg1.replica(-1)
		after(10 * time.Second)
		r.wantReason("ro", "pg1", "cannot tell how far it lags, the limit is 10s")

		r.servers["pg3"].set(errDead)
		after(5 * time.Second)
		r.servers["pg3"].replica(time.Minute)
		after(10 * time.Second)
		r.wantUp("pg3 is back, far behind, and so are all", "ro", "pg1 pg2 pg3")

		pg1.replica(0)
		after(10 * time.Second)
		r.wantUp("pg1 has caught up", "ro", "pg1")
		r.backend("pg1").SetAdmin(pool.Maint)
		after(time.Second)
		pg1.replica(time.Hour)
		r.backend("pg1").SetAdmin(pool.Ready)
		after(time.Second)
		r.wantUp("pg1 is back from maintenance, far behind", "ro", "pg1 pg2 pg3")
	})
}

// An old primary that becomes a replica is judged by its lag from its first answer on.
func TestLagOfANewReplica(t *testing.T) {
	cfg := postgres(RolePreferReplica)
	cfg.MaxLag = 10 * time.Second
	inBubble(t, []spec{{"ro", "pg1 pg2", cfg}}, func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].replica(time.Minute)
	}, func(r *rig) {
		after(time.Second)
		r.wantUp("at first", "ro", "pg1")
		r.servers["pg1"].replica(time.Minute)
		after(2 * time.Second)
		r.wantUp("replicas that lag, and no primary", "ro", "pg1 pg2")
		r.servers["pg1"].primary(2)
		after(2 * time.Second)
		r.wantUp("a primary does not lag", "ro", "pg1")
	})
}

func TestRoleWords(t *testing.T) {
	for i, word := range Roles() {
		var r Role
		if err := r.UnmarshalText([]byte(word)); err != nil || r != Role(i) || r.String() != word {
			t.Errorf("%q is read as %v, %v", word, r, err)
		}
	}
	r := RoleReplica
	const unknown = `unknown role "master": want any, primary, replica, prefer_replica`
	if err := r.UnmarshalText([]byte("master")); err == nil || err.Error() != unknown || r != RoleReplica {
		t.Errorf("an unknown word: %v, role %v", err, r)
	}
	if got := Role(9).String(); got != "Role(9)" {
		t.Errorf("no role is %q", got)
	}
}
