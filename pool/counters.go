package pool

// BackendCounters is what a backend has counted: in the process of its own, and in those before.
type BackendCounters struct {
	Name    string  `json:"name"`
	Address Address `json:"address"`
	Host    string  `json:"host,omitempty"` // as in BackendAccount

	Dials     map[string]uint64 `json:"dials,omitempty"`     // by the word of the DialResult
	Obstacles map[string]uint64 `json:"obstacles,omitempty"` // by the word of the Obstacle
	Received  uint64            `json:"received,omitempty"`  // bytes, from the backend
	Sent      uint64            `json:"sent,omitempty"`      // bytes, to the backend
}

// Counters returns what the backends have counted so far, those that leave included.
func (p *Pool) Counters() []BackendCounters {
	all := p.All()
	counters := make([]BackendCounters, len(all))
	for i, b := range all {
		s := b.Stats()
		c := BackendCounters{
			Name: s.Name, Address: s.Address, Received: s.Received, Sent: s.Sent,
			Dials: make(map[string]uint64), Obstacles: make(map[string]uint64),
		}
		for r := range b.dials {
			addTo(c.Dials, DialResult(r).String(), b.dials[r].Load())
		}
		for _, o := range Obstacles() {
			addTo(c.Obstacles, o.String(), b.obstacles[o].Load())
		}
		counters[i] = c
	}
	return counters
}

func addTo(counts map[string]uint64, word string, n uint64) {
	if n > 0 {
		counts[word] = n
	}
}

// AddCounters adds what another process has counted to what is counted here. What it says of backends that this pool does
// not know, and of what this version does not count, is dropped. It may be called at any time.
func (p *Pool) AddCounters(counters []BackendCounters) {
	p.changing.Lock() // who is who stands until it has been done
	defer p.changing.Unlock()
	for _, c := range counters {
		if b := p.known(BackendConfig{Name: c.Name, Address: c.Address}); b != nil {
			b.carry(c)
		}
	}
}

// known is lookFor. Pool.changing is held.
func (p *Pool) known(c BackendConfig) *Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lookFor(c)
}

// carry adds counters to those of the backend. Other goroutines count too: the bytes of a shard are one event loop's.
func (b *Backend) carry(c BackendCounters) {
	for r := range b.dials {
		b.dials[r].Add(c.Dials[DialResult(r).String()])
	}
	for _, o := range Obstacles() {
		b.obstacles[o].Add(c.Obstacles[o.String()])
	}
	b.carried.received.Add(c.Received)
	b.carried.sent.Add(c.Sent)
}
