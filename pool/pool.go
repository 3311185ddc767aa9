package pool

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrNoBackend means that no backend may take the session: none is usable, or it failed on all that are.
	ErrNoBackend = errors.New("no backend is available")
	// ErrFull means that a backend is usable, but each one that the session has not failed on is at max_conns.
	ErrFull = errors.New("every backend is at max_conns")
)

// Config is what a pool is made from, and changed to.
type Config struct {
	Name     string
	Balance  Policy
	Backends []BackendConfig
	Shards   int // event loops that count traffic; 0 means 1
	// QueueMax is how many sessions may wait for a backend; 0 = none.
	QueueMax int
	// SlowStart is how long the share of a backend that came back takes to grow to the whole; 0 = it is whole at once.
	SlowStart time.Duration
	// NoFailback, which is for First alone, lets the backend that has taken over stay the first one until it is not usable
	// any more: who comes back, of the other tier too, waits for that. So of servers that must not be written to at the
	// same time only one is at any time.
	NoFailback bool
}

// Pool is a set of backends with one balancing policy. It is safe for concurrent use.
type Pool struct {
	name   string
	shards int
	set    atomic.Pointer[[]*Backend] // in configured order; to change it takes both mutexes

	revision   atomic.Uint64
	changing   sync.Mutex // held during a change of weights, addresses or backends; taken before mu
	mu         sync.Mutex // guards the states of all backends, and:
	policy     Policy     // to change it takes changing too
	queueMax   int
	slowStart  time.Duration
	keeps      bool       // NoFailback
	leaving    []*Backend // removed, and with sessions still
	balancer   balancer
	candidates []*Backend // usable backends of the tier in use, the leader first, then in configured order
	leader     *Backend   // with NoFailback: who takes the new sessions; nil = nobody is usable
	led        bool       // the leader stays: it has taken over, or has been given a session
	ramping    []*Backend // usable backends in slow start
	queue      queue
}

// New returns a pool in which every backend is up that is not Down. The error lists everything that is wrong with the
// configuration. A pool without backends is allowed: it answers ErrNoBackend.
func New(c Config) (*Pool, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("new pool %q: %w", c.Name, err)
	}
	p := &Pool{
		name: c.Name, policy: c.Balance, shards: max(c.Shards, 1), queueMax: c.QueueMax, slowStart: c.SlowStart, keeps: c.NoFailback,
		candidates: make([]*Backend, 0, len(c.Backends)),
	}
	all := make([]*Backend, len(c.Backends))
	for i, bc := range c.Backends {
		all[i] = newBackend(p, bc)
		all[i].wasUsable = all[i].usable() // it has not come back from anything: no slow start
	}
	p.set.Store(&all)
	p.balancer = newBalancer(p.policy, all, weightsOf(all))
	p.findCandidates()
	return p, nil
}

// check returns every problem of the configuration.
func (c Config) check() error {
	var problems []error
	if int(c.Balance) >= len(policyWords.Words) {
		problems = append(problems, fmt.Errorf("unknown balance policy %v", c.Balance))
	}
	if len(c.Backends) > math.MaxUint16 { // positions in a Maglev table are 16 bits
		problems = append(problems, fmt.Errorf("%d backends: want at most %d", len(c.Backends), math.MaxUint16))
	}
	if c.QueueMax < 0 {
		problems = append(problems, fmt.Errorf("queue max %d: want 0 (nobody waits) or more", c.QueueMax))
	}
	if c.SlowStart < 0 {
		problems = append(problems, fmt.Errorf("slow_start %v: want 0s (none) or more", c.SlowStart))
	}
	if c.NoFailback && c.Balance != First {
		problems = append(problems, fmt.Errorf("no failback with balance %v: only %v has one backend before the others",
			c.Balance, First))
	}
	seen := make(map[string]bool, len(c.Backends))
	for i, bc := range c.Backends {
		if err := bc.check(); err != nil {
			problems = append(problems, fmt.Errorf("backend %d %q: %w", i, bc.Name, err))
		}
		before := len(seen)
		if seen[bc.Name] = true; len(seen) == before {
			problems = append(problems, fmt.Errorf("backend %d %q: name is already taken", i, bc.Name))
		}
	}
	return errors.Join(problems...)
}

// check returns every problem of one backend's configuration.
func (c BackendConfig) check() error {
	var name, address, state error
	if c.Name == "" {
		name = errors.New("name is empty")
	}
	if !c.Address.dialable() {
		address = fmt.Errorf("address %q: want an address and a port, or a socket path", c.Address)
	}
	if int(c.State) >= len(adminStateWords.Words) {
		state = fmt.Errorf("unknown state %v", c.State)
	}
	return errors.Join(name, address, checkWeight(c.Weight), checkMaxConns(c.MaxConns), state)
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Policy returns how the pool chooses now.
func (p *Pool) Policy() Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.policy
}

// Shards is how many event loops may count traffic of this pool.
func (p *Pool) Shards() int { return p.shards }

// Backends returns the backends in configured order. The slice must not be changed, and never is: a change of the set
// replaces it as a whole, so that a position in it says nothing of the next one.
func (p *Pool) Backends() []*Backend { return *p.set.Load() }

// All returns the backends and, after them, those that were removed and have sessions still.
func (p *Pool) All() []*Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Concat(p.Backends(), p.leaving)
}

// Lookup returns the backend of that name, or nil when there is none, or none any more.
func (p *Pool) Lookup(name string) *Backend {
	for _, b := range p.Backends() {
		if b.name == name {
			return b
		}
	}
	return nil
}

