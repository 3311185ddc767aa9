package main

import (
	"bufio"
	"context"
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
	"time"

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

// open begins a session on a listener. It gets a backend that may take it, or none when there is none.
func (p *applyPlay) open() {
	names := slices.Sorted(maps.Keys(p.file.listeners))
	listener := names[p.random.IntN(len(names))]
	l := p.file.listeners[listener]
	conn, err := net.Dial("unix", l.path)
	if err != nil {
		p.Fatalf("step %d: listener %s: %v", p.step, listener, err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	s := &modelSession{conn: conn, lines: bufio.NewReader(conn), pool: l.pool, listener: listener}
	line, err := s.lines.ReadString('\n')
	able := slices.DeleteFunc(p.force(l.pool), func(b modelBackend) bool { return b.state != pool.Ready || b.weight == 0 })
	if len(able) == 0 {
		if err == nil {
			p.Fatalf("step %d: a session on pool %s got server %q, and nobody may take it", p.step, l.pool, line)
		}
		_ = conn.Close()
		return
	}
	if _, scanned := fmt.Sscan(line, &s.server); err != nil || scanned != nil {
		p.Fatalf("step %d: a session on pool %s: %q, %v; able are %+v", p.step, l.pool, line, err, able)
	}
	i := slices.IndexFunc(able, func(b modelBackend) bool { return b.server == s.server })
	if i < 0 {
		p.Fatalf("step %d: a session on pool %s got server %d, able are %+v", p.step, l.pool, s.server, able)
	}
	if s.name = able[i].name; slices.ContainsFunc(able[i+1:], func(b modelBackend) bool { return b.server == s.server }) {
		s.name = "" // one of several of the same address
	}
	p.sessions = append(p.sessions, s)
}

func (p *applyPlay) closeSession() {
	if len(p.sessions) == 0 {
		return
	}
	i := p.random.IntN(len(p.sessions))
	_ = p.sessions[i].conn.Close()
	p.sessions = slices.Delete(p.sessions, i, i+1)
}

// check holds everything against the model.
func (p *applyPlay) check() {
	for _, s := range p.sessions { // whatever has changed, they go on
		if _, err := fmt.Fprintln(s.conn, p.step); err != nil {
			p.Fatalf("step %d: %v", p.step, err)
		}
		if line, err := s.lines.ReadString('\n'); line != fmt.Sprintln(p.step) {
			p.Fatalf("step %d: a session of pool %s on server %d received %q, %v", p.step, s.pool, s.server, line, err)
		}
	}
	if now := p.w.Generation().Number; now != p.applied {
		p.Errorf("step %d: generation %d, want %d", p.step, now, p.applied)
	}
	want := p.describe()
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = describeWorld(p.w); got == want { // sessions that were closed are gone in a moment
			return
		}
	}
	p.Fatalf("step %d:\ngot\n%s\nwant\n%s", p.step, got, want)
}

// describe says what there is to be, listeners and pools by name.
func (p *applyPlay) describe() string {
	var lines []string
	for name, l := range p.file.listeners {
		n := 0
		for _, s := range p.sessions {
			if s.listener == name {
				n++
			}
		}
		lines = append(lines, fmt.Sprintf("listener %s unix:%s to %s: %d", name, l.path, l.pool, n))
	}
	for name := range p.file.pools {
		line := "pool " + name + ":"
		for _, b := range p.force(name) {
			line += fmt.Sprintf(" %s=%s,%v,%d", b.name, p.servers[b.server], b.state, b.weight)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(append(lines, fmt.Sprintf("sessions %d", len(p.sessions))), "\n")
}

func describeWorld(w *world) string {
	var lines []string
	status := w.admin.Status()
	for _, l := range status.Listeners {
		if !l.Leaving {
			lines = append(lines, fmt.Sprintf("listener %s %v to %s: %d", l.Name, l.Addresses[0], l.Pools[0], l.Sessions))
		}
	}
	for _, p := range status.Pools {
		line := "pool " + p.Name + ":"
		for _, b := range p.Backends {
			line += fmt.Sprintf(" %s=%s,%v,%d", b.Name, b.Address, b.State, b.Weight)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(append(lines, fmt.Sprintf("sessions %d", w.openSessions())), "\n")
}

// checkReplay makes a world of what is in force alone.
func (p *applyPlay) checkReplay() {
	for _, s := range p.sessions {
		_ = s.conn.Close()
	}
	p.sessions = nil
	p.check()
	g := p.w.now.Load()
	if err := p.w.server.Shutdown(context.Background()); err != nil {
		p.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	out := openLogWriter(io.Discard, log)
	defer out.close()
	again, err := newWorld(g.file, log, out, bindAdvice{})
	if err != nil {
		p.Fatal(err)
	}
	defer again.release()
	if _, err := again.apply(false, func(*generation) (*configs.File, overrides.Set, error) { return g.file, g.set, nil }); err != nil {
		p.Fatal(err)
	}
	if got, want := describeWorld(again), p.describe(); got != want {
		p.Errorf("from nothing:\ngot\n%s\nwant\n%s", got, want)
	}
}

// startNamedServers starts servers that say their number, and then send back what they receive.
func startNamedServers(t *testing.T, count int) (addresses []string) {
	for number := range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		addresses = append(addresses, l.Addr().String())
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_, _ = fmt.Fprintln(conn, number)
					_, _ = io.Copy(conn, conn)
				}()
			}
		}()
	}
	return addresses
}
