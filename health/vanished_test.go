package health

import (
	"testing"
	"time"

	"sluice/health/probe"
)

// TestVanishedPrimary: a primary that nobody names any more does not keep the pool from the one that is named in its place,
// whatever it claims; as long as there is none it stays what it is.
func TestVanishedPrimary(t *testing.T) {
	for kind, c := range map[string]struct {
		config Config
		begin  func(s *server, id uint64)
	}{
		"writer of MySQL":           {mysql(RolePrimary), func(s *server, id uint64) { s.writable(id, 0, false) }},
		"another Postgres cluster":  {postgres(RolePrimary), func(s *server, id uint64) { s.say(probe.DatabaseAnswer{System: id, Timeline: 1, Primary: true}) }},
		"the same Postgres cluster": {postgres(RolePrimary), func(s *server, _ uint64) { s.primary(1) }},
	} {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, []spec{{"db", "a", c.config}, {"other", "b", steady()}}, func(r *rig) {
				c.begin(r.servers["a"], 1)
				c.begin(r.servers["b"], 2)
			}, func(r *rig) {
				a := r.backend("a")
				after(3 * time.Second)
				r.wantUp("at first", "db", "a")
				r.logged()
				next := poolConfig("db", "a")
				next.Backends[0].Vanished = true
				r.update(c.config, next)
				after(time.Minute)
				r.wantUp("nobody else is named", "db", "a")
				both := poolConfig("db", "a", "b")
				both.Backends[0].Vanished = true
				r.update(c.config, both)
				after(10 * time.Second)
				r.wantUp("another one is named", "db", "b")
				r.wantReason("db", "a", "claims to be primary, and so does b, which has not vanished")
				if r.PoolStatus(r.pool).SplitBrain {
					t.Error("a split brain with one that nobody names")
				}
				both.Backends[0].Vanished = false
				r.update(c.config, both)
				after(10 * time.Second)
				if a.Stats().Up {
					t.Error("the old one is back, and takes over")
				}
			})
		})
	}
}
