package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/pool"
)

// A modelBackend is what is written of a backend, or what is in force of it.
type modelBackend struct {
	name     string
	server   int
	weight   int
	maxConns int // 0 = no limit
	state    pool.AdminState
}

// A modelConfig is a configuration as the model has it.
type modelConfig struct {
	listeners map[string]listenerRules
	pools     map[string]poolRules
}

type listenerRules struct {
	port      int
	pool      string
	max       int // sessions; 0 = no limit
	perClient int // likewise, of one client
}

type poolRules struct {
	way      string // how servers are asked for their health; "" = not at all
	queue    int    // sessions that may wait
	backends []modelBackend
}

// randomConfig returns a configuration. While somebody waits before a listener it has no checks, so that it is certain
// what becomes of him: whether a backend is up is never in question.
func (p *applyPlay) randomConfig() modelConfig {
	c := modelConfig{listeners: make(map[string]listenerRules), pools: make(map[string]poolRules)}
	for _, name := range []string{"red", "green", "blue"} {
		if p.random.IntN(3) == 0 && len(c.pools) > 0 {
			continue
		}
		rules := poolRules{way: []string{"", "a", "a", "b"}[p.random.IntN(4)], queue: p.random.IntN(5)}
		if p.backlog != nil {
			rules.way = ""
		}
		free := slices.DeleteFunc(p.random.Perm(len(p.servers.addresses)), func(server int) bool { return p.isAdded(name, server) })
		for _, server := range free[:1+p.random.IntN(3)] {
			rules.backends = append(rules.backends, modelBackend{
				name: fmt.Sprintf("b%d", p.random.IntN(2)*10+server), server: server, weight: p.random.IntN(4), maxConns: p.random.IntN(4),
				state: []pool.AdminState{pool.Ready, pool.Ready, pool.Ready, pool.Drain, pool.Maint}[p.random.IntN(5)],
			})
		}
		c.pools[name] = rules
	}
	ports := p.random.Perm(len(p.ports))
	pools := slices.Sorted(maps.Keys(c.pools))
	for i, name := range []string{"one", "two", "three"} {
		if i == 0 || p.random.IntN(3) > 0 {
			c.listeners[name] = listenerRules{
				port: p.ports[ports[i]], pool: pools[p.random.IntN(len(pools))],
				max: []int{0, 2, 4, 8}[p.random.IntN(4)], perClient: p.random.IntN(4),
			}
		}
	}
	return c
}

// text writes a configuration, its things in random order.
func (p *applyPlay) text(c modelConfig) string {
	var b strings.Builder
	b.WriteString("loops: 2\nadmin: {listen: \"\", socket: \"\"}\nlisteners:\n")
	for _, name := range p.shuffled(slices.Sorted(maps.Keys(c.listeners))) {
		l := c.listeners[name]
		fmt.Fprintf(&b, "  %s: {bind: \"127.0.0.1:%d\", pool: %s, max_sessions: %d, per_client: {sessions: %d}}\n", name, l.port, l.pool,
			l.max, l.perClient)
	}
	b.WriteString("pools:\n")
	for _, name := range p.shuffled(slices.Sorted(maps.Keys(c.pools))) {
		rules := c.pools[name]
		fmt.Fprintf(&b, "  %s:\n    check: %s\n    queue: {max: %d, timeout: 1h}\n    retries: %d\n", name, p.checkText(rules.way), rules.queue,
			p.random.IntN(3))
		b.WriteString("    on_down: {sessions: keep}\n    eject: {failures: 0}\n    timeouts: {connect: 1m}\n    backends:\n")
		for _, m := range rules.backends {
			fmt.Fprintf(&b, "    - {name: %s, address: %q, weight: %d, max_conns: %d, state: %v}\n", m.name, p.servers.addresses[m.server],
				m.weight, m.maxConns, m.state)
		}
	}
	return b.String()
}

// checkText writes how health is asked for: what one answer says counts.
func (p *applyPlay) checkText(way string) string {
	if way == "" {
		return `{type: "off"}`
	}
	return fmt.Sprintf("{type: http, port: %d, path: /%d/%s, rise: 1, fall: 1, timeout: 30s, interval: %v, fast_interval: %v, down_interval: %v, jitter: 0}",
		p.servers.port, p.seed, way, askEvery, askEvery, askEvery)
}

func (p *applyPlay) shuffled(names []string) []string {
	p.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}
