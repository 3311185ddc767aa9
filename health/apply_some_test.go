package health

import (
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// TestPrepareSomeRefuses: what is wrong is named, and nothing has changed.
func TestPrepareSomeRefuses(t *testing.T) {
	inBubble(t, []spec{{"web", "a", steady()}, {"db", "b", steady()}}, nil, func(r *rig) {
		after(time.Second)
		stranger := newPool(t, "new", "a")
		bad := with(func(c *Config) { c.Probe.Port = badPort })
		_, err := r.PrepareSome([]Watched{{Pool: r.pools["db"], Config: bad}, {Pool: stranger, Config: steady()}, {Pool: r.pools["db"]}})
		want := "watch pool \"new\": it is not watched yet\nwatch pool \"db\": it is given twice"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		_, err = r.PrepareSome([]Watched{{Pool: r.pools["db"], Config: bad}})
		if want = `watch pool "db": backend "b": no such port`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		r.wantOpen("after what was refused", "a=1 b=1")
		r.wantUp("after what was refused", "db", "b")
	})
}

// TestVanished: who has vanished is checked, and its sessions stay while it answers, whatever becomes of those of one that
// drains. What is known of it when it comes back is what its checks have said last.
func TestVanished(t *testing.T) {
	cfg := with(func(c *Config) {
		c.OnDown.Failed, c.OnDown.Drain = CloseRule{Close: true}, CloseRule{Close: true}
	})
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		a := r.backend("a")
		after(time.Second)
		r.sessions.open(a, 3)
		next := poolConfig("web", "a", "b")
		next.Backends[0].Vanished = true
		r.update(cfg, next)
		asked := len(r.servers["a"].times())
		after(time.Minute)
		if n := len(r.servers["a"].times()) - asked; n < 20 {
			t.Errorf("a was asked %d times in a minute", n)
		}
		if s := r.Status(a); !s.Up || a.Usable() || r.sessions.left(a) != 3 {
			t.Errorf("a: %+v, usable %v, %d sessions", s, a.Usable(), r.sessions.left(a))
		}
		r.servers["a"].set(errDead)
		after(10 * time.Second)
		if n := r.sessions.left(a); n != 0 {
			t.Errorf("%d sessions are left on a, which does not answer", n)
		}
		r.servers["a"].set(nil)
		after(10 * time.Second)
		next.Backends[0].Vanished = false
		r.update(cfg, next)
		r.wantUp("it is back", "web", "a b")
		if !a.Usable() {
			t.Error("it is back, and not usable")
		}
	})
}

// update gives the first pool another configuration, and the monitor.
func (r *rig) update(cfg Config, next pool.Config) {
	r.t.Helper()
	u, err := r.pool.Prepare(next)
	if err != nil {
		r.t.Fatal(err)
	}
	defer u.Abandon()
	p, err := r.PrepareSome([]Watched{{Pool: r.pool, Config: cfg, Backends: u.Backends()}})
	if err != nil {
		r.t.Fatal(err)
	}
	u.Commit()
	p.Commit()
}
