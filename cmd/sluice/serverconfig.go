package main

import (
	"fmt"
	"time"

	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
)

// serverConfig returns what the data path is to do.
func (b *balancer) serverConfig() (l4.Config, error) {
	config := l4.Config{
		Loops:       b.loops,
		MaxSessions: b.limits.Sessions,
		MaxCancels:  cancelsOf(b.file, b.limits.Descriptors),
		Logger:      b.log,
		OnEnd: func(end l4.End) {
			b.metrics.SessionEnded(&end)
			b.sessions.ended(end)
		},
		WantLocal: b.sessions.wants,
		OnDial: func(backend *pool.Backend, took time.Duration, result pool.DialResult) {
			b.metrics.Dialed(backend, took, result)
			b.monitor.Observe(backend, result)
		},
		OnWait:   b.metrics.Waited,
		OnAnswer: b.metrics.Answered,
	}
	for i := range b.file.Listeners {
		l, err := b.listenerConfig(&b.file.Listeners[i])
		if err != nil {
			return l4.Config{}, err
		}
		config.Listeners = append(config.Listeners, l)
	}
	return config, nil
}

// listenerConfig reads the files of networks, which may have changed since the configuration was checked.
func (b *balancer) listenerConfig(l *configs.Listener) (l4.ListenerConfig, error) {
	allow, deny, err := l.ReadAccess()
	if err != nil {
		return l4.ListenerConfig{}, fmt.Errorf("listener %q: %w", l.Name, err)
	}
	config := l.ListenerConfig
	config.Target, config.Allow, config.Deny = b.target(l.Pool), allow, deny
	for _, r := range l.Routes {
		config.Routes = append(config.Routes, l4.RoutedTarget{Rule: r.Rule, Target: b.target(r.Pool)})
	}
	return config, nil
}

// target returns the zero Target for no pool.
func (b *balancer) target(name string) l4.Target {
	for i, p := range b.file.Pools {
		if p.Config.Name == name {
			p.Target.Pool = b.pools[i]
			return p.Target
		}
	}
	return l4.Target{}
}
