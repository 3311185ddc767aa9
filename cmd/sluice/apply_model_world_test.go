package main

import (
	"fmt"
	"slices"
	"strings"

	"sluice/cmd/sluice/internal/admin"
)

// describe says what there is to be and, of a world that has lived, what it has and has counted.
func (p *applyPlay) describe(lived bool) string {
	var lines, history []string
	for _, l := range p.listeners {
		if !l.leaving {
			lines = append(lines, fmt.Sprintf("listener %s 127.0.0.1:%d to %s, at most %d", l.name, l.rules.port, l.rules.pool, l.rules.max))
		}
		history = append(history, fmt.Sprintf("listener %s leaving %t: %d open, %d accepted%s", l.name, l.leaving, len(l.open), l.accepts,
			l.describeClients()))
		for k, n := range l.ended {
			history = append(history, fmt.Sprintf("ended %s %s %s: %d", l.name, k.pool, k.reason, n))
		}
	}
	for name, one := range p.pools {
		line := fmt.Sprintf("pool %s, queue of %d:", name, one.rules.queue)
		for _, b := range one.rules.backends {
			line += fmt.Sprintf(" %s=%s,%v,%d,%d", b.name, p.servers.addresses[b.server], b.state, b.weight, b.maxConns)
		}
		lines = append(lines, line)
		history = append(history, fmt.Sprintf("pool %s: %d wait, usable%s", name, len(one.waiting), p.describeUsable(one)))
		for k, n := range one.slots {
			history = append(history, fmt.Sprintf("backend %s %s %s in force %t: %d active, %d connects, %d bytes and %d back", name, k.name,
				p.servers.addresses[k.server], one.inForce(k), n.active, n.connects, n.sent, n.received))
		}
	}
	if lived {
		open := len(p.sessions)
		if p.backlog != nil {
			open--
		}
		lines = append(lines, append(history, fmt.Sprintf("open %d, generation %d", open, p.applied))...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// describeClients says whose sessions are counted, where there is a limit for each client.
func (l *modelListener) describeClients() string {
	if l.rules.perClient == 0 || l.leaving {
		return ""
	}
	sessions, clients := 0, make(map[string]bool)
	for _, s := range l.open {
		if s.counted {
			sessions++
			clients[s.client] = true
		}
	}
	return fmt.Sprintf(", %d sessions of %d clients", sessions, len(clients))
}

// describeWorld says what there is, in the words of applyPlay.describe.
func describeWorld(w *world, lived bool) string {
	status := w.admin.Status()
	var lines, history []string
	for _, l := range status.Listeners {
		if !l.Leaving {
			lines = append(lines, fmt.Sprintf("listener %s %v to %s, at most %d", l.Name, l.Addresses[0], l.Pools[0], l.MaxSessions))
		}
		of := ""
		if l.Clients.Table > 0 && !l.Leaving {
			of = fmt.Sprintf(", %d sessions of %d clients", l.Clients.Sessions, l.Clients.Busy)
		}
		history = append(history, fmt.Sprintf("listener %s leaving %t: %d open, %d accepted%s", l.Name, l.Leaving, l.Sessions, l.Accepts, of))
	}
	for _, e := range status.Ended {
		history = append(history, fmt.Sprintf("ended %s %s %s: %d", e.Listener, e.Pool, e.Reason, e.Count))
	}
	for _, p := range status.Pools {
		line, usable := fmt.Sprintf("pool %s, queue of %d:", p.Name, p.QueueMax), ""
		for _, b := range p.Backends {
			line += fmt.Sprintf(" %s=%s,%v,%d,%d", b.Name, b.Address, b.State, b.Weight, b.MaxConns)
			usable += fmt.Sprintf(" %s=%t", b.Name, b.Usable)
			history = append(history, describeBackend(p.Name, b, true))
		}
		for _, b := range p.Leaving {
			history = append(history, describeBackend(p.Name, b, false))
		}
		lines = append(lines, line)
		history = append(history, fmt.Sprintf("pool %s: %d wait, usable%s", p.Name, p.Waiting, usable))
	}
	if lived {
		lines = append(lines, append(history, fmt.Sprintf("open %d, generation %d", w.openSessions(), w.Generation().Number))...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func describeBackend(pool string, b admin.BackendStatus, inForce bool) string {
	return fmt.Sprintf("backend %s %s %s in force %t: %d active, %d connects, %d bytes and %d back", pool, b.Name, b.Address, inForce,
		b.Active, b.Connects, b.Sent, b.Received)
}
