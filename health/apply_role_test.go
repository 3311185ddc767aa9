package health

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// asked returns settings for servers of a role that are asked in another way.
func asked(role Role, user string) Config {
	c := postgres(role)
	c.Probe.Postgres.User = user
	return c
}

// The primary stays it when it is to be asked in another way, and another one takes over as ever.
func TestApplyToAPrimary(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(3 * time.Second)
		r.logged()
		r.apply(spec{"db", "pg1 pg2", asked(RolePrimary, "monitor")})
		r.wantUp("not asked yet", "db", "pg1")
		if s := r.Status(r.backend("pg1")); s.Role != "primary" || s.Timeline != 1 || s.Failures+s.Successes != 0 {
			t.Errorf("status %+v", s)
		}
		r.servers["pg2"].primary(2)
		for range 20 {
			after(100 * time.Millisecond)
			if n := r.pool.Usable(); n > 1 {
				t.Errorf("%d are usable", n)
			}
		}
		r.wantUp("promoted meanwhile", "db", "pg2")
		r.wantReason("db", "pg1", "claims to be primary on timeline 1, pg2 is on timeline 2")
	})
}

// Of a server that is not asked as a database any more no role is known.
func TestApplyEndsRoles(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(3 * time.Second)
		for _, s := range r.servers {
			s.mu.Lock()
			s.answer = nil
			s.mu.Unlock()
		}
		r.apply(spec{"db", "pg1 pg2", steady()})
		after(3 * time.Second)
		r.wantUp("asked whether they answer", "db", "pg1 pg2")
		if s := r.Status(r.backend("pg1")); s.Role != "" || s.Timeline != 0 {
			t.Errorf("status %+v", s)
		}
		r.servers["pg2"].primary(2)
		r.apply(spec{"db", "pg1 pg2", postgres(RolePrimary)})
		after(10 * time.Second)
		r.wantUp("asked as databases again", "db", "pg2")
		r.wantReason("db", "pg1", "does not say whether it is a primary or a replica")
	})
}

// A question that no server answers takes the primary down when it has failed as often as it may.
func TestApplyABadQuestion(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, prepare, func(r *rig) {
		after(3 * time.Second)
		for _, s := range r.servers {
			s.set(errDead)
		}
		r.apply(spec{"db", "pg1 pg2", asked(RolePrimary, "nobody")})
		after(firstWithin + 500*time.Millisecond)
		r.wantUp("after two failures", "db", "pg1")
		if s := r.Status(r.backend("pg1")); s.Role != "primary" || s.Failures != 2 {
			t.Errorf("status after two failures: %+v", s)
		}
		after(500 * time.Millisecond)
		r.wantUp("after three", "db", "")
		r.servers["pg1"].primary(1)
		r.servers["pg2"].replica(0)
		after(10 * time.Second)
		r.wantUp("mended", "db", "pg1")
	})
}

// The highest timeline is not forgotten, whatever is changed.
func TestApplyKeepsTimelines(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, func(r *rig) { prepare(r); r.servers["pg2"].primary(5) }, func(r *rig) {
		after(3 * time.Second)
		r.wantUp("at first", "db", "pg2")
		r.servers["pg2"].set(errDead)
		r.servers["pg1"].primary(4)
		off := steady()
		off.Probe.Kind = probe.Off
		for _, c := range []Config{asked(RolePrimary, "x"), off, steady(), asked(RoleAny, "y"), postgres(RolePrimary)} {
			r.apply(spec{"db", "pg1 pg2", c})
			after(10 * time.Second)
		}
		r.wantUp("in the end", "db", "")
		r.wantReason("db", "pg1", "stale: claims to be primary on timeline 4, timeline 5 was seen on pg2")
	})
}

// A pool that took any server and wants the primary from now on does not guess which of two it is.
func TestApplyBeginsToElect(t *testing.T) {
	f := func(when string, from, to Config, prepare func(r *rig), want string) {
		t.Helper()
		inBubble(t, []spec{{"db", "db1 db2", from}}, prepare, func(r *rig) {
			after(3 * time.Second)
			r.wantUp("at first", "db", "db1 db2")
			r.apply(spec{"db", "db1 db2", to})
			for range 20 {
				if n := r.pool.Usable(); n > 1 {
					t.Errorf("%s: %d are usable", when, n)
				}
				after(100 * time.Millisecond)
			}
			r.wantUp(when, "db", want)
		})
	}
	f("two writers", mysql(RoleAny), mysql(RolePrimary), func(r *rig) {
		r.servers["db1"].writable(1, 0, false)
		r.servers["db2"].writable(2, 0, false)
	}, "")
	f("a writer", mysql(RoleAny), mysql(RolePrimary), func(r *rig) {
		r.servers["db1"].readOnly(1, 2)
		r.servers["db2"].writable(2, 0, false)
	}, "db2")
	f("two primaries", postgres(RoleAny), postgres(RolePrimary), func(r *rig) {
		r.servers["db1"].primary(1)
		r.servers["db2"].primary(1)
	}, "")
	f("a stale one", postgres(RoleAny), postgres(RolePrimary), func(r *rig) {
		r.servers["db1"].primary(1)
		r.servers["db2"].primary(2)
	}, "db2")
	f("asked for the first time", steady(), postgres(RolePrimary), func(r *rig) {
		r.servers["db1"].primary(1)
		r.servers["db2"].replica(0)
	}, "db1")
}

