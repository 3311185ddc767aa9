package health

import (
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// Backends come and go, and those that stay know nothing of it.
func TestApplyOtherBackends(t *testing.T) {
	cfg := with(func(c *Config) { c.OnDown.Failed = CloseRule{Close: true, Rate: 1} })
	inBubble(t, []spec{{"web", "a b c", cfg}}, func(r *rig) { r.servers["b"].set(errDead) }, func(r *rig) {
		a, b := r.backend("a"), r.backend("b")
		after(time.Second)
		r.sessions.open(a, 100)
		r.servers["a"].set(errDead)
		after(4 * time.Second)
		left := r.sessions.left(a)
		if left == 0 || left == 100 {
			t.Fatalf("%d sessions are left", left)
		}
		before, asked := r.Status(b), len(r.servers["b"].times())
		r.apply(spec{"web", "d b c", cfg})
		if r.Status(b) != before || len(r.servers["b"].times()) != asked || r.backend("b") != b {
			t.Errorf("b was %+v, and is %+v", before, r.Status(b))
		}
		r.wantOpen("a is gone", "a=0 b=1 c=1 d=1")
		r.wantUp("a is gone", "web", "d c")
		r.servers["d"].set(errDead)
		after(firstWithin)
		r.wantUp("after the first probe of d", "web", "c")
		after(time.Minute)
		got := r.sessions.left(a)
		if got < left-61 || got > left-59 {
			t.Errorf("%d sessions are left a minute after a was removed, and were %d then", got, left)
		}
		if s := r.Status(a); s != (Status{}) {
			t.Errorf("a is watched: %+v", s)
		}

		r.apply(spec{"web", "a b c", cfg}) // it has sessions still
		if r.backend("a") != a || r.Status(a).Up {
			t.Errorf("a came back as %+v", r.Status(a))
		}
		r.servers["a"].set(nil)
		after(firstWithin)
		r.wantUp("after the first probe of a", "web", "a c")
		after(time.Minute)
		if now := r.sessions.left(a); now != got {
			t.Errorf("%d sessions are left, %d when a came back", now, got)
		}
	})
}

// Ejections of backends that are gone are no part of those that there may be.
func TestApplyOtherBackendsAndEjections(t *testing.T) {
	inBubble(t, web("a b c d"), nil, func(r *rig) {
		a, b := r.backend("a"), r.backend("b")
		r.fail(a, 5)
		r.fail(b, 5)
		r.wantEjected(t, "two of four", true, true, false, false)
		r.apply(spec{"web", "b c d e", steady()})
		r.wantEjected(t, "b stays, a is gone", true, false, false, false)
		if a.Stats().Ejected {
			t.Error("a is ejected, and nobody is there to bring it back")
		}
		r.fail(r.backend("c"), 4)
		r.apply(spec{"web", "c b e", steady()})
		r.fail(r.backend("c"), 1)
		r.wantEjected(t, "one of three at most", false, true, false)
		after(30 * time.Second)
		r.wantEjected(t, "over", false, false, false)
		r.fail(r.backend("c"), 1)
		r.wantEjected(t, "five in a row within the window", false, false, false)
		r.fail(r.backend("c"), 5)
		r.wantEjected(t, "five more", true, false, false)
	})
}

// The primary stays it while its replicas are replaced, and what the old ones knew of the timeline is not forgotten.
func TestApplyOtherReplicas(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(3 * time.Second)
		r.logged()
		since := r.Status(r.backend("pg1")).Since
		r.apply(spec{"db", "pg3 pg1", postgres(RolePrimary)})
		r.servers["pg3"].replica(0)
		for range 30 {
			r.wantUp("all the time", "db", "pg1")
			after(100 * time.Millisecond)
		}
		if got := r.Status(r.backend("pg1")).Since; got != since {
			t.Errorf("up since %v, want %v", got, since)
		}
		r.servers["pg1"].set(errDead)
		r.servers["pg3"].primary(5)
		after(10 * time.Second)
		r.wantUp("promoted", "db", "pg3")
		r.servers["pg1"].primary(4)
		r.apply(spec{"db", "pg1 pg2", postgres(RolePrimary)})
		r.servers["pg2"].primary(4)
		after(10 * time.Second)
		r.wantUp("both are stale", "db", "")
		r.wantReason("db", "pg1", "stale: claims to be primary on timeline 4, timeline 5 was seen on pg3")
	})
}

