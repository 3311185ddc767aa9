package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/pool"
)

// TestRandomApplies plays reloads, right ones and wrong ones, overrides and sessions in random order, and holds what runs
// against a model that is as simple as can be: two maps of names. In the end a world that is made of the last
// configuration alone is the same.
func TestRandomApplies(t *testing.T) {
	servers := startNamedServers(t, 6)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newApplyPlay(t, seed, servers)
			for step := range 40 {
				p.step = step
				p.act()
				p.check()
			}
			p.checkReplay()
		})
	}
}

// A modelBackend is what is written of a backend, or what holds for it.
type modelBackend struct {
	name   string
	server int
	weight int
	state  pool.AdminState
}

// A modelConfig is a configuration as the model has it.
type modelConfig struct {
	listeners map[string]modelListener
	pools     map[string][]modelBackend
}

type modelListener struct{ path, pool string }

// A modelSession is one that is open: it goes on, whatever changes.
type modelSession struct {
	conn     net.Conn
	lines    *bufio.Reader
	pool     string
	server   int
	name     string // of the backend
	listener string
}

type applyPlay struct {
	*testing.T
	random   *rand.Rand
	servers  []string // addresses; each says its number first
	dir      string
	w        *world
	file     modelConfig
	set      map[[3]string]string // pool, backend, key
	sessions []*modelSession
	reads    string // what the next reload reads
	step     int
	applied  uint64
}

func newApplyPlay(t *testing.T, seed uint64, servers []string) *applyPlay {
	p := &applyPlay{
		T: t, random: rand.New(rand.NewPCG(seed, 11)), servers: servers, dir: t.TempDir(), set: make(map[[3]string]string),
		applied: 1,
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
			_ = s.conn.Close()
		}
		if err := p.w.server.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		p.w.stop()
	})
	return p
}

func (p *applyPlay) randomConfig() modelConfig {
	c := modelConfig{listeners: make(map[string]modelListener), pools: make(map[string][]modelBackend)}
	for _, name := range []string{"red", "green", "blue"} {
		if p.random.IntN(3) == 0 && len(c.pools) > 0 {
			continue
		}
		var backends []modelBackend
		for _, server := range p.random.Perm(len(p.servers))[:1+p.random.IntN(3)] {
			backends = append(backends, modelBackend{
				name: fmt.Sprintf("b%d", p.random.IntN(2)*10+server), server: server, weight: p.random.IntN(3),
				state: []pool.AdminState{pool.Ready, pool.Ready, pool.Ready, pool.Drain, pool.Maint}[p.random.IntN(5)],
			})
		}
		c.pools[name] = backends
	}
	paths := p.random.Perm(4)
	pools := slices.Sorted(maps.Keys(c.pools))
	for i, name := range []string{"one", "two", "three"} {
		if i == 0 && len(c.listeners) == 0 || p.random.IntN(3) > 0 {
			c.listeners[name] = modelListener{p.path(paths[i]), pools[p.random.IntN(len(pools))]}
		}
	}
	return c
}

func (p *applyPlay) path(n int) string { return filepath.Join(p.dir, fmt.Sprintf("%d.sock", n)) }

// text writes a configuration, its things in random order.
func (p *applyPlay) text(c modelConfig) string {
	var b strings.Builder
	b.WriteString("loops: 2\nadmin: {listen: \"\", socket: \"\"}\nlisteners:\n")
	for _, name := range p.shuffled(slices.Sorted(maps.Keys(c.listeners))) {
		fmt.Fprintf(&b, "  %s: {bind: \"unix:%s\", pool: %s, max_sessions: %d}\n", name, c.listeners[name].path, c.listeners[name].pool,
			1000+p.random.IntN(3))
	}
	b.WriteString("pools:\n")
	for _, name := range p.shuffled(slices.Sorted(maps.Keys(c.pools))) {
		fmt.Fprintf(&b, "  %s:\n    check: {type: \"off\"}\n    on_down: {sessions: keep}\n    queue: {max: 0}\n    retries: %d\n    backends:\n", name, p.random.IntN(3))
		for _, m := range c.pools[name] {
			fmt.Fprintf(&b, "    - {name: %s, address: \"%s\", weight: %d, state: %v}\n", m.name, p.servers[m.server], m.weight, m.state)
		}
	}
	return b.String()
}

