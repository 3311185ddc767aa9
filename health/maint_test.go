package health

import (
	"testing"
	"time"

	"sluice/pool"
)

func TestMaintIsNotProbed(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a, b := r.servers["a"], r.backend("a")
		after(time.Second)
		b.SetAdmin(pool.Maint)
		a.set(errDead)
		after(time.Minute)
		if n := len(a.times()); n != 1 {
			t.Errorf("probed %d times, want only the one before maintenance", n)
		}
		r.wantUp("in maintenance", "web", "a b")
		b.SetAdmin(pool.Ready)
		after(adminInterval)
		r.wantUp("after the first probe since maintenance", "web", "b")
		b.SetAdmin(pool.Maint)
		after(time.Minute)
		a.set(nil)
		b.SetAdmin(pool.Ready)
		after(adminInterval)
		r.wantUp("after the first probe since maintenance", "web", "a b")
	})
}

func TestMaintFromTheStart(t *testing.T) {
	inBubble(t, web("a"), func(r *rig) { r.backend("a").SetAdmin(pool.Maint) }, func(r *rig) {
		after(time.Minute)
		if n := len(r.servers["a"].times()); n != 0 {
			t.Errorf("probed %d times, want not at all", n)
		}
		r.servers["a"].set(errDead)
		r.backend("a").SetAdmin(pool.Ready)
		after(adminInterval)
		r.wantUp("after the first probe", "web", "")
	})
}

// A probe that was under way when maintenance began says nothing about the server that comes back from it.
func TestProbeAcrossMaintenance(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a, b := r.servers["a"], r.backend("a")
		after(time.Second)
		a.fallSilent()
		after(1200 * time.Millisecond) // a probe is in flight for a second
		b.SetAdmin(pool.Maint)
		after(adminInterval)
		a.set(nil)
		b.SetAdmin(pool.Ready)
		after(adminInterval)
		after(2 * time.Second)
		r.wantUp("later", "web", "a b")
		if s := r.Status(b); s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// The same when the old probe fails after the return, before the new one is answered.
func TestLateFailureAfterMaintenance(t *testing.T) {
	cfg := steady()
	cfg.Timeout = 3 * time.Second
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		a, b := r.servers["a"], r.backend("a")
		after(time.Second)
		a.fallSilent()
		after(1200 * time.Millisecond)
		b.SetAdmin(pool.Maint)
		after(adminInterval)
		a.set(nil)
		a.delay = 2500 * time.Millisecond
		b.SetAdmin(pool.Ready)
		for range 500 {
			after(10 * time.Millisecond)
			r.wantUp("all the time", "web", "a b")
		}
	})
}

func TestProbeThatFailsDuringMaintenance(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a, b := r.servers["a"], r.backend("a")
		after(time.Second)
		a.fallSilent()
		after(1200 * time.Millisecond)
		b.SetAdmin(pool.Maint)
		after(10 * time.Second)
		r.wantUp("in maintenance", "web", "a b")
		if s := r.Status(b); s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// A target that another pool wants goes on, and what it finds holds for the one that comes back.
func TestMaintOfASharedTarget(t *testing.T) {
	specs := []spec{{"rw", "pg1 pg2", postgres(RolePrimary)}, {"all", "pg1 pg2", postgres(RoleAny)}}
	prepare := func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].replica(0)
	}
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		rw := r.backend("pg1")
		r.sessions.open(rw, 20)
		rw.SetAdmin(pool.Maint)
		before := len(r.servers["pg1"].times())
		after(10 * time.Second)
		if n := len(r.servers["pg1"].times()) - before; n < 4 || n > 6 {
			t.Errorf("probed %d times in 10 s, want the other pool's 5 probes", n)
		}
		r.wantUp("in maintenance", "rw", "")
		r.wantUp("in maintenance", "all", "pg1 pg2")
		r.wantReason("rw", "pg1", "in maintenance")
		if got := r.sessions.left(rw); got != 0 {
			t.Errorf("%d sessions are left in maintenance", got)
		}
		rw.SetAdmin(pool.Ready)
		after(adminInterval)
		r.wantUp("at once after maintenance", "rw", "pg1")
	})
}

func TestMaintOfAPrimary(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(time.Second)
		pg1 := r.backend("pg1")
		pg1.SetAdmin(pool.Maint)
		after(time.Minute)
		r.servers["pg1"].replica(0)
		pg1.SetAdmin(pool.Ready)
		if pg1.Usable() {
			t.Error("usable before it has been asked what it is")
		}
		after(10 * time.Second)
		r.wantUp("it is a replica now", "db", "")
	})
}

func TestMaintClosesSessions(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		after(time.Second)
		a := r.backend("a")
		r.sessions.open(a, 100)
		a.SetAdmin(pool.Maint)
		after(adminInterval + 990*time.Millisecond)
		if got := r.sessions.left(a); got < 48 || got > 52 {
			t.Errorf("%d sessions are left after a second, want about 50", got)
		}
		a.SetAdmin(pool.Ready)
		after(adminInterval)
		left := r.sessions.left(a)
		after(time.Minute)
		if got := r.sessions.left(a); got != left || got == 0 {
			t.Errorf("%d sessions are left, %d when it was back", got, left)
		}
	})
}

func TestDrainClosesNothing(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		after(time.Second)
		r.backend("a").SetAdmin(pool.Drain)
		after(time.Minute)
		r.wantDone("drained", "a")
	})
}
