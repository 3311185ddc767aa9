package health

import (
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
)

// writable makes the server one of MySQL that replicates from another one; 0 = from nobody.
func (s *server) writable(id, source uint64, connected bool) {
	s.say(probe.DatabaseAnswer{ID: id, System: id, Primary: true, Source: source, Connected: connected})
}

// readOnly makes the server a replica of MySQL that has replayed everything.
func (s *server) readOnly(id, source uint64) {
	s.say(probe.DatabaseAnswer{
		ID: id, System: source, Source: source, Connected: true, Has: 100, Whole: 100, Replayed: 100})
}

// mysql is steady for servers of a role.
func mysql(role Role) Config {
	c := steady()
	c.Probe.Kind, c.Role = probe.MySQL, role
	return c
}

// trio is a primary, db1, with two replicas, in a pool for writing and one for reading.
func trio() ([]spec, func(r *rig)) {
	ro := mysql(RoleReplica)
	ro.MaxLag = 10 * time.Second
	return []spec{{"rw", "db1 db2 db3", mysql(RolePrimary)}, {"ro", "db1 db2 db3", ro}}, func(r *rig) {
		r.servers["db1"].writable(1, 0, false)
		r.servers["db2"].readOnly(2, 1)
		r.servers["db3"].readOnly(3, 1)
	}
}

func TestWriterFailover(t *testing.T) {
	specs, prepare := trio()
	inBubble(t, specs, prepare, func(r *rig) {
		after(2 * time.Second)
		r.wantUp("at first", "rw", "db1")
		r.wantUp("at first", "ro", "db2 db3")
		r.wantReason("ro", "db1", "is the primary, the pool wants replicas")
		r.logged()
		r.servers["db1"].set(errDead)
		after(time.Minute)
		r.wantUp("the primary is dead", "rw", "")
		r.wantUp("the primary is dead", "ro", "db2 db3")
		r.servers["db2"].writable(2, 1, false) // its replication still tries to connect
		after(2 * time.Second)
		r.wantUp("db2 is made writable", "rw", "db2")
		r.wantReason("rw", "db1", "db2 is the primary now, and this one does not answer: nobody home")
		r.servers["db2"].writable(2, 0, false)
		r.servers["db3"].readOnly(3, 2)
		after(10 * time.Second)
		r.wantUp("replication is sorted out", "ro", "db3")
		if log := r.logged(); strings.Contains(log, "ERROR") || strings.Contains(log, "timeline") {
			t.Errorf("log\n%s", log)
		}
		// An old primary comes back that has forgotten to be read_only.
		r.servers["db1"].writable(1, 0, false)
		after(20 * time.Second)
		r.wantUp("the old primary is back", "rw", "db2")
		r.wantReason("rw", "db1", "is writable, and db2 was the primary before it came back")
		if log := r.logged(); !strings.Contains(log, `level=ERROR msg="split brain: db1 and db2 both claim to be the primary" `+
			`pool=rw reason="db1 is writable, with server_id 1, db2 is writable, with server_id 2" sessions_go_to=db2`) {
			t.Errorf("log\n%s", log)
		}
		r.servers["db1"].readOnly(1, 2)
		after(5 * time.Second)
		r.wantUp("it is a replica now", "ro", "db1 db3")
	})
}

func TestTwoWriters(t *testing.T) {
	specs, prepare := trio()
	inBubble(t, specs, prepare, func(r *rig) {
		after(2 * time.Second)
		r.servers["db2"].writable(2, 0, false)
		after(3 * time.Second)
		r.wantUp("somebody has promoted a second one", "rw", "")
		r.wantReason("rw", "db1", "is writable, and so is db2: set read_only on one of them")
		if !r.PoolStatus(r.pool).SplitBrain {
			t.Error("no split brain")
		}
		r.servers["db1"].readOnly(1, 2)
		after(3 * time.Second)
		r.wantUp("one is read_only", "rw", "db2")
	})
	inBubble(t, specs, func(r *rig) {
		prepare(r)
		r.servers["db2"].writable(2, 0, false)
	}, func(r *rig) {
		after(5 * time.Second)
		r.wantUp("two from the start", "rw", "")
		r.servers["db1"].set(errDead)
		after(5 * time.Second)
		r.wantUp("one of them is dead", "rw", "db2")
	})
}