func (p *applyPlay) shuffled(names []string) []string {
	p.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

func (p *applyPlay) act() {
	switch p.random.IntN(10) {
	case 0, 1:
		p.reload()
	case 2:
		p.reloadWrongly()
	case 3, 4:
		p.override()
	case 5:
		p.addOrRemove()
	case 6:
		p.closeSession()
	default:
		p.open()
	}
}

func (p *applyPlay) reload() {
	p.file = p.randomConfig()
	p.reads = p.text(p.file)
	if p.random.IntN(3) == 0 {
		if c, err := p.w.Reload(p.Context(), admin.Reload{By: admin.By{DryRun: true}}); err != nil || !c.DryRun || c.Generation != p.applied {
			p.Fatalf("step %d: a dry run: %+v, %v", p.step, c, err)
		}
	}
	c, err := p.w.Reload(p.Context(), admin.Reload{})
	if p.applied++; err != nil || c.Generation != p.applied {
		p.Fatalf("step %d: reload: generation %d, %v, want %d\n%s", p.step, c.Generation, err, p.applied, p.reads)
	}
}

// reloadWrongly reads what is wrong in one place, and right in all others.
func (p *applyPlay) reloadWrongly() {
	c := p.randomConfig()
	text := p.text(c)
	wrong := []string{
		strings.Replace(text, "retries: ", "retrys: ", 1),
		strings.Replace(text, "pools:", "pools:\n  bad: {backends: []}", 1),
		text + "nonsense",
		strings.Replace(text, "listeners:\n", "listeners:\n  bad: {bind: \"unix:/nowhere/at/all.sock\", pool: "+slices.Sorted(maps.Keys(c.pools))[0]+"}\n", 1),
		strings.Replace(text, "listeners:\n", "listeners:\n  bad: {bind: \"203.0.113.1:80\", pool: "+slices.Sorted(maps.Keys(c.pools))[0]+"}\n", 1),
	}
	p.reads = wrong[p.random.IntN(len(wrong))]
	if c, err := p.w.Reload(p.Context(), admin.Reload{}); err == nil {
		p.Fatalf("step %d: it was taken: %+v\n%s", p.step, c, p.reads)
	}
	if last := p.w.Generation().LastReload; last.OK || last.Error == "" {
		p.Errorf("step %d: %+v", p.step, last)
	}
}

// force returns the backends that are in force of a pool, in order.
func (p *applyPlay) force(name string) []modelBackend {
	var all []modelBackend
	for _, b := range p.file.pools[name] {
		if _, removed := p.set[[3]string{name, b.name, overrides.Removed}]; !removed {
			all = append(all, p.overridden(name, b))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(p.set), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) }) {
		known := slices.ContainsFunc(p.file.pools[name], func(b modelBackend) bool { return b.name == key[1] })
		if key[0] == name && key[2] == overrides.Added && !known {
			server := slices.Index(p.servers, p.set[key])
			all = append(all, p.overridden(name, modelBackend{name: key[1], server: server, weight: 1}))
		}
	}
	return all
}

func (p *applyPlay) overridden(name string, b modelBackend) modelBackend {
	if w, ok := p.set[[3]string{name, b.name, overrides.Weight}]; ok {
		_, _ = fmt.Sscan(w, &b.weight)
	}
	if s, ok := p.set[[3]string{name, b.name, overrides.State}]; ok {
		_ = b.state.UnmarshalText([]byte(s))
	}
	return b
}

// somePool returns a pool, and a backend of it that is in force, if it has some.
func (p *applyPlay) somePool() (name string, b *modelBackend) {
	names := slices.Sorted(maps.Keys(p.file.pools))
	name = names[p.random.IntN(len(names))]
	if all := p.force(name); len(all) > 0 {
		b = &all[p.random.IntN(len(all))]
	}
	return name, b
}

func (p *applyPlay) override() {
	name, b := p.somePool()
	if b == nil {
		return
	}
	if p.random.IntN(4) == 0 {
		p.unset(name, b.name)
		return
	}
	set := map[string]string{overrides.Weight: fmt.Sprint(p.random.IntN(4))}
	if p.random.IntN(2) == 0 {
		set = map[string]string{overrides.State: []string{"ready", "drain", "maint"}[p.random.IntN(3)]}
	}
	_, err := p.w.Override(p.Context(), name, b.name, set, admin.By{})
	for key, value := range set {
		p.set[[3]string{name, b.name, key}] = value
	}
	p.changed(err)
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
		p.changed(err)
	} else if !errors.As(err, new(admin.NotFound)) {
		p.Fatalf("step %d: unset of nothing: %v", p.step, err)
	}
}

func (p *applyPlay) changed(err error) {
	if p.applied++; err != nil {
		p.Fatalf("step %d: %v", p.step, err)
	}
}

func (p *applyPlay) addOrRemove() {
	name, b := p.somePool()
	if b != nil && p.random.IntN(2) == 0 {
		_, err := p.w.RemoveBackend(p.Context(), name, b.name, admin.By{})
		for key := range p.set {
			if key[0] == name && key[1] == b.name {
				delete(p.set, key)
			}
		}
		if slices.ContainsFunc(p.file.pools[name], func(f modelBackend) bool { return f.name == b.name }) {
			p.set[[3]string{name, b.name, overrides.Removed}] = "true"
		}
		p.changed(err)
		return
	}
	server := p.random.IntN(len(p.servers))
	added := fmt.Sprintf("b%d", p.random.IntN(20))
	taken := slices.ContainsFunc(p.force(name), func(b modelBackend) bool { return b.name == added })
	_, err := p.w.AddBackend(p.Context(), name, admin.NewBackend{Address: p.servers[server], Name: added}, admin.By{})
	_, gone := p.set[[3]string{name, added, overrides.Removed}]
	inFile := slices.ContainsFunc(p.file.pools[name], func(b modelBackend) bool { return b.name == added })
	if taken || gone && inFile { // an override has removed it: the name is the file's
		if !errors.As(err, new(admin.Conflict)) {
			p.Fatalf("step %d: a name twice: %v", p.step, err)
		}
		return
	}
	for key := range p.set {
		if key[0] == name && key[1] == added {
			delete(p.set, key)
		}
	}
	p.set[[3]string{name, added, overrides.Added}] = p.servers[server]
	p.changed(err)
}
