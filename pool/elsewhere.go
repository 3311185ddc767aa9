package pool

import (
	"fmt"
	"slices"
)

// While sessions move to another process, each process counts those that the other one has still, or has already, as
// slots that are taken elsewhere: against max_conns, by the policies and in the statistics. So the two pools together
// never go beyond a limit, and each one's Active is exact.
//
//	the process that sessions leave                    the one that they come to
//	Active here ──Depart──► Active elsewhere           Active elsewhere ──Arrive──► Active here ──Release──► free
//	                                                   Expect: how many of those that have not come are left
//
// Nobody may take a slot in the process that sessions come to as long as somebody takes one in the other.

// Harbour returns the backend of a name and an address, for a session that comes from another process with it: one that is
// in use, or that leaves, or else a new one, which is as if it had been removed: no session is given to it, and with its
// last one it is forgotten. It must not be called from Waiter.Granted.
func (p *Pool) Harbour(c BackendConfig) *Backend {
	p.changing.Lock() // else an Update that is planned would make it a second time
	defer p.changing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.lookFor(c); b != nil {
		return b
	}
	return p.harbour(c)
}

// lookFor returns the backend whose configuration c is, of those in use and those that leave; nil = none. Both mutexes are
// held.
func (p *Pool) lookFor(c BackendConfig) *Backend {
	for _, backends := range [...][]*Backend{p.Backends(), p.leaving} {
		for _, b := range backends {
			if b.is(c) {
				return b
			}
		}
	}
	return nil
}

// harbour adds a backend to those that leave. Both mutexes are held.
func (p *Pool) harbour(c BackendConfig) *Backend {
	b := newBackend(p, c)
	b.removed = true
	p.leaving = append(p.leaving, b)
	return b
}

// Expect says how many of the backend's slots are taken by sessions of another process, whatever was said before: n of
// them are to Arrive, or to end there. When it is fewer, those who wait are given what is free now.
func (b *Backend) Expect(n int) {
	if n < 0 {
		panic(fmt.Sprintf("pool: backend %s/%s expects %d sessions", b.pool.name, b.name, n))
	}
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.expect(n)
}

// expect is Expect. The pool's mutex is held.
func (b *Backend) expect(n int) {
	fewer := b.elsewhere - n
	b.elsewhere = n
	if fewer > 0 || b.active == fewer { // of a removed one that nobody has come to, too
		b.vacate(fewer)
		return
	}
	b.linger()
	b.active -= fewer
}

// Held returns how many of the backend's slots sessions of this process hold.
func (b *Backend) Held() int {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.held()
}

// held is Held. The pool's mutex is held.
func (b *Backend) held() int { return b.active - b.elsewhere }

// Arrive takes a slot for a session that comes from another process: one that it has held there, if any is expected.
// max_conns does not matter, and the slot must be Released as any other.
func (b *Backend) Arrive() {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	if b.elsewhere > 0 {
		b.elsewhere--
	} else {
		b.linger()
		b.active++
	}
	b.pool.led = b.pool.led || b == b.pool.leader
}

// Depart notes that a session leaves for another process, with its slot, which is taken still but must not be Released
// here any more. It panics, as Release does, when no slot is taken here.
func (b *Backend) Depart() {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	if b.held() == 0 {
		panic(fmt.Sprintf("pool: a session departs from backend %s/%s: no slot is taken", b.pool.name, b.name))
	}
	b.elsewhere++
}

// linger makes sure that a removed backend that is about to have a session is remembered. The pool's mutex is held.
func (b *Backend) linger() {
	if b.removed && b.active == 0 && !slices.Contains(b.pool.leaving, b) {
		b.pool.leaving = append(b.pool.leaving, b)
	}
}
