package health

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// A history is what happens to servers and pools at random.
type history struct {
	*rig
	random *rand.Rand
	specs  []spec
}

// randomSpecs are pools of all kinds, with the same servers in part.
func randomSpecs() []spec {
	replicas := postgres(RolePreferReplica)
	replicas.MaxLag = 3 * time.Second
	writer := postgres(RolePrimary)
	writer.Probe.Kind = probe.MySQL
	web := steady()
	web.OnDown.Failed = CloseRule{Close: true, Grace: 3 * time.Second, Rate: 5}
	return []spec{
		{"web", "a b c", web}, {"again", "a b", steady()},
		{"rw", "pg1 pg2 pg3", postgres(RolePrimary)}, {"ro", "pg1 pg2 pg3", replicas}, {"my", "m1 m2", writer},
	}
}

// begin lets all servers answer.
func (h *history) begin() {
	for name := range h.servers {
		h.change(name)
	}
}

// change makes a server answer something else, or nothing.
func (h *history) change(name string) {
	s := h.servers[name]
	switch n := h.random.IntN(10); {
	case n == 0:
		s.set(errDead)
	case n == 1:
		s.fallSilent()
	case name[0] == 'p':
		h.sayPostgres(s)
	case name[0] == 'm':
		id := uint64(name[1] - '0')
		s.say(probe.DatabaseAnswer{Primary: h.random.IntN(2) == 0, ID: id, Source: uint64(h.random.IntN(2)) * (3 - id), System: id})
	default:
		s.set(nil)
	}
}

func (h *history) sayPostgres(s *server) {
	at := uint64(time.Since(h.start) / time.Second)
	switch h.random.IntN(3) {
	case 0:
		s.say(probe.DatabaseAnswer{Primary: true, System: 7, Timeline: uint32(1 + at/20), Has: 100 + at, Whole: 100 + at})
	case 1:
		s.say(probe.DatabaseAnswer{System: 7, Timeline: uint32(1 + at/20), Has: 100 + at, Whole: 100 + at, Replayed: 100 + at})
	case 2:
		s.say(probe.DatabaseAnswer{System: 7, Timeline: 1, Has: 100 + at, Whole: 100 + at, Replayed: 50 + at, AgeKnown: true, Age: time.Minute})
	}
}

// step lets something happen, and some time pass.
func (h *history) step() {
	s := h.specs[h.random.IntN(len(h.specs))]
	all := h.pools[s.name].Backends()
	b := all[h.random.IntN(len(all))]
	switch h.random.IntN(8) {
	case 0:
		b.SetAdmin(pool.AdminState(h.random.IntN(3)))
	case 1:
		for range h.random.IntN(2 * s.cfg.Eject.Failures) {
			h.Observe(b, pool.DialTimeout)
		}
	case 2:
		if b.Usable() && !b.Backup() {
			h.sessions.open(b, 1+h.random.IntN(20))
		}
	default:
		h.change(b.Name())
	}
	after(time.Duration(h.random.Int64N(int64(3 * time.Second))))
}

// known is all that a monitor says of its pools. What has to do with the probe that ended last is left out later: probes of
// two monitors are not made at the same time.
func (r *rig) known(later bool) map[string]any {
	known := make(map[string]any)
	for name, p := range r.pools {
		known[name] = r.PoolStatus(p)
		for _, b := range p.Backends() {
			status, stats := r.Status(b), b.Stats()
			if later {
				stats.Changes, stats.Active = 0, 0 // a rate may have ended one session more before its backend was back
				status = Status{Up: status.Up, Standby: status.Standby, Role: status.Role, Timeline: status.Timeline, EjectedUntil: status.EjectedUntil}
			}
			known[name+"/"+b.Name()] = fmt.Sprintf("%+v %+v", status, stats)
		}
	}
	return known
}

func compareKnown(t *testing.T, when string, was, is map[string]any) {
	t.Helper()
	for name := range was {
		if !reflect.DeepEqual(was[name], is[name]) {
			t.Errorf("%s: %s:\n%v, was\n%v", when, name, is[name], was[name])
		}
	}
}

// Whatever has happened, the successor says of everything the same as its predecessor, reports nothing, and comes to the same
// conclusions as the predecessor would have.
func TestAssumeRandom(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(60) {
		specs := randomSpecs()
		synctest.Test(t, func(t *testing.T) {
			h := &history{newRig(t, specs), rand.New(rand.NewPCG(seed, 12)), specs}
			h.begin()
			h.goOn()
			for range 10 + h.random.IntN(30) {
				h.step()
			}
			n := h.successor(specs...)
			synctest.Wait()
			compareKnown(t, fmt.Sprintf("seed %d: taken over", seed), h.known(false), n.known(false))
			if was, is := travel(t, h.Account()), travel(t, n.Account()); !reflect.DeepEqual(was, is) { // the clock stands
				t.Errorf("seed %d: the next one would be told\n%+v, was\n%+v", seed, is, was)
			}
			n.count(seen)
			n.wantLog(fmt.Sprintf("seed %d: taken over", seed))
			n.goOn()
			for range 120 {
				after(500 * time.Millisecond)
				if usable := n.pools["rw"].Usable(); usable > 1 {
					t.Fatalf("seed %d: %d primaries are usable", seed, usable)
				}
			}
			compareKnown(t, fmt.Sprintf("seed %d: later", seed), h.known(true), n.known(true))
		})
		if t.Failed() {
			return
		}
	}
	for _, what := range []string{"down", "up", "ejected", "closing", "standby", "split", "all lag", "counting", "primary"} {
		if seen[what] < 3 {
			t.Errorf("%s: %d times when one took over: the play is too dull", what, seen[what])
		}
	}
}

// count counts what there was when one took over.
func (r *rig) count(seen map[string]int) {
	note := func(what string, is bool) {
		if is {
			seen[what]++
		}
	}
	for name, p := range r.pools {
		note("split", r.PoolStatus(p).SplitBrain)
		note("all lag", r.PoolStatus(p).AllLag)
		for _, b := range p.Backends() {
			s, one := r.Status(b), r.member(b)
			note("up", s.Up)
			note("down", !s.Up)
			note("ejected", !s.EjectedUntil.IsZero())
			note("closing", one.closing != nil && one.closing.begun)
			note("standby", s.Standby)
			note("counting", one.target.checks.changing())
			note("primary", name != "ro" && s.Up && s.Role == "primary")
		}
	}
}
