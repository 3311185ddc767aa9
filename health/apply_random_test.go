package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
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
	ok := !a.dead[gameQuestion{a.server, a.way}]
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

// gameQuestion is what is asked of whom.
type gameQuestion struct {
	server string
	way    uint8
}

// gameAnswer is what an asker was told.
type gameAnswer struct {
	asker *asker
	ok    bool
}

// game is a monitor whose pools change all the time, and a model of what it is to make of that.
type game struct {
	t      *testing.T
	random *rand.Rand
	m      *Monitor
	pools  []*pool.Pool    // that there are
	taken  []*pool.Backend // that a session has a slot of

	mu      sync.Mutex
	dead    map[gameQuestion]bool
	answers []gameAnswer
	made    []*asker

	members map[*pool.Backend]*gameMember
	comes   map[*pool.Backend]bool // new ones: whether they come up
	targets []*gameTarget
	rules   map[*pool.Pool]Config
	counts  struct{ changes, abandoned, kept, moved, copied, patient, down, falls int }
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

// gameChange is a change that is prepared.
type gameChange struct {
	pools   []*pool.Pool
	rules   map[*pool.Pool]Config
	updates []*pool.Update
	watched []Watched
}

// change makes up the next pools: some of those that there are, with other settings perhaps, and new ones.
func (g *game) change() *gameChange {
	c := &gameChange{rules: make(map[*pool.Pool]Config)}
	for _, p := range g.pools {
		if g.random.IntN(15) == 0 {
			continue
		}
		c.pools, c.rules[p] = append(c.pools, p), g.rules[p]
		if g.random.IntN(3) == 0 {
			c.rules[p] = g.settings()
		}
	}
	for len(c.pools) < 5 && g.random.IntN(2) == 0 {
		p := newPool(g.t, fmt.Sprint("p", g.counts.changes, len(c.pools)), g.servers()...)
		c.pools, c.rules[p] = append(c.pools, p), g.settings()
	}
	g.random.Shuffle(len(c.pools), func(i, j int) { c.pools[i], c.pools[j] = c.pools[j], c.pools[i] })
	for _, p := range c.pools {
		w := Watched{Pool: p, Config: c.rules[p]}
		if g.rules[p].Rise > 0 && g.random.IntN(3) == 0 {
			u := g.update(p)
			c.updates, w.Backends = append(c.updates, u), u.Backends()
		}
		c.watched = append(c.watched, w)
	}
	return c
}

// changeSome makes up a change of some of the pools that there are.
func (g *game) changeSome() *gameChange {
	c := &gameChange{pools: g.pools, rules: make(map[*pool.Pool]Config)}
	for _, p := range g.pools {
		c.rules[p] = g.rules[p]
		if g.random.IntN(3) > 0 {
			continue
		}
		if g.random.IntN(3) == 0 {
			c.rules[p] = g.settings()
		}
		w := Watched{Pool: p, Config: c.rules[p]}
		if g.random.IntN(3) > 0 {
			u := g.update(p)
			c.updates, w.Backends = append(c.updates, u), u.Backends()
		}
		c.watched = append(c.watched, w)
	}
	g.random.Shuffle(len(c.watched), func(i, j int) { c.watched[i], c.watched[j] = c.watched[j], c.watched[i] })
	return c
}

// prepare makes up a change and prepares it.
func (g *game) prepare() (*gameChange, *Prepared) {
	c, prepare := g.change, g.m.Prepare
	if g.random.IntN(2) == 0 {
		c, prepare = g.changeSome, g.m.PrepareSome
	}
	change := c()
	p, err := prepare(change.watched)
	if err != nil {
		g.t.Fatal(err)
	}
	return change, p
}

// update prepares other backends for a pool. Some of the old ones may have sessions: they come back as they were.
func (g *game) update(p *pool.Pool) *pool.Update {
	for range 2 {
		if b, err := p.Reserve(netip.Addr{}, nil); err == nil {
			g.taken = append(g.taken, b)
		}
	}
	for len(g.taken) > 30 {
		g.taken[0].Release()
		g.taken = g.taken[1:]
	}
	u, err := p.Prepare(poolConfig(p.Name(), g.servers()...))
	if err != nil {
		g.t.Fatal(err)
	}
	return u
}

// servers returns some, in any order.
func (g *game) servers() (names []string) {
	for _, i := range g.random.Perm(gameServers)[:1+g.random.IntN(gameServers)] {
		names = append(names, fmt.Sprint("s", i))
	}
	return names
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
	down := 0
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			g := &game{t: t, random: rand.New(rand.NewPCG(seed, 5)), dead: map[gameQuestion]bool{}}
			g.play()
			if c := g.counts; c.abandoned < 30 || c.kept < 50 || c.moved < 10 || c.copied < 3 || c.patient < 10 || c.falls < 10 {
				t.Errorf("seed %d: %+v: the play is too dull", seed, c)
			}
			down += g.counts.down
		})
	}
	if down < 3 {
		t.Errorf("%d backends came back that had been down: the play is too dull", down)
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
	for range 200 {
		change, p := g.prepare()
		all = append(all, g.made...)
		g.run() // nothing has changed yet
		if g.random.IntN(4) == 0 {
			g.abandon(change, p)
		} else {
			g.commit(change, p)
		}
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

// commit carries a change out, and tells the model.
func (g *game) commit(c *gameChange, p *Prepared) {
	for _, u := range c.updates {
		u.Commit()
	}
	g.pools, g.rules = c.pools, c.rules
	g.look()
	p.Commit()
	p.Abandon() // too late
	g.applied()
}

// abandon gives a change up. The model is not told.
func (g *game) abandon(c *gameChange, p *Prepared) {
	for _, u := range c.updates {
		u.Abandon()
	}
	p.Abandon()
	p.Commit() // too late
	g.made = nil
	g.counts.abandoned++
}

// run lets time pass and servers come and go.
func (g *game) run() {
	for range g.random.IntN(5) {
		g.mu.Lock()
		q := gameQuestion{fmt.Sprint("s", g.random.IntN(gameServers)), uint8(g.random.IntN(3))}
		g.dead[q] = g.random.IntN(2) == 0
		g.mu.Unlock()
		after(time.Duration(1+g.random.IntN(12)) * 100 * time.Millisecond)
		g.hear()
		g.check()
	}
}
