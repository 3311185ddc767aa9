package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sluice/configs"
	"sluice/pool"
)

// A resolver finds the addresses of backends whose host names had none when the configuration was loaded. Each name is
// asked for again, at longer and longer intervals, until it has one. A name that has been resolved stays what it is.
type resolver struct {
	w       *world
	resolve func(ctx context.Context, host string) (netip.Addr, error)
	pause   func(failures int) time.Duration
	tokens  chan struct{} // one for each look-up under way

	mu      sync.Mutex                 // guards what follows
	ctx     context.Context            // nil: not started
	waiting map[string][]*pool.Backend // by host; each has a goroutine
}

const (
	resolveFirst   = time.Second // after the first look-up that failed
	resolveLast    = 30 * time.Second
	resolveTimeout = 5 * time.Second // of one look-up
	resolveAtOnce  = 16              // look-ups at a time: resolvers drop what comes in floods
)

func newResolver(w *world) *resolver {
	return &resolver{
		w: w, resolve: configs.Resolve, pause: resolvePause, tokens: make(chan struct{}, resolveAtOnce),
		waiting: make(map[string][]*pool.Backend),
	}
}

// resolvePause doubles with every failure; a fifth more or less keeps instances that started together apart.
func resolvePause(failures int) time.Duration {
	pause := min(resolveFirst<<min(failures-1, 8), resolveLast)
	return pause*4/5 + rand.N(pause*2/5)
}

// start looks for every name that is missing, until ctx is done. The world's checks.Wait waits for it.
func (r *resolver) start(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	r.follow(r.w.now.Load().pools)
}

// follow looks for the names that backends of these pools wait for, those that nobody looks for yet.
func (r *resolver) follow(pools []*pool.Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil || r.ctx.Err() != nil {
		return
	}
	for _, p := range pools {
		for _, b := range p.Backends() {
			if b.Lost() == "" || slices.Contains(r.waiting[b.Host()], b) {
				continue
			}
			r.waiting[b.Host()] = append(r.waiting[b.Host()], b)
			if len(r.waiting[b.Host()]) == 1 {
				r.w.checks.Go(func() { r.look(r.ctx, b.Host()) })
			}
		}
	}
}

// look asks for one name until nobody waits for it any more.
func (r *resolver) look(ctx context.Context, host string) {
	for failures := 1; ; failures++ {
		ip, err := r.ask(ctx, host)
		if ctx.Err() != nil || !r.settle(host, ip, err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(r.pause(failures)):
		}
	}
}

// settle deals with an answer, and reports whether somebody goes on waiting. Backends that have left their pool do
// not, nor those of a pool that is gone, which is left as it was.
func (r *resolver) settle(host string, ip netip.Addr, err error) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pools := r.w.now.Load().pools
	left := slices.DeleteFunc(r.waiting[host], func(b *pool.Backend) bool {
		return !slices.Contains(pools, b.Pool()) || b.Pool().Lookup(b.Name()) != b || b.Lost() == "" || r.locate(b, ip, err)
	})
	if r.waiting[host] = left; len(left) == 0 {
		delete(r.waiting, host)
	}
	return len(left) > 0
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

// locate gives a backend its address, or says why it has none; then it returns false.
func (r *resolver) locate(b *pool.Backend, ip netip.Addr, err error) bool {
	address := pool.Address{TCP: netip.AddrPortFrom(ip, b.Address().TCP.Port())}
	if err == nil {
		if name, own := r.w.now.Load().force.OwnListener(address); own {
			err = fmt.Errorf("%s is %v, an address that this sluice listens on itself (listener %q)", b.Host(), address, name)
		}
	}
	if err != nil {
		if b.SetLost(err.Error()) {
			r.w.log.Warn("backend is down: it has no address; trying again", "pool", b.Pool().Name(), "backend", b.Name(),
				"error", err)
		}
		return false
	}
	b.SetAddress(address)
	r.w.log.Info("backend has an address", "pool", b.Pool().Name(), "backend", b.Name(), "address", address.String())
	return true
}
