package main

import (
	"fmt"
	"slices"
	"time"

	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
)

// serverConfig returns how the data path reports what it does. What it listens on comes with every generation.
func (w *world) serverConfig() l4.Config {
	inherited := w.advice.passed.inherited()
	if w.from != nil {
		handed, _ := w.from.sockets()
		inherited = slices.Concat(handed, inherited) // those of the service manager are among them too, if they are in use
	}
	return l4.Config{
		Loops:      w.loops,
		Inherited:  inherited,
		Hold:       w.from != nil,
		Pools:      w.pools,
		MaxCancels: maxCancels(w.files),
		Logger:     w.log,
		OnEnd: func(end l4.End) {
			w.metrics.SessionEnded(&end)
			w.sessions.ended(end)
		},
		WantLocal: w.sessions.wants,
		OnDial: func(backend *pool.Backend, took time.Duration, result pool.DialResult) {
			w.metrics.Dialed(backend, took, result)
			w.monitor.Observe(backend, result)
		},
		OnWait:   w.metrics.Waited,
		OnAnswer: w.metrics.Answered,
	}
}

// pools returns the pools of the present configuration, of listeners or not.
func (w *world) pools() []*pool.Pool {
	if g := w.now.Load(); g != nil {
		return g.pools
	}
	return nil
}

// readAccess reads the files of networks that a configuration names, which may have changed since it was checked.
func readAccess(file *configs.File) error {
	for i := range file.Listeners {
		l := &file.Listeners[i]
		allow, deny, err := l.ReadAccess()
		if err != nil {
			return fmt.Errorf("listener %q: %w", l.Name, err)
		}
		l.Allow.InForce, l.Deny.InForce = allow, deny
	}
	return nil
}

// listening returns what the data path is to listen on.
func (w *world) listening(g *generation) l4.Update {
	u := l4.Update{MaxSessions: g.limits.Sessions}
	for i := range g.force.Listeners {
		l := &g.force.Listeners[i]
		config := l.ListenerConfig
		config.Target, config.Allow, config.Deny = g.target(l.Pool), l.Allow.InForce, l.Deny.InForce
		for _, r := range l.Routes {
			config.Routes = append(config.Routes, l4.RoutedTarget{Rule: r.Rule, Target: g.target(r.Pool)})
		}
		u.Listeners = append(u.Listeners, config)
	}
	return u
}

// target returns the zero Target for no pool.
func (g *generation) target(name string) l4.Target {
	p := g.force.Pool(name)
	if p == nil {
		return l4.Target{}
	}
	t := p.Target
	t.Pool = g.pool(name)
	return t
}