// A primary that is not in the pool any more does not hold back the next one.
func TestApplyWithoutThePrimary(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(3 * time.Second)
		r.apply(spec{"db", "pg2", postgres(RolePrimary)})
		r.wantUp("a replica", "db", "")
		r.servers["pg2"].primary(2)
		after(time.Second)
		r.wantUp("promoted", "db", "pg2")
		if s := r.PoolStatus(r.pool); s != (PoolStatus{}) {
			t.Errorf("a split brain with one that is gone: %+v", s)
		}
	})
}

// A backend of which the configuration says that it is a backup is one, whatever its role made of it, and none any more
// when it says so no more.
func TestApplyOtherTiers(t *testing.T) {
	specs, prepare := cluster(RolePreferReplica)
	inBubble(t, specs, prepare, func(r *rig) {
		backups := func(when, want string) {
			t.Helper()
			var got []string
			for _, b := range r.pool.Backends() {
				if b.Backup() {
					got = append(got, b.Name())
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: backups %q, want %q", when, got, want)
			}
		}
		update := func(role Role, backups ...bool) {
			c := poolConfig("db", "pg1", "pg2")
			for i, backup := range backups {
				c.Backends[i].Backup = backup
			}
			if _, err := r.pool.Update(c); err != nil {
				t.Fatal(err)
			}
			if err := r.Apply([]Watched{{Pool: r.pool, Config: postgres(role)}}); err != nil {
				t.Fatal(err)
			}
		}
		after(3 * time.Second)
		backups("the primary", "pg1")
		update(RolePreferReplica, true, true)
		backups("both", "pg1 pg2")
		update(RolePreferReplica, false, true)
		backups("the primary, and one by configuration", "pg1 pg2")
		update(RolePreferReplica, false, false)
		backups("the primary again", "pg1")
		update(RoleAny, false, false)
		backups("of any role", "")
		update(RoleAny, true, false)
		backups("by configuration", "pg1")
		r.servers["pg1"].replica(0)
		after(10 * time.Second)
		backups("still", "pg1")
	})
}

// A backend that is in maintenance by its configuration is not probed from the start.
func TestApplyAddsOneInMaintenance(t *testing.T) {
	inBubble(t, web("a"), nil, func(r *rig) {
		r.servers["b"] = &server{lost: make(chan struct{})}
		c := poolConfig("web", "a", "b")
		c.Backends[1].State = pool.Maint
		if _, err := r.pool.Update(c); err != nil {
			t.Fatal(err)
		}
		r.apply(spec{"web", "a b", steady()})
		after(time.Minute)
		if n := len(r.servers["b"].times()); n != 0 {
			t.Errorf("b was probed %d times", n)
		}
		r.backend("b").SetAdmin(pool.Ready)
		after(adminInterval)
		if n := len(r.servers["b"].times()); n != 1 {
			t.Errorf("b was probed %d times when it was let in", n)
		}
	})
}

// A backend of which the pool has let in sessions before its first check, for want of others, is what checks say from then
// on.
func TestApplyLeavesUnproven(t *testing.T) {
	for _, dead := range []bool{false, true} {
		inBubble(t, web("a"), nil, func(r *rig) {
			after(time.Minute)
			for _, name := range []string{"b", "c"} {
				r.servers[name] = &server{lost: make(chan struct{})}
				r.servers[name].fallSilent()
			}
			c := poolConfig("web", "a", "b", "c")
			c.Backends[1].Unproven, c.Backends[2].Unproven = true, true
			for _, backends := range [][]pool.BackendConfig{c.Backends, c.Backends[1:2]} {
				c.Backends = backends
				if _, err := r.pool.Update(c); err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, b := range backends {
					names = append(names, b.Name)
				}
				r.apply(spec{"web", strings.Join(names, " "), steady()})
				r.wantUp("watched", "web", map[int]string{3: "a", 1: "b"}[len(backends)])
			}
			r.servers["b"].set(map[bool]error{false: nil, true: errDead}[dead])
			after(time.Minute)
			r.wantUp("checked", "web", map[bool]string{false: "b", true: ""}[dead])
		})
	}
}
