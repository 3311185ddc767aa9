package health

import (
	"context"
	"errors"
	"sync"

	"sluice/health/probe"
	"sluice/pool"
)

type newProber func(probe.Config, pool.Address) (probe.Prober, error)

// proberOf returns the prober of a backend: a lateProber as long as its address is not known.
func proberOf(c probe.Config, b *pool.Backend, make newProber) (probe.Prober, error) {
	if b.Lost() == "" {
		return make(c, b.Address())
	}
	return &lateProber{backend: b, make: func() (probe.Prober, error) { return make(c, b.Address()) }}, nil
}

// A lateProber asks a backend from when its address is known. Until then every probe fails for the reason that there is
// none.
type lateProber struct {
	backend *pool.Backend
	make    func() (probe.Prober, error)

	waited bool // by Wait, for the address
	mu     sync.Mutex
	prober probe.Prober // nil: not made yet
}

func (p *lateProber) Probe(ctx context.Context) (probe.Answer, error) {
	prober, err := p.get()
	if err != nil {
		return probe.Answer{}, err
	}
	return prober.Probe(ctx)
}

// get returns the prober of the address, or why there is none.
func (p *lateProber) get() (probe.Prober, error) {
	if lost := p.backend.Lost(); lost != "" {
		return nil, errors.New(lost)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prober == nil {
		prober, err := p.make()
		if err != nil {
			return nil, err
		}
		p.prober = prober
	}
	return p.prober, nil
}

// Wait returns true when the address is there: it is worth asking at once.
func (p *lateProber) Wait(ctx context.Context) (lost bool) {
	if !p.waited {
		p.waited = true
		select {
		case <-p.backend.Located():
			return true
		case <-ctx.Done():
			return false
		}
	}
	prober, err := p.get()
	if err != nil { // as every probe says
		<-ctx.Done()
		return false
	}
	return prober.Wait(ctx)
}

func (p *lateProber) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prober != nil {
		p.prober.Close()
	}
}
