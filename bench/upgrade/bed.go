package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sluice/bench/load"
	"sluice/bench/record"
)

// startPatience bounds the time from starting a system to its first answer, and from an upgrade's begin to its end.
const startPatience = time.Minute

// messageSize is that of all messages, both ways.
const messageSize = 64

// A bed is one system between the sessions and a backend.
type bed struct {
	options
	dir      string // for configurations and sockets
	keeper   *keeper
	backend  *load.Backend
	backends []netip.AddrPort
	target   netip.AddrPort
	pinger   *load.Pinger
	caller   *load.Caller
	upgrade  func(context.Context) (told, error)
}

// newBed starts a backend, a system, and sessions, of which there are none yet.
func newBed(ctx context.Context, o options, s system) (_ *bed, err error) {
	b := &bed{options: o}
	defer func() {
		if err != nil {
			err = b.close(err)
		}
	}()
	if b.dir, err = os.MkdirTemp("", "upgrade-"); err != nil {
		return nil, err
	}
	var listen []netip.AddrPort
	for i := range 4 { // so that the ports of a balancer's connections suffice
		listen = append(listen, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}), 0))
	}
	if b.backend, err = load.StartBackend(load.BackendConfig{Listen: listen}); err != nil {
		return nil, err
	}
	b.backends = b.backend.Addrs()
	if b.target, err = load.FreePort(); err != nil {
		return nil, err
	}
	if b.keeper, err = startKeeper(); err != nil {
		return nil, err
	}
	if b.upgrade, err = s.start(ctx, b); err != nil {
		return nil, err
	}
	if err := b.awaitAnswer(ctx); err != nil {
		return nil, fmt.Errorf("wait for %s: %w", s.name, err)
	}
	return b, b.startClients()
}

// awaitAnswer tries the system until it answers.
func (b *bed) awaitAnswer(ctx context.Context) error {
	return until(ctx, func() error {
		_, err := load.Run(ctx, load.Plan{Target: b.target, Patience: time.Second,
			Flows: []load.Flow{{Work: load.Hold, Sessions: 4, Size: messageSize}}})
		return err
	})
}

// clients is from how many addresses the sessions come, so that ports do not run out.
const clients = 16

// callRest is how long the caller rests between two connections.
const callRest = time.Millisecond

func (b *bed) startClients() (err error) {
	b.pinger, err = load.StartPinger(load.Pings{Target: b.target, Sources: clients, Size: messageSize, Rest: b.rest, Rate: b.rate})
	if err != nil {
		return err
	}
	b.caller, err = load.StartCaller(b.target, clients, messageSize, callRest)
	return err
}

// close ends everything. It returns err, the result so far, with what went wrong besides.
func (b *bed) close(err error) error {
	if b.caller != nil {
		b.caller.Close()
	}
	if b.pinger != nil {
		b.pinger.Close()
	}
	errs := []error{err}
	if b.keeper != nil {
		errs = append(errs, b.keeper.end())
	}
	if b.backend != nil {
		b.backend.Close()
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	err = errors.Join(errs...)
	if b.keeper != nil && err != nil {
		err = fmt.Errorf("%w; it said: %s", err, &b.keeper.said)
	}
	return err
}

// config writes a configuration and returns its path.
func (b *bed) config(name, text string) (string, error) {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// until tries something again and again until it succeeds.
func until(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), record.OneLine(err))
		case <-time.After(5 * time.Millisecond):
		}
	}
}
