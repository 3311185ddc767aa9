package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/pool"
)

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
