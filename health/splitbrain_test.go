package health

import (
	"testing"
	"time"

	"sluice/health/probe"
)

// A server that misses one check has not given up its claim.
func TestSplitBrainDoesNotFlap(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, func(r *rig) {
		prepare(r)
		r.servers["pg2"].primary(2)
	}, func(r *rig) {
		pg1 := r.servers["pg1"]
		after(4 * time.Second)
		r.logged()
		for range 10 {
			pg1.set(errDead)
			for r.Status(r.backend("pg1")).Failures == 0 {
				after(time.Millisecond)
			}
			if s := r.PoolStatus(r.pool); s != (PoolStatus{SplitBrain: true, SplitBrains: 1}) {
				t.Errorf("after one missed check: %+v", s)
			}
			pg1.set(nil)
			after(3 * time.Second)
		}
		if s := r.PoolStatus(r.pool); s != (PoolStatus{SplitBrain: true, SplitBrains: 1}) {
			t.Errorf("after ten missed checks: %+v", s)
		}
		r.wantLog("all the time")
		pg1.set(errDead)
		after(5 * time.Second)
		if s := r.PoolStatus(r.pool); s != (PoolStatus{SplitBrain: false, SplitBrains: 1}) {
			t.Errorf("one is dead: %+v", s)
		}
	})
}

// A sluice that starts while the primary is silent learns from the primary's replica that another one is stale.
func TestStartWithAStalePrimary(t *testing.T) {
	specs := []spec{{"db", "pg1 pg2 pg3", postgres(RolePrimary)}}
	inBubble(t, specs, func(r *rig) {
		r.servers["pg1"].primary(1)
		r.servers["pg2"].fallSilent()
		r.servers["pg3"].say(probe.DatabaseAnswer{System: 7, Timeline: 2})
	}, func(r *rig) {
		for range 600 {
			after(10 * time.Millisecond)
			if r.backend("pg1").Stats().Up {
				t.Fatal("the stale primary is up")
			}
		}
		r.wantReason("db", "pg1", "stale: claims to be primary on timeline 1, timeline 2 was seen on pg3")
		if s := r.Status(r.backend("pg3")); s.Timeline != 2 || s.Role != "replica" {
			t.Errorf("status of the replica: %+v", s)
		}
		r.servers["pg3"].set(errDead)
		after(10 * time.Second)
		r.wantUp("the replica is dead too", "db", "")
		r.servers["pg2"].primary(2)
		after(10 * time.Second)
		r.wantUp("the primary is back", "db", "pg2")
	})
}

// A server that is of another cluster each time fills no memory, and does not make the pool forget its own.
func TestTimelinesAreBounded(t *testing.T) {
	seen := make(timelines)
	silent := fact{name: "pg1", answer: &probe.DatabaseAnswer{System: 7, Timeline: 5}, current: true}
	seen.learn([]fact{silent})
	silent.current = false
	for system := range uint64(10 * mostClusters) {
		hostile := fact{name: "pg2", answer: &probe.DatabaseAnswer{System: 100 + system, Timeline: 1}, current: true}
		seen.learn([]fact{silent, hostile})
		if len(seen) > mostClusters {
			t.Fatalf("%d clusters are remembered", len(seen))
		}
		if seen[7] != (Sighting{5, "pg1"}) || seen[100+system].Timeline != 1 {
			t.Fatalf("forgotten: %v", seen)
		}
	}
}
