package pool

import "time"

// Assume makes a pool that has not served yet go on where the pool of the process before was, as if its own configuration
// were an Update of that one's. Backends that both have, known by name and address as Update knows them, keep their
// health, ejection, slow start, turns and changes, and expect the sessions that they have there. So do removed ones that
// have sessions there. Backends that are new begin as those that an Update adds.
func (p *Pool) Assume(a Account) {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.lastPlace = max(p.queue.lastPlace, a.LastPlace)
	p.ramping = p.ramping[:0]
	for _, b := range p.Backends() {
		b.share, b.wasUsable = whole, false // if it is usable all the same, it has come back
	}
	met := p.meet(a.Backends, time.Now())
	p.takeTurns(a, met)
	p.follow(a, met)
}

// meet returns the backend of each account that is in use here; nil: there is none. Both mutexes are held.
func (p *Pool) meet(accounts []BackendAccount, now time.Time) []*Backend {
	met := make([]*Backend, len(accounts))
	taken := make(map[*Backend]bool, len(accounts))
	for i := range accounts {
		a := &accounts[i]
		b := p.lookFor(a.config())
		if taken[b] { // its name had another address here before
			b = nil
		}
		switch {
		case b == nil && a.Active <= 0:
			continue
		case b == nil:
			b = p.harbour(a.config())
		}
		taken[b] = true
		b.assume(a, now)
		if b.expect(max(a.Active, 0)); !b.removed {
			met[i] = b
		}
	}
	return met
}

// assume takes over what the account says of a backend. Both mutexes are held.
func (b *Backend) assume(a *BackendAccount, now time.Time) {
	b.up, b.ejected, b.changes = a.Up, a.Ejected, a.Changes
	if b.admin != a.State {
		b.changes++
	}
	if a.Removed && !b.removed {
		b.restart(b.config)
		return
	}
	b.unproven = a.Unproven
	if b.config.Backup == a.BackupConfigured {
		b.backup = a.Backup
	}
	if b.removed {
		return
	}
	if b.wasUsable = a.usable(); a.Ramp > 0 && b.pool.slowStart > 0 {
		b.share, b.back = shareAfter(a.Ramp, b.pool.slowStart), now.Add(-a.Ramp)
		b.pool.ramping = append(b.pool.ramping, b)
	}
}

// takeTurns gives those that stay the credit of their turns, and that of those that do not, unless it was earned by another
// policy or at other weights. Both mutexes are held.
func (p *Pool) takeTurns(a Account, met []*Backend) {
	anew, left := a.Balance != p.policy.String(), 0
	var stay []*Backend
	for i, b := range met {
		if b == nil {
			left += a.Backends[i].Credit
			continue
		}
		anew = anew || b.weight != a.Backends[i].Weight && !a.Backends[i].Removed
		b.credit = a.Backends[i].Credit
		stay = append(stay, b)
	}
	if shareOut(left, stay); anew {
		forgetTurns(stay)
	}
}

// follow finds the candidates, and who of them is the leader. Both mutexes are held.
func (p *Pool) follow(a Account, met []*Backend) {
	p.leader, p.led = nil, false
	for i, b := range met {
		if p.keeps && a.NoFailback && b != nil && !a.Backends[i].Removed && b.name == a.Leader {
			p.leader, p.led = b, a.Led
		}
	}
	known := p.leader != nil
	p.hope()
	p.refresh()
	if p.leader == nil || known {
		return
	}
	// Another one has led, or none: who has sessions goes on, and who takes over from one that is gone stays.
	p.led = p.leader.active > 0 || a.NoFailback && a.Leader != ""
}
