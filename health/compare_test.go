package health

import (
	"testing"
	"testing/synctest"

	"sluice/health/probe"
	"sluice/pool"
)

// reconfigure gives the first pool's backends other settings, in a pool that is watched as before.
func (r *rig) reconfigure(w Watched, change func(*pool.BackendConfig)) {
	r.t.Helper()
	c := poolConfig(r.pool.Name(), namesOf(r.pool)...)
	for i := range c.Backends {
		change(&c.Backends[i])
	}
	u, err := r.pool.Prepare(c)
	if err != nil {
		r.t.Fatal(err)
	}
	w.Pool, w.Backends = r.pool, u.Backends()
	p, err := r.Prepare([]Watched{w})
	if err != nil {
		r.t.Fatal(err)
	}
	u.Commit()
	p.Commit()
	synctest.Wait()
}

// A state that a pool was told to give its backends counts at once, although the monitor has nothing to change there.
func TestApplyHeedsStates(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		r.sessions.open(r.backend("a"), 10)
		set := func(state pool.AdminState) {
			r.reconfigure(Watched{Config: steady()}, func(c *pool.BackendConfig) {
				if c.Name == "a" {
					c.State = state
				}
			})
		}
		set(pool.Maint)
		r.wantDone("maint", "a", "redispatch", "end 1: 1")
		set(pool.Ready)
		asked := len(r.servers["a"].times())
		after(steady().FastInterval)
		if n := len(r.servers["a"].times()); n == asked || r.sessions.left(r.backend("a")) != 9 {
			t.Errorf("ready again: asked %d times, %d before, %d sessions", n, asked, r.sessions.left(r.backend("a")))
		}
	})
}

// The same for who is a backup: a primary that serves only in place of replicas is one by its role, whatever it was told.
func TestApplyHeedsTiers(t *testing.T) {
	cfg := postgres(RolePreferReplica)
	inBubble(t, []spec{{"ro", "pg1 pg2", cfg}}, func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].replica(0)
	}, func(r *rig) {
		after(firstWithin)
		f := func(when string, backup, wantPrimary, wantReplica bool) {
			t.Helper()
			if when != "at first" {
				r.reconfigure(Watched{Config: cfg}, func(c *pool.BackendConfig) { c.Backup = backup })
			}
			if p, q := r.backend("pg1").Backup(), r.backend("pg2").Backup(); p != wantPrimary || q != wantReplica {
				t.Errorf("%s: the primary is a backup: %v, the replica %v; want %v, %v", when, p, q, wantPrimary, wantReplica)
			}
		}
		f("at first", false, true, false)
		f("both are told to be backups", true, true, true)
		f("none is any more", false, true, false)
	})
}

// Of what stays as it is nothing is begun anew, whatever there is beside it; of a changed pool only what is new.
func TestCompare(t *testing.T) {
	other := steady()
	other.Rise = 5
	off := steady()
	off.Probe.Kind = probe.Off
	inBubble(t, []spec{{"web", "a b", steady()}, {"app", "b c", steady()}, {"off", "d", off}}, nil, func(r *rig) {
		f := func(want map[string]int, targets int, specs ...spec) {
			t.Helper()
			p, err := r.Prepare(r.watched(specs))
			if err != nil {
				t.Fatal(err)
			}
			p.plan.compare(r.Monitor.targets)
			for _, w := range p.plan.pools {
				name := w.watch.pool.Name()
				n, changed := want[name]
				if len(w.news) != n || w.stays == changed {
					t.Errorf("%s: %d members are news, it stays %v; want %d, %v", name, len(w.news), w.stays, n, !changed)
				}
			}
			for _, n := range p.plan.targets {
				if !n.stays {
					targets--
				}
			}
			if targets != 0 {
				t.Errorf("%d targets too few are news", targets)
			}
			p.Abandon()
			r.apply(specs...)
		}
		web, app, dark := spec{"web", "a b", steady()}, spec{"app", "b c", steady()}, spec{"off", "d", off}
		f(nil, 0, web, app, dark)
		f(nil, 1, dark, app, web) // the target of b has its members in another order
		f(map[string]int{"web": 1}, 1, dark, app, spec{"web", "a b e", steady()})
		f(map[string]int{"web": 0}, 0, dark, app, spec{"web", "b e", steady()}) // the target of a ends
		f(map[string]int{"web": 2}, 3, dark, app, spec{"web", "b e", other})    // b is asked in two ways
		f(map[string]int{"new": 2}, 2, dark, app, spec{"web", "b e", other}, spec{"new", "b f", other})
		f(map[string]int{"off": 1}, 1, spec{"off", "d", steady()}, app, spec{"web", "b e", other}, spec{"new", "b f", other})
	})
}
