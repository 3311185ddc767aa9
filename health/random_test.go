package health

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// play is a pool of servers that do anything at any time, and a model of what may be up.
type play struct {
	random *rand.Rand
	facts  []fact
	best   map[uint64]uint32 // highest timeline that a primary was seen on, by system
}

// step lets something happen to one server, or nothing.
func (p *play) step() {
	f := &p.facts[p.random.IntN(len(p.facts))]
	switch p.random.IntN(8) {
	case 0: // its checks fail
		f.checks, f.failure, f.answering = checkState{decided: true, failures: 3}, "nobody home", false
		f.current = false
	case 1: // one of them does
		f.checks.successes, f.checks.failures, f.answering = 0, 1, false
		f.current = f.current && f.checks.up
	case 2:
		f.maint = !f.maint
	case 3: // it says that it is a replica
		p.answer(f, probe.DatabaseAnswer{System: p.system(), Timeline: uint32(p.random.IntN(4))})
	case 4, 5, 6: // it says that it is the primary, or its answer is the same as before
		p.answer(f, probe.DatabaseAnswer{Primary: true, System: p.system(), Timeline: uint32(1 + p.random.IntN(6))})
	case 7:
		f.checks.forget()
		f.current, f.answering = false, false
	}
}

// system is nearly always the same.
func (p *play) system() uint64 {
	if p.random.IntN(50) == 0 {
		return 8
	}
	return 7
}

func (p *play) answer(f *fact, a probe.DatabaseAnswer) {
	f.checks.observe(true, 2, 3)
	f.answer, f.current, f.answering = &a, true, true
}

// learn is what the pool must remember.
func (p *play) learn() {
	for _, f := range p.facts {
		if a := f.answer; f.current && !f.maint {
			p.best[a.System] = max(p.best[a.System], a.Timeline)
		}
	}
}

// check returns what is wrong with verdicts.
func (p *play) check(verdicts []verdict) error {
	up := 0
	for i, v := range verdicts {
		f := p.facts[i]
		if v.up != (v.reason == "") || v.up && v.cause != CauseNone {
			return fmt.Errorf("%s: %+v", f.name, v)
		}
		if !v.up {
			continue
		}
		up++
		if a := f.answer; f.maint || !f.current || !f.checks.up || !a.Primary || a.Timeline != p.best[a.System] {
			return fmt.Errorf("%s is up: %+v, answer %+v, the highest timelines are %v", f.name, f, a, p.best)
		}
	}
	if up > 1 {
		return fmt.Errorf("%d are up", up)
	}
	return nil
}

// With role primary at most one backend is up, and it claims to be the primary on the highest timeline ever seen.
func TestAtMostOnePrimary(t *testing.T) {
	someUp, someSplit := 0, 0
	for seed := range uint64(300) {
		p := &play{random: rand.New(rand.NewPCG(seed, 1)), best: map[uint64]uint32{}}
		for i := range 2 + int(seed)%3 {
			p.facts = append(p.facts, fact{name: fmt.Sprint("pg", i)})
		}
		seen := timelines{}
		for n := range 300 {
			p.step()
			p.learn()
			seen.learn(p.facts)
			verdicts := judge(postgres(RolePrimary), p.facts, seen)
			if err := p.check(verdicts); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, n, err)
			}
			for i, v := range verdicts {
				p.facts[i].before = v
				if v.up {
					someUp++
				}
				if v.cause == CauseSplit {
					someSplit++
				}
			}
		}
	}
	if someUp < 1000 || someSplit < 1000 {
		t.Errorf("%d times a backend was up, %d times there was a split: the play is too dull", someUp, someSplit)
	}
}

// The same with a monitor at work: whatever servers and operator do, at no time are two backends usable.
func TestAtMostOneUsablePrimary(t *testing.T) {
	names := strings.Fields("pg1 pg2 pg3")
	inBubble(t, []spec{{"rw", "pg1 pg2 pg3", postgres(RolePrimary)}}, nil, func(r *rig) {
		random := rand.New(rand.NewPCG(1, 2))
		usable := 0
		for range 3000 {
			name := names[random.IntN(3)]
			s := r.servers[name]
			switch random.IntN(8) {
			case 0:
				s.set(errDead)
			case 1:
				s.fallSilent()
			case 2, 3:
				s.replica(0)
			case 4, 5, 6:
				s.primary(uint32(1 + random.IntN(4)))
			case 7:
				r.backend(name).SetAdmin(pool.AdminState(random.IntN(3)))
			}
			for range random.IntN(20) {
				after(100 * time.Millisecond)
				n := r.pool.Usable()
				if usable += n; n > 1 {
					t.Fatalf("%d backends are usable", n)
				}
			}
			if random.IntN(100) == 0 { // only a restart makes a monitor forget the timelines
				r.forgetTimelines()
			}
		}
		if usable < 1000 {
			t.Errorf("%d times a backend was usable: the play is too dull", usable)
		}
	})
}

func (r *rig) forgetTimelines() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.Monitor.pools[0].seen)
}

// A backend that goes up and down a thousand times leaves nothing behind.
func TestFlapping(t *testing.T) {
	cfg := steady()
	cfg.Rise, cfg.Fall, cfg.DownInterval = 1, 1, cfg.Interval
	cfg.OnDown.Failed = CloseRule{Close: true, Grace: time.Second, Rate: 10}
	inBubble(t, []spec{{"web", "a b", cfg}, {"other", "a", cfg}}, nil, func(r *rig) {
		after(time.Second)
		a := r.backend("a")
		goroutines := runtime.NumGoroutine()
		r.sessions.open(a, 1<<20)
		for i := range 1000 {
			if r.servers["a"].set(nil); i%2 == 0 {
				r.servers["a"].set(errDead)
			}
			after(cfg.Interval)
			if up := i%2 != 0; a.Stats().Up != up || r.Status(a).Up != up || r.pools["other"].Usable() != i%2 {
				t.Fatalf("change %d: up %v, status %+v, %d usable in the other pool",
					i, a.Stats().Up, r.Status(a), r.pools["other"].Usable())
			}
		}
		after(time.Minute)
		if n := runtime.NumGoroutine(); n > goroutines+10 { // other tests may leave some for a moment
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
		log := r.logged()
		if down, up := strings.Count(log, "backend down"), strings.Count(log, "backend up"); down != 1000 || up != 1000 {
			t.Errorf("%d lines of down, %d of up, want 1000 each for two pools", down, up)
		}
		// Each time 10 steps of a second, of which the last may coincide with the return.
		if ended := 1<<20 - r.sessions.left(a); ended < 500*10 || ended > 500*11 {
			t.Errorf("%d sessions were ended, want about 10 each time", ended)
		}
		if c := r.member(a).closing; c != nil {
			t.Errorf("still closing: %+v", c)
		}
	})
}
