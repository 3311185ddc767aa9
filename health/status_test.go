package health

import (
	"testing"
	"time"
)

func TestStatus(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		a := r.backend("a")
		if s := r.Status(a); s != (Status{Checked: true, Up: true, Since: r.start}) {
			t.Errorf("before the first probe: %+v", s)
		}
		after(5 * time.Second) // 3 probes
		times := r.servers["a"].times()
		want := Status{Checked: true, Up: true, Since: r.start, Successes: 3, LastProbe: times[2]}
		if s := r.Status(a); s != want {
			t.Errorf("after 3 probes: %+v, want %+v", s, want)
		}
		r.servers["a"].set(errDead)
		after(8 * time.Second) // 4 probes
		times = r.servers["a"].times()
		want = Status{
			Checked: true, Reason: "nobody home", Since: times[5], Failures: 4, LastProbe: times[6], Error: "nobody home",
		}
		if s := r.Status(a); s != want {
			t.Errorf("after 4 failures: %+v, want %+v", s, want)
		}
		foreign := newPool(t, "other", "a")
		if s := r.Status(foreign.Backends()[0]); s != (Status{}) {
			t.Errorf("of another pool's backend: %+v", s)
		}
		if s := r.PoolStatus(foreign); s != (PoolStatus{}) {
			t.Errorf("of another pool: %+v", s)
		}
	})
}

func TestStatusOfPostgres(t *testing.T) {
	prepare := func(r *rig) {
		r.servers["pg1"].primary(3)
		r.servers["pg2"].replica(2 * time.Second)
		r.servers["pg3"].replica(-1)
	}
	inBubble(t, []spec{{"all", "pg1 pg2 pg3", postgres(RoleAny)}}, prepare, func(r *rig) {
		after(time.Second)
		f := func(backend, role string, timeline uint32, lag time.Duration, known bool) {
			t.Helper()
			s := r.Status(r.backend(backend))
			if s.Role != role || s.Timeline != timeline || s.LagKnown != known || known && s.Lag != lag {
				t.Errorf("status of %s: %+v", backend, s)
			}
		}
		f("pg1", "primary", 3, 0, false)
		f("pg2", "replica", 0, 2*time.Second, true)
		f("pg3", "replica", 0, 0, false)
		r.servers["pg1"].set(errDead)
		after(10 * time.Second)
		f("pg1", "", 0, 0, false)
	})
}
