package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/sysutil/systest"
)

// TestRandomApplies plays reloads, right ones and wrong ones, overrides, sessions and servers that fall ill, in random
// order, and holds all that runs against a model that is as simple as can be: slots, places, sessions of each client, the
// queue and its order, who is asked for his health, counters. In the end a world that is made of the last configuration
// and what was set is the same. SLUICE_APPLIES=N plays N times. A failure names its seed: go test -run
// 'TestRandomApplies/SEED$' plays it again, given the same N.
func TestRandomApplies(t *testing.T) {
	servers, happened := startPlayServers(t, 6), newHappenings()
	var plays sync.WaitGroup
	limit := make(chan struct{}, 8) // at a time: they wait more than they work
	for seed := range playsOf(t) {
		limit <- struct{}{}
		plays.Go(func() {
			defer func() { <-limit }()
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				p := newApplyPlay(t, seed, servers)
				for step := range 60 {
					p.step = step
					p.act()
					p.check()
				}
				p.checkAskedOnce()
				p.checkReplay()
				happened.add(p.happened)
			})
		})
	}
	plays.Wait()
	happened.check(t)
}

// playsOf returns how often it is played.
func playsOf(t *testing.T) uint64 {
	text := os.Getenv("SLUICE_APPLIES")
	if text == "" {
		return 8
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("SLUICE_APPLIES=%s: want a number", text)
	}
	return n
}

type applyPlay struct {
	*testing.T
	seed    uint64
	random  *rand.Rand
	servers *playServers
	ports   []int // to listen at
	w       *world
	file    modelConfig
	set     map[[3]string]string // pool, backend, key
	reads   string               // what the next reload reads
	step    int
	did     string // in this step
	applied uint64
	changed bool // something was applied since the last check

	pools     map[string]*modelPool     // that are configured
	listeners map[string]*modelListener // that are configured, or have sessions
	sessions  []*modelSession           // that are open
	backlog   *modelSession             // that waits before a listener; nil: nobody does
	blurred   map[*modelPool]bool       // that may for a moment have had servers that are ill
	happened  map[string]int
}

func newApplyPlay(t *testing.T, seed uint64, servers *playServers) *applyPlay {
	p := &applyPlay{
		T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 11)), servers: servers, set: make(map[[3]string]string), applied: 1,
		pools: make(map[string]*modelPool), listeners: make(map[string]*modelListener), blurred: make(map[*modelPool]bool),
		happened: make(map[string]int),
	}
	for range 4 {
		p.ports = append(p.ports, systest.ReservePort(t))
	}
	p.file = p.randomConfig()
	file, err := configs.Parse("play.yaml", []byte(p.text(p.file)))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	out := openLogWriter(io.Discard, log)
	t.Cleanup(out.close)
	if p.w, err = newWorld(file, log, out, bindAdvice{}); err != nil {
		t.Fatal(err)
	}
	p.w.read = func() (*configs.File, error) { return configs.Parse("play.yaml", []byte(p.reads)) }
	if err := p.w.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range p.sessions {
			if s.conn != nil {
				_ = s.conn.Close()
			}
		}
		if err := p.w.server.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		p.w.stop()
	})
	p.apply()
	return p
}

func (p *applyPlay) failf(format string, args ...any) {
	p.Helper()
	p.Fatalf("seed %d, step %d, after %s: %s", p.seed, p.step, p.did, fmt.Sprintf(format, args...))
}

func (p *applyPlay) act() {
	switch p.random.IntN(20) {
	case 0, 1, 2:
		p.did = "a reload"
		p.reload()
	case 3:
		p.did = "a wrong reload"
		p.reloadWrongly()
	case 4, 5, 6:
		p.did = "an override"
		p.override()
	case 7, 8:
		p.did = "add or remove"
		p.addOrRemove()
	case 9, 10:
		p.did = "an illness"
		p.fallIll()
	case 11, 12, 13:
		p.did = "an end"
		p.endSome()
	default:
		p.did = "a new session"
		p.open()
	}
}

func (p *applyPlay) reload() {
	p.file = p.randomConfig()
	p.reads = p.text(p.file)
	if p.random.IntN(3) == 0 {
		if c, err := p.w.Reload(p.Context(), admin.Reload{By: admin.By{DryRun: true}}); err != nil || !c.DryRun || c.Generation != p.applied {
			p.failf("a dry run: %+v, %v", c, err)
		}
	}
	c, err := p.w.Reload(p.Context(), admin.Reload{})
	p.inForce(err)
	if c.Generation != p.applied {
		p.failf("generation %d, want %d\n%s", c.Generation, p.applied, p.reads)
	}
}

// inForce notes that what the file says and what is set is in force now.
func (p *applyPlay) inForce(err error) {
	p.Helper()
	if p.applied++; err != nil {
		p.failf("%v", err)
	}
	p.apply()
}

// reloadWrongly reads what is wrong in one place, and right in all others.
func (p *applyPlay) reloadWrongly() {
	c := p.randomConfig()
	text, somewhere := p.text(c), slices.Sorted(maps.Keys(c.pools))[0]
	listening := func(bind string) string {
		return strings.Replace(text, "listeners:\n", fmt.Sprintf("listeners:\n  bad: {bind: %q, pool: %s}\n", bind, somewhere), 1)
	}
	wrong := []string{
		strings.Replace(text, "retries: ", "retrys: ", 1),
		strings.Replace(text, "pools:", "pools:\n  bad: {backends: []}", 1),
		text + "nonsense",
		listening("unix:/nowhere/at/all.sock"),
		listening("203.0.113.1:80"),
	}
	p.reads = wrong[p.random.IntN(len(wrong))]
	if c, err := p.w.Reload(p.Context(), admin.Reload{}); err == nil {
		p.failf("it was taken: %+v\n%s", c, p.reads)
	}
	if last := p.w.Generation().LastReload; last.OK || last.Error == "" {
		p.failf("the last reload: %+v", last)
	}
}

// fallIll lets a server fall ill, or be well again, as its checks see it. Sessions are served all the same.
func (p *applyPlay) fallIll() {
	p.servers.toggle(p.seed, p.random.IntN(len(p.servers.addresses)))
	p.happened["a server is ill"]++
	p.blur()
	for _, pool := range p.everyPool() {
		p.grant(pool)
	}
}

func (p *applyPlay) unset(name, backend string) {
	some := false
	for key := range p.set {
		if key[0] == name && key[1] == backend {
			delete(p.set, key)
			some = true
		}
	}
	_, err := p.w.Unset(p.Context(), name, backend, nil, admin.By{})
	if some {
		p.inForce(err)
	} else if !errors.As(err, new(admin.NotFound)) {
		p.failf("unset of nothing: %v", err)
	}
}
