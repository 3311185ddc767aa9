package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"sluice/configs"
	"sluice/pool"
)

// A resolver finds the addresses of backends whose host names had none when the configuration was loaded. Each name is
// asked for again, at longer and longer intervals, until it has one. A name that has been resolved stays what it is.
type resolver struct {
	b       *balancer
	resolve func(ctx context.Context, host string) (netip.Addr, error)
	pause   func(failures int) time.Duration
	tokens  chan struct{} // one for each look-up under way
}

const (
	resolveFirst   = time.Second // after the first look-up that failed
	resolveLast    = 30 * time.Second
	resolveTimeout = 5 * time.Second // of one look-up
	resolveAtOnce  = 16              // look-ups at a time: resolvers drop what comes in floods
)

func newResolver(b *balancer) *resolver {
	return &resolver{b: b, resolve: configs.Resolve, pause: resolvePause, tokens: make(chan struct{}, resolveAtOnce)}
}

// resolvePause doubles with every failure; a fifth more or less keeps instances that started together apart.
func resolvePause(failures int) time.Duration {
	pause := min(resolveFirst<<min(failures-1, 8), resolveLast)
	return pause*4/5 + rand.N(pause*2/5)
}

// start looks for every name that is missing, until ctx is done. The balancer's checks.Wait waits for it.
func (r *resolver) start(ctx context.Context) {
	waiting := make(map[string][]*pool.Backend)
	for _, p := range r.b.pools {
		for _, b := range p.Backends() {
			if b.Lost() != "" {
				waiting[b.Host()] = append(waiting[b.Host()], b)
			}
		}
	}
	for host, backends := range waiting {
		r.b.checks.Go(func() { r.look(ctx, host, backends) })
	}
}

// look asks for one name until all of the backends that wait for it have their address.
func (r *resolver) look(ctx context.Context, host string, waiting []*pool.Backend) {
	for failures := 0; len(waiting) > 0; {
		ip, err := r.ask(ctx, host)
		if ctx.Err() != nil {
			return
		}
		var left []*pool.Backend
		for _, b := range waiting {
			if !r.settle(b, ip, err) {
				left = append(left, b)
			}
		}
		waiting = left
		failures++
		select {
		case <-ctx.Done():
			return
		case <-time.After(r.pause(failures)):
		}
	}
}

func (r *resolver) ask(ctx context.Context, host string) (netip.Addr, error) {
	select {
	case r.tokens <- struct{}{}:
	case <-ctx.Done():
		return netip.Addr{}, ctx.Err()
	}
	defer func() { <-r.tokens }()
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	return r.resolve(ctx, host)
}

// settle gives a backend its address, or says why it has none; then it returns false.
func (r *resolver) settle(b *pool.Backend, ip netip.Addr, err error) bool {
	address := pool.Address{TCP: netip.AddrPortFrom(ip, b.Address().TCP.Port())}
	if err == nil {
		if name, own := r.b.file.OwnListener(address); own {
			err = fmt.Errorf("%s is %v, an address that this sluice listens on itself (listener %q)", b.Host(), address, name)
		}
	}
	if err != nil {
		if b.SetLost(err.Error()) {
			r.b.log.Warn("backend is down: it has no address; trying again", "pool", b.Pool().Name(), "backend", b.Name(),
				"error", err)
		}
		return false
	}
	b.SetAddress(address)
	r.b.log.Info("backend has an address", "pool", b.Pool().Name(), "backend", b.Name(), "address", address.String())
	return true
}