// A replica whose read_only was forgotten is no primary, not even when its source is gone.
func TestForgottenReadOnly(t *testing.T) {
	specs, prepare := trio()
	for range 10 { // in whatever order they are asked
		inBubble(t, specs, func(r *rig) {
			prepare(r)
			r.servers["db2"].writable(2, 1, true)
		}, func(r *rig) {
			after(time.Second)
			r.wantUp("at first", "rw", "db1")
			if log := r.logged(); strings.Contains(log, "split") {
				t.Errorf("log\n%s", log)
			}
			if s := r.Status(r.backend("db2")); s.Role != "replica" {
				t.Errorf("db2 is a %s", s.Role)
			}
			r.servers["db1"].set(errDead)
			r.servers["db2"].writable(2, 1, false)
			after(20 * time.Second)
			r.wantUp("its source is gone", "rw", "")
			r.servers["db2"].writable(2, 0, false)
			after(2 * time.Second)
			r.wantUp("its replication has been ended", "rw", "db2")
		})
	}
}

// Two servers that replicate from each other: the one that is not read_only is the primary.
func TestCircularReplication(t *testing.T) {
	specs, prepare := trio()
	inBubble(t, specs, func(r *rig) {
		prepare(r)
		r.servers["db1"].writable(1, 2, true)
	}, func(r *rig) {
		after(3 * time.Second)
		r.wantUp("at first", "rw", "db1")
		r.servers["db1"].readOnly(1, 2)
		after(2 * time.Second)
		r.wantUp("both are read_only", "rw", "")
		r.servers["db2"].writable(2, 1, true)
		after(2 * time.Second)
		r.wantUp("switched over", "rw", "db2")
	})
}

// A source outside of the pool says nothing about who is the primary in it.
func TestSourceOutside(t *testing.T) {
	specs, prepare := trio()
	inBubble(t, specs, func(r *rig) {
		prepare(r)
		r.servers["db1"].writable(1, 99, true)
	}, func(r *rig) {
		after(3 * time.Second)
		r.wantUp("it replicates from elsewhere", "rw", "db1")
	})
}

func TestReplicaInTrouble(t *testing.T) {
	specs, prepare := trio()
	inBubble(t, specs, prepare, func(r *rig) {
		after(2 * time.Second)
		r.servers["db3"].say(probe.DatabaseAnswer{ID: 3, System: 1, Source: 1, Trouble: "its replication is stopped"})
		after(10 * time.Second)
		r.wantUp("the replication of db3 is stopped", "ro", "db2")
		r.wantReason("ro", "db3", "its replication is stopped")
		r.servers["db2"].set(errDead)
		after(10 * time.Second)
		r.wantUp("nobody else is left", "ro", "db3")
	})
}

// Of several writable servers, the one that was the primary stays it (+), but not when another was made writable (!).
func TestElectWriter(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var facts []fact
		for name := range strings.FieldsSeq(text) {
			one := factOf(name[:1] + " up primary")
			one.before.up, one.promoted = strings.Contains(name, "+"), strings.Contains(name, "!")
			facts = append(facts, one)
		}
		up := ""
		for i, v := range judge(mysql(RolePrimary), facts, timelines{}) {
			if v.up {
				up += facts[i].name
			}
			if v.up != (v.reason == "") {
				t.Errorf("%s: %+v", text, v)
			}
		}
		if up != want {
			t.Errorf("%s: %q is up, want %q", text, up, want)
		}
	}
	f("a", "a")
	f("a!", "a")
	f("a b", "")
	f("a+ b", "a")
	f("a+! b", "a")
	f("a+ b!", "")
	f("a! b!", "")
	f("a b+ c", "b")
	f("a b+ c!", "")
}

// A primary that may not tell how far its log goes leaves it to the replicas to tell what they have received.
func TestWriterWithoutPosition(t *testing.T) {
	specs, prepare := trio()
	inBubble(t, specs, func(r *rig) {
		prepare(r)
		r.servers["db2"].say(probe.DatabaseAnswer{ID: 2, System: 1, Source: 1, Connected: true,
			Has: 100, Whole: 100, Replayed: 50, Age: time.Minute, AgeKnown: true})
	}, func(r *rig) {
		after(5 * time.Second)
		r.wantUp("db2 lags", "ro", "db3")
	})
}