// Revision is another number after every change of what is wanted or known of backends: of their states, weights, health and
// tiers, and of which there are. Who looks at all of them now and then need not look while it is the same.
func (p *Pool) Revision() uint64 { return p.revision.Load() }

// Usable returns how many backends, backups included, could be given sessions now: ready, up, not ejected, weight > 0.
func (p *Pool) Usable() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usable()
}

func (p *Pool) usable() (n int) {
	for _, b := range p.Backends() {
		if b.usable() {
			n++
		}
	}
	return n
}

// Reserve picks a backend by the policy and takes one of its slots, which counts as an active connection until
// Backend.Release is called, exactly once.
//
// The client is the real client's address; the zero Addr stands for clients without one. The backends in tried are not
// picked: the session failed on them. The error is ErrNoBackend or ErrFull, as they are. Reserve does not allocate.
func (p *Pool) Reserve(client netip.Addr, tried []*Backend) (*Backend, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.place(client, tried); b != nil {
		return b, nil
	}
	return nil, p.refusal(tried)
}

// HasOther reports whether there is a backend to go to other than b and those in tried: one that Reserve could pick
// now.
func (p *Pool) HasOther(b *Backend, tried []*Backend) bool {
	return p.hasOther(b, tried, func(c *Backend) bool { return !c.full() })
}

// MayHaveOther is HasOther that counts the backends that are full, too: they may have room in a while.
func (p *Pool) MayHaveOther(b *Backend, tried []*Backend) bool {
	return p.hasOther(b, tried, func(*Backend) bool { return true })
}

func (p *Pool) hasOther(b *Backend, tried []*Backend, takes func(*Backend) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.candidates, func(c *Backend) bool {
		return c != b && takes(c) && !slices.Contains(tried, c)
	})
}

// place takes a slot for a session and returns its backend, or nil when no candidate that is not among tried has one.
// The mutex is held.
func (p *Pool) place(client netip.Addr, tried []*Backend) *Backend {
	if len(p.candidates) == 0 {
		return nil
	}
	p.ramp()
	p.markTried(tried, true)
	b := p.balancer.pick(p.candidates, client)
	p.markTried(tried, false)
	if b != nil {
		b.active++
		p.led = p.led || b == p.leader
	}
	return b
}

// markTried bars backends from being picked, or lets them back in. The mark is looked up in place of the list, and the
// list does not escape to the heap. A session that was sent on from another pool may bring backends that this pool's
// mutex does not guard.
func (p *Pool) markTried(backends []*Backend, tried bool) {
	for _, b := range backends {
		if b.pool == p {
			b.tried = tried
		}
	}
}

// refusal returns why place found nothing. The mutex is held.
func (p *Pool) refusal(tried []*Backend) error {
	for _, b := range p.candidates {
		if !slices.Contains(tried, b) {
			return ErrFull
		}
	}
	return ErrNoBackend
}

// reweigh changes a backend's weight. The new balancer, which may take milliseconds, is made before the mutex that
// every new session waits for is taken.
func (p *Pool) reweigh(b *Backend, weight int) {
	p.changing.Lock()
	defer p.changing.Unlock()
	if b.weight == weight {
		return // keep the turns of the policy
	}
	all := p.Backends()
	at := slices.Index(all, b)
	if at < 0 { // it was removed: nobody is given to it
		p.mu.Lock()
		defer p.mu.Unlock()
		b.weight = weight
		return
	}
	weights := weightsOf(all)
	weights[at] = weight
	next := newBalancer(p.policy, all, weights)

	p.mu.Lock()
	defer p.mu.Unlock()
	b.weight, p.balancer = weight, next
	forgetTurns(all)
	p.refresh()
}

// weightsOf returns the weight of each backend. Either mutex is held, or the pool is new.
func weightsOf(backends []*Backend) []int {
	ws := make([]int, len(backends))
	for i, b := range backends {
		ws[i] = b.weight
	}
	return ws
}

// refresh finds the candidates again after a change of state and gives those who wait what they can have now. The
// mutex is held.
func (p *Pool) refresh() {
	p.revision.Add(1)
	for _, b := range p.Backends() {
		p.noteUsable(b)
	}
	p.findCandidates()
	p.grant()
}

// noteUsable notes whether a backend has come back or gone. The mutex is held.
func (p *Pool) noteUsable(b *Backend) {
	usable := b.usable()
	if usable == b.wasUsable {
		return
	}
	b.wasUsable = usable
	if usable {
		p.startRamp(b)
		p.forgive(b)
	} else {
		p.endRamp(b)
	}
}

// findCandidates takes the usable backends of the first tier that has any, or of a leader's that stays. The mutex is
// held.
func (p *Pool) findCandidates() {
	p.candidates = p.candidates[:0]
	failed := p.leader != nil && !p.leader.usable()
	if p.led && !failed {
		p.candidates = append(p.candidates, p.leader)
		p.addCandidates(p.leader.backup)
		return
	}
	p.leader, p.led = nil, false
	for _, backup := range []bool{false, true} {
		if p.addCandidates(backup); len(p.candidates) > 0 {
			break
		}
	}
	if p.keeps && len(p.candidates) > 0 {
		p.leader, p.led = p.candidates[0], failed
	}
}

// addCandidates adds the usable backends of a tier. The mutex is held.
func (p *Pool) addCandidates(backup bool) {
	for _, b := range p.Backends() {
		if b.backup == backup && b != p.leader && b.usable() {
			p.candidates = append(p.candidates, b)
		}
	}
}
