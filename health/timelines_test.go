package health

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/health/probe"
)

// restored returns timelines as a process before this one has written them.
func restored(t *testing.T, text string) (known Timelines) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &known); err != nil {
		t.Fatal(err)
	}
	return known
}

// After a restart an old primary is not taken for the primary, although the better one is not there to say so.
func TestTimelinesOutliveTheProcess(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	var written string
	inBubble(t, append(specs, spec{"web", "a", steady()}), func(r *rig) { prepare(r); r.servers["pg2"].primary(5) }, func(r *rig) {
		if known := r.Timelines(); !known.Empty() {
			t.Errorf("%v is known before the first check", known)
		}
		after(3 * time.Second)
		text, err := json.Marshal(r.Timelines())
		if err != nil {
			t.Fatal(err)
		}
		written = string(text)
	})
	const want = `{"db":{"7":{"timeline":5,"backend":"pg2"}}}`
	if written != want {
		t.Fatalf("written %s, want %s", written, want)
	}
	f := func(when string, restore func(r *rig, known Timelines)) {
		t.Helper()
		old := func(r *rig) { prepare(r); r.servers["pg1"].primary(4); r.servers["pg2"].set(errDead) }
		inBubble(t, specs, func(r *rig) {
			old(r)
			if restore == nil {
				r.Restore(restored(t, written))
			}
		}, func(r *rig) {
			if restore != nil {
				restore(r, restored(t, written))
			}
			after(10 * time.Second)
			r.wantUp(when, "db", "")
			r.wantReason("db", "pg1", "stale: claims to be primary on timeline 4, timeline 5 was seen on pg2")
			r.servers["pg1"].primary(6)
			after(10 * time.Second)
			r.wantUp(when+", and promoted", "db", "pg1")
		})
	}
	f("before the first check", nil)
	f("after it", func(r *rig, known Timelines) {
		after(3 * time.Second)
		r.wantUp("before", "db", "pg1")
		r.Restore(known)
		r.wantUp("at once", "db", "")
	})
	f("before there is such a pool", func(r *rig, known Timelines) {
		r.apply(spec{"other", "a", steady()})
		delete(r.pools, "db")
		r.Restore(known)
		r.apply(specs...)
	})
}

// Whatever is restored, and in whatever order, nothing that is known is lowered.
func TestRestoreNeverLowers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		specs, _ := cluster(RolePrimary)
		r := newRig(t, append(specs, spec{"rw", "pg1", postgres(RolePrimary)}))
		highest := Timelines{"db": {}, "rw": {}}
		late := timelines{}
		for range 20 {
			system, timeline := uint64(random.IntN(3)), uint32(random.IntN(9))
			name := []string{"db", "rw", "late"}[random.IntN(3)]
			seen := timelines(highest[name])
			if name == "late" {
				seen = late
			}
			if timeline > 0 && timeline > seen[system].Timeline {
				seen[system] = Sighting{timeline, "pg1"}
			}
			if one := random.IntN(2); one == 0 || name == "late" {
				r.Restore(Timelines{name: {system: {timeline, "pg1"}}})
			} else {
				r.Monitor.member(r.pools[name].Backends()[0]).pool.seen.learn([]fact{{
					name: "pg1", current: true, answer: &probe.DatabaseAnswer{System: system, Timeline: timeline},
				}})
			}
			r.wantTimelines(highest)
		}
		if err := r.Apply(r.watched([]spec{{"late", "a", steady()}})); err != nil {
			t.Fatal(err)
		}
		r.wantTimelines(Timelines{"late": late})
	}
}

// wantTimelines checks what the monitor knows.
func (r *rig) wantTimelines(want Timelines) {
	r.t.Helper()
	got := r.Timelines()
	for name, seen := range want {
		if !maps.Equal(got[name], seen) {
			r.t.Fatalf("known of %s: %v, want %v", name, got[name], seen)
		}
	}
}

// A pool that goes and comes back, as another one of its name, knows what was seen. Meanwhile that is written down too.
func TestTimelinesOutliveThePool(t *testing.T) {
	specs, prepare := cluster(RolePrimary)
	inBubble(t, specs, func(r *rig) { prepare(r); r.servers["pg2"].primary(5) }, func(r *rig) {
		after(3 * time.Second)
		known := Timelines{"db": {7: {5, "pg2"}}}
		r.wantTimelines(known)
		r.apply(spec{"other", "a", steady()})
		delete(r.pools, "db")
		r.wantTimelines(known)
		r.servers["pg1"].primary(4)
		r.servers["pg2"].set(errDead)
		r.apply(specs...)
		after(10 * time.Second)
		r.wantUp("back", "db", "")
		for i := range 2 * mostPools {
			name := fmt.Sprintf("pool %d", i)
			r.Restore(Timelines{name: {7: {5, "pg2"}}})
			r.apply(spec{name, "a", steady()})
			delete(r.pools, name)
		}
		r.apply(spec{"other", "a", steady()})
		if n := len(r.Timelines()); n > mostPools {
			t.Errorf("timelines of %d pools are kept", n)
		}
	})
}
