package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// asker is a prober of a game.
type asker struct {
	*game
	server string
	way    uint8
	closed bool
}

// Probe implements probe.Prober.
func (a *asker) Probe(context.Context) (probe.Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ok := !a.dead[fmt.Sprint(a.server, a.way)]
	a.answers = append(a.answers, gameAnswer{a, ok})
	if ok {
		return probe.Answer{}, nil
	}
	return probe.Answer{}, errDead
}

// Wait implements probe.Prober.
func (a *asker) Wait(ctx context.Context) (lost bool) {
	<-ctx.Done()
	return false
}

// Close implements probe.Prober.
func (a *asker) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// gameAnswer is what an asker was told.
type gameAnswer struct {
	asker *asker
	ok    bool
}

// gameTarget is a target as the model has it.
type gameTarget struct {
	server             string
	way                uint8 // the question
	rise, fall         int   // and so is the interval, which the model does not know
	interval           time.Duration
	asker              *asker
	known, up          bool
	patient            bool
	successes, failure int
}

// gameMember is a backend as the model has it.
type gameMember struct {
	up     bool
	target *gameTarget // nil: not checked
}

// game is a monitor whose pools change all the time, and a model of what it is to make of that.
type game struct {
	t      *testing.T
	random *rand.Rand
	m      *Monitor
	pools  []*pool.Pool // that there are

	mu      sync.Mutex
	dead    map[string]bool // by server and question
	answers []gameAnswer
	made    []*asker

	members map[*pool.Backend]*gameMember
	targets []*gameTarget
	rules   map[*pool.Pool]Config
	counts  struct{ changes, kept, moved, copied, patient int }
}

const gameServers = 4

// settings returns random ones.
func (g *game) settings() Config {
	c := steady()
	c.Probe.ProxyVersion = uint8(g.random.IntN(3))
	if g.random.IntN(8) == 0 {
		c.Probe.Kind = probe.Off
	}
	c.Rise, c.Fall = 1+g.random.IntN(3), 1+g.random.IntN(3)
	c.Interval = time.Duration(1+g.random.IntN(2)) * time.Second
	return c
}

// change makes up the next pools: some of those that there are, with other settings perhaps, and new ones.
func (g *game) change() (watched []Watched) {
	var pools []*pool.Pool
	rules := make(map[*pool.Pool]Config)
	for _, p := range g.pools {
		if g.random.IntN(6) == 0 {
			continue
		}
		pools, rules[p] = append(pools, p), g.rules[p]
		if g.random.IntN(3) == 0 {
			rules[p] = g.settings()
		}
	}
	for len(pools) < 5 && g.random.IntN(2) == 0 {
		p := newPool(g.t, fmt.Sprint("p", g.counts.changes, len(pools)), g.servers()...)
		pools, rules[p] = append(pools, p), g.settings()
	}
	g.random.Shuffle(len(pools), func(i, j int) { pools[i], pools[j] = pools[j], pools[i] })
	g.pools, g.rules = pools, rules
	for _, p := range pools {
		watched = append(watched, Watched{p, rules[p]})
	}
	return watched
}

// servers returns some, in any order.
func (g *game) servers() (names []string) {
	for _, i := range g.random.Perm(gameServers)[:1+g.random.IntN(gameServers)] {
		names = append(names, fmt.Sprint("s", i))
	}
	return names
}

// applied tells the model that there are other pools now.
func (g *game) applied() {
	g.counts.changes++
	members := make(map[*pool.Backend]*gameMember)
	var targets []*gameTarget
	wanted := make(map[*pool.Backend]*gameTarget)
	for _, p := range g.pools {
		c := g.rules[p]
		for _, b := range p.Backends() {
			if c.Probe.Kind == probe.Off {
				continue
			}
			n := &gameTarget{server: b.Name(), way: c.Probe.ProxyVersion, rise: c.Rise, fall: c.Fall, interval: c.Interval}
			if i := slices.IndexFunc(targets, n.isLike); i >= 0 {
				n = targets[i]
			} else {
				targets = append(targets, n)
			}
			wanted[b] = n
		}
	}
	g.follow(targets, wanted)
	for _, p := range g.pools {
		for _, b := range p.Backends() {
			one := &gameMember{up: true}
			if so := g.members[b]; so != nil {
				one.up = so.up
			}
			if one.target = wanted[b]; one.target == nil {
				one.up = true
			} else if one.target.known {
				one.up = one.target.up
			}
			members[b] = one
		}
	}
	g.members, g.targets = members, targets
}

// isLike reports whether a target asks the same in the same way.
func (n *gameTarget) isLike(o *gameTarget) bool {
	return n.sameQuestion(o) && n.rise == o.rise && n.fall == o.fall && n.interval == o.interval
}

func (n *gameTarget) sameQuestion(o *gameTarget) bool { return n.server == o.server && n.way == o.way }