// The only one that is up stays it while nobody knows better.
func TestApplyBeginsToElectTheOnlyOne(t *testing.T) {
	inBubble(t, []spec{{"db", "pg1 pg2", steady()}}, func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].set(errDead)
	}, func(r *rig) {
		after(3 * time.Second)
		r.apply(spec{"db", "pg1 pg2", postgres(RolePrimary)})
		for range 20 {
			r.wantUp("all the time", "db", "pg1")
			after(100 * time.Millisecond)
		}
	})
}

// Replicas that lag are known, and spared, through an Apply; without a limit nobody lags.
func TestApplyMaxLag(t *testing.T) {
	lag := func(c Config, d time.Duration) Config { c.MaxLag = d; return c }
	inBubble(t, []spec{{"ro", "pg1 pg2", lag(postgres(RoleReplica), time.Second)}}, func(r *rig) {
		r.servers["pg1"].replica(time.Minute)
		r.servers["pg2"].primary(1)
	}, func(r *rig) {
		after(3 * time.Second)
		r.wantUp("spared", "ro", "pg1")
		r.logged()
		r.apply(spec{"ro", "pg1 pg2", lag(asked(RoleReplica, "x"), time.Second)})
		r.wantUp("spared", "ro", "pg1")
		if !r.PoolStatus(r.pool).AllLag {
			t.Error("the pool has forgotten that all lag")
		}
		r.wantLog("nothing is new")
		r.apply(spec{"ro", "pg1 pg2", asked(RoleReplica, "x")})
		after(10 * time.Second)
		r.wantUp("no limit", "ro", "pg1")
		if r.PoolStatus(r.pool).AllLag {
			t.Error("all lag without a limit")
		}
	})
}

// Whatever servers and operator do, and however the pool is changed meanwhile: no two backends are usable at a time while
// it wants the primary, and no timeline is forgotten.
func TestAtMostOneUsablePrimaryWhileApplied(t *testing.T) {
	names := strings.Fields("pg1 pg2 pg3")
	inBubble(t, []spec{{"rw", "pg1 pg2 pg3", postgres(RolePrimary)}}, nil, func(r *rig) {
		random := rand.New(rand.NewPCG(3, 4))
		usable, kept, best := 0, 0, uint32(0)
		cfg := postgres(RolePrimary)
		for n := range 1500 {
			name := names[random.IntN(3)]
			s := r.servers[name]
			switch random.IntN(12) {
			case 0:
				s.set(errDead)
			case 1:
				s.fallSilent()
			case 2, 3:
				s.replica(0)
			case 4, 5, 6, 7:
				s.primary(uint32(1 + n/100 + random.IntN(3)))
			case 8:
				r.backend(name).SetAdmin(pool.AdminState(random.IntN(3)))
			default:
				before := r.pool.Usable()
				cfg = r.random(random, cfg)
				specs := []spec{{"rw", "pg1 pg2 pg3", cfg}}
				if random.IntN(2) == 0 {
					specs = append(specs, spec{"all", "pg1 pg2", asked(RoleAny, "b")})
				}
				r.apply(specs...)
				if cfg.elects() && before == 1 && r.pool.Usable() == 1 {
					kept++
				}
			}
			for range random.IntN(20) {
				if n := r.pool.Usable(); n > 1 && cfg.elects() {
					t.Fatalf("step %d: %d backends are usable", n, n)
				} else if cfg.elects() {
					usable += n
				}
				after(100 * time.Millisecond)
			}
			r.mu.Lock()
			timeline := r.Monitor.pools[0].seen[7].Timeline
			r.mu.Unlock()
			if timeline < best {
				t.Fatalf("timeline %d was seen, now %d", best, timeline)
			}
			best = timeline
		}
		if usable < 500 || kept < 15 {
			t.Errorf("%d times a backend was usable, and stayed so through %d changes: the play is too dull", usable, kept)
		}
	})
}

// random returns settings of a pool that differ from those before in one thing.
func (r *rig) random(random *rand.Rand, c Config) Config {
	switch random.IntN(6) {
	case 0:
		c.Probe.Kind, c.Role = probe.TCP, RoleAny
	case 1:
		c.Role = RoleAny
	case 2:
		c.Fall = 1 + random.IntN(4)
	case 3:
		c.Interval = time.Duration(1+random.IntN(4)) * time.Second
	default:
		c.Probe.Kind, c.Role, c.Probe.Postgres.User = probe.Postgres, RolePrimary, fmt.Sprint(random.IntN(3))
	}
	return c
}
