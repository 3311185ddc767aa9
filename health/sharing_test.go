package health

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// Pools that ask the same share one probe, and each makes of the answer what it wants.
func TestPoolsShareProbes(t *testing.T) {
	other := postgres(RoleAny)
	other.Fall = 5
	specs := []spec{
		{"rw", "pg1 pg2", postgres(RolePrimary)}, {"ro", "pg1 pg2", postgres(RoleReplica)},
		{"any", "pg1 pg2", postgres(RoleAny)}, {"other", "pg1", other},
	}
	prepare := func(r *rig) {
		r.servers["pg1"].primary(3)
		r.servers["pg2"].replica(time.Second)
	}
	inBubble(t, specs, prepare, func(r *rig) {
		if a, b := r.servers["pg1"].probers, r.servers["pg2"].probers; a != 2 || b != 1 {
			t.Errorf("%d and %d probers, want 2 and 1", a, b)
		}
		r.wantUp("before the first probe", "rw", "")
		r.wantUp("before the first probe", "ro", "")
		r.wantUp("before the first probe", "any", "pg1 pg2")
		r.wantReason("rw", "pg1", "not checked yet")
		after(firstWithin)
		r.wantUp("after it", "rw", "pg1")
		r.wantUp("after it", "ro", "pg2")
		r.wantUp("after it", "any", "pg1 pg2")
		if n := len(r.servers["pg2"].times()); n != 1 {
			t.Errorf("pg2 was probed %d times, want once for three pools", n)
		}
		r.wantReason("rw", "pg2", "is a replica, the pool wants the primary")
		r.wantReason("ro", "pg1", "is the primary, the pool wants replicas")
		r.servers["pg2"].set(errDead)
		after(10 * time.Second)
		r.wantUp("pg2 is dead", "ro", "")
		r.wantUp("pg2 is dead", "any", "pg1")
		r.stop()
		for name, s := range r.servers {
			if s.closed != s.probers {
				t.Errorf("%s: %d of %d probers were closed", name, s.closed, s.probers)
			}
		}
	})
}

func TestBackendsOfOnePoolShareAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		address := pool.Address{Unix: "/a"}
		p, err := pool.New(pool.Config{Name: "web", Backends: []pool.BackendConfig{
			{Name: "x", Address: address, Weight: 1}, {Name: "y", Address: address, Weight: 1},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{lost: make(chan struct{}), err: errDead}
		var told []string
		m, err := New([]Watched{{Pool: p, Config: steady()}}, Options{
			NewProber: func(probe.Config, pool.Address) (probe.Prober, error) { s.probers++; return s, nil },
			OnProbe:   func(b *pool.Backend, _ time.Duration, err error) { told = append(told, b.Name()+" "+err.Error()) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		m.Run(ctx)
		if s.probers != 1 || p.Usable() != 0 || !slices.Equal(told, []string{"x nobody home", "y nobody home"}) {
			t.Errorf("%d probers, %d usable, told %q", s.probers, p.Usable(), told)
		}
	})
}
