package health

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// Sessions of a backend that is gone are closed as had begun, and nobody brings it back from an ejection.
func TestApplyRemoves(t *testing.T) {
	cfg := with(func(c *Config) { c.OnDown.Failed = CloseRule{Close: true, Rate: 10} })
	inBubble(t, []spec{{"web", "a b c d", cfg}}, nil, func(r *rig) {
		web := r.pool
		after(time.Second)
		r.sessions.open(web.Lookup("a"), 100)
		r.servers["a"].set(errDead)
		r.fail(web.Lookup("b"), 5)
		after(4 * time.Second)
		left := r.sessions.left(web.Lookup("a"))
		if left == 100 || !web.Lookup("b").Stats().Ejected {
			t.Fatalf("%d sessions are left, b is %+v", left, web.Lookup("b").Stats())
		}
		r.logged()
		c := r.member(web.Lookup("c"))
		r.apply(spec{"other", "c", cfg})
		r.wantLog("at once")
		if web.Lookup("b").Stats().Ejected {
			t.Error("b is ejected, and nobody is there to bring it back")
		}
		r.fail(web.Lookup("c"), 10)
		for range 10 {
			r.take(c, pool.DialRefused) // as who has looked it up before
		}
		if web.Lookup("c").Stats().Ejected {
			t.Error("a backend that is not watched is ejected")
		}
		after(time.Minute)
		if got := r.sessions.left(web.Lookup("a")); got != 0 {
			t.Errorf("%d sessions are left, %d when it was removed", got, left)
		}
		if web.Lookup("a").Stats().Up {
			t.Error("a is up again")
		}
		r.wantLog("in the end", `level=INFO msg="sessions closed" pool=web backend=a cause=failed sessions=100`)
	})
}

// What is ended just when closing stops is reported still.
func TestApplyStopsClosing(t *testing.T) {
	keeps := downWith(CloseRule{})
	keeps[0].cfg.OnDown.Maint = CloseRule{}
	inBubble(t, downWith(CloseRule{Close: true, Rate: 10}), nil, func(r *rig) {
		after(time.Second)
		r.sessions.takes = time.Second
		r.sessions.open(r.backend("a"), 100)
		r.servers["a"].set(errDead)
		after(7500 * time.Millisecond)
		r.apply(keeps...)
		r.backend("a").SetAdmin(pool.Maint) // which takes the place of failed
		after(time.Minute)
		log, total := r.logged(), 0
		for _, line := range strings.Split(log, "\n") {
			if _, n, ok := strings.Cut(line, "cause=failed sessions="); ok && strings.Contains(line, "sessions closed") {
				n, err := strconv.Atoi(n)
				if err != nil {
					t.Fatal(err)
				}
				total += n
			}
		}
		if left := r.sessions.left(r.pool.Lookup("a")); left+total != 100 || total < 3 {
			t.Errorf("%d sessions are left, and %d were reported: %s", left, total, log)
		}
	})
}

// An Apply that fails changes nothing.
func TestApplyFails(t *testing.T) {
	inBubble(t, web("a b"), func(r *rig) { r.servers["a"].set(errDead) }, func(r *rig) {
		after(3 * time.Second)
		r.logged()
		bad := with(func(c *Config) { c.Probe.Port = badPort })
		watched := r.watched([]spec{{"new", "c", steady()}, {"web", "a b", other()}, {"bad", "d", bad}})
		err := r.Apply(append(watched, watched[1]))
		want := "watch pool \"bad\": backend \"d\": no such port\nwatch pool \"web\": it is given twice"
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		r.wantOpen("after it", "a=1 b=1 c=0 d=0")
		asked := len(r.servers["b"].times())
		after(10 * time.Second)
		r.wantUp("after it", "web", "b")
		r.wantLog("after it")
		if n := len(r.servers["b"].times()) - asked; n != 5 {
			t.Errorf("b was probed %d times in 10 s, want 5", n)
		}
		if s := r.Status(r.pools["new"].Backends()[0]); s != (Status{}) {
			t.Errorf("a pool that was not taken is watched: %+v", s)
		}
	})
}

// A backend that joins a target that fails knows since when: all checks of a pool that fail at once may be the check's
// fault.
func TestApplyJoinsAFailingTarget(t *testing.T) {
	cfg := with(func(c *Config) { c.Fall = 5 })
	app := spec{"app", "a b c", cfg}
	inBubble(t, []spec{{"web", "a c", cfg}, app}, nil, func(r *rig) {
		after(time.Second)
		for _, s := range r.servers {
			s.set(errDead)
		}
		after(1300 * time.Millisecond)
		if s := r.Status(r.backend("a")); s.Failures == 0 || !s.Up {
			t.Fatalf("status %+v, want some failures", s)
		}
		r.apply(app, spec{"web", "a b c", cfg})
		web := r.pool.Backends()
		for _, b := range web {
			r.sessions.open(b, 10)
		}
		after(5 * time.Second)
		for _, b := range web {
			moves(b)
		}
		after(time.Minute)
		r.wantUp("in the end", "web", "")
		for _, b := range web {
			if got := r.sessions.left(b); got != 10 {
				t.Errorf("%d sessions of %s are left", got, b.Name())
			}
		}
	})
}