// follow gives new targets what is known, and their askers.
func (g *game) follow(targets []*gameTarget, wanted map[*pool.Backend]*gameTarget) {
	taken := make(map[*gameTarget]bool)
	from := make(map[*gameTarget]*gameTarget)
	for _, n := range targets {
		if i := slices.IndexFunc(g.targets, n.isLike); i >= 0 {
			from[n], taken[g.targets[i]] = g.targets[i], true
			n.take(g.targets[i])
			n.asker = g.targets[i].asker
			g.counts.kept++
		}
	}
	var fresh []*gameTarget
	for _, n := range targets {
		if from[n] != nil {
			continue
		}
		so := g.related(n, wanted)
		switch {
		case so == nil:
			n.patient = g.hadState(n, wanted)
			if n.patient {
				g.counts.patient++
			}
		case !taken[so]:
			n.take(so)
			n.asker, taken[so] = so.asker, true
			g.counts.moved++
			continue
		default:
			n.take(so)
			g.counts.copied++
		}
		fresh = append(fresh, n)
	}
	if len(fresh) != len(g.made) {
		g.t.Fatalf("change %d: %d probers were made, want %d", g.counts.changes, len(g.made), len(fresh))
	}
	for i, n := range fresh {
		n.asker = g.made[i]
	}
	g.made = nil
}

func (n *gameTarget) take(o *gameTarget) {
	n.known, n.up, n.patient, n.successes, n.failure = o.known, o.up, o.patient, o.successes, o.failure
}

// related returns the target so far whose knowledge a new one takes over.
func (g *game) related(n *gameTarget, wanted map[*pool.Backend]*gameTarget) (so *gameTarget) {
	for _, p := range g.pools {
		for _, b := range p.Backends() {
			if one := g.members[b]; one != nil && wanted[b] == n && one.target != nil && one.target.sameQuestion(n) {
				return one.target
			}
		}
	}
	for _, o := range g.targets {
		if o.sameQuestion(n) {
			so = o
		}
	}
	return so
}

// hadState reports whether a backend that a new target is for has a state of its own.
func (g *game) hadState(n *gameTarget, wanted map[*pool.Backend]*gameTarget) bool {
	for b, one := range g.members {
		if wanted[b] == n && (one.target == nil || one.target.known || one.target.patient) {
			return true
		}
	}
	return false
}

// hear tells the model what was answered since.
func (g *game) hear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.answers {
		i := slices.IndexFunc(g.targets, func(n *gameTarget) bool { return n.asker == a.asker })
		if i < 0 {
			g.t.Fatalf("change %d: %s was asked in way %d, which nobody wants", g.counts.changes, a.asker.server, a.asker.way)
		}
		n := g.targets[i]
		if a.ok {
			n.successes, n.failure = n.successes+1, 0
		} else {
			n.successes, n.failure = 0, n.failure+1
		}
		if n.successes >= n.rise || n.failure >= n.fall || !n.known && !n.patient {
			n.known, n.up = true, a.ok
		}
		for _, one := range g.members {
			if one.target == n && n.known {
				one.up = n.up
			}
		}
	}
	g.answers = nil
}

// check compares the monitor with the model.
func (g *game) check() {
	for _, p := range g.pools {
		for _, b := range p.Backends() {
			want, s := g.members[b], g.m.Status(b)
			if b.Stats().Up != want.up || s.Up != want.up || s.Checked != (want.target != nil) {
				g.t.Fatalf("change %d: %s/%s: up %v, want %v; status %+v; target %+v", g.counts.changes, p.Name(), b.Name(),
					b.Stats().Up, want.up, s, want.target)
			}
			if n := want.target; n != nil && (s.Successes != n.successes || s.Failures != n.failure) {
				g.t.Fatalf("change %d: %s/%s: %+v, want %+v", g.counts.changes, p.Name(), b.Name(), s, n)
			}
		}
	}
}

// TestRandomApplies: whatever is changed, exactly the targets that are needed run, and states and counts are those of a
// model that knows nothing of goroutines.
func TestRandomApplies(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			g := &game{t: t, random: rand.New(rand.NewPCG(seed, 5)), dead: map[string]bool{}}
			g.play()
			if c := g.counts; c.kept < 50 || c.moved < 10 || c.copied < 3 || c.patient < 10 {
				t.Errorf("seed %d: %+v: the play is too dull", seed, c)
			}
		})
	}
}

func (g *game) play() {
	m, err := New(nil, Options{NewProber: func(c probe.Config, a pool.Address) (probe.Prober, error) {
		one := &asker{game: g, server: a.Unix[1:], way: c.ProxyVersion}
		g.made = append(g.made, one)
		return one, nil
	}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.m = m
	ctx, cancel := context.WithCancel(g.t.Context())
	var all []*asker
	var running sync.WaitGroup
	running.Go(func() { m.Run(ctx) })
	synctest.Wait()
	for range 150 {
		if err := m.Apply(g.change()); err != nil {
			g.t.Fatal(err)
		}
		all = append(all, g.made...)
		g.applied()
		synctest.Wait()
		g.hear()
		g.check()
		g.run()
		for _, a := range all {
			if needed := slices.ContainsFunc(g.targets, func(n *gameTarget) bool { return n.asker == a }); a.closed == needed {
				g.t.Fatalf("change %d: the prober of %s is closed %v, needed %v", g.counts.changes, a.server, a.closed, needed)
			}
		}
	}
	cancel()
	running.Wait()
	if slices.ContainsFunc(all, func(a *asker) bool { return !a.closed }) {
		g.t.Error("a prober is left open in the end")
	}
}

// run lets time pass and servers come and go.
func (g *game) run() {
	for range g.random.IntN(5) {
		g.mu.Lock()
		key := fmt.Sprint("s", g.random.IntN(gameServers), g.random.IntN(3))
		g.dead[key] = g.random.IntN(2) == 0
		g.mu.Unlock()
		after(time.Duration(1+g.random.IntN(12)) * 100 * time.Millisecond)
		g.hear()
		g.check()
	}
}
