package pool

import "slices"

// choices returns the backends that may be picked, and the error when there is none.
func (m *model) choices(tried []*Backend) (free []*Backend, err error) {
	err = ErrNoBackend
	tiers := []bool{false, true}
	if m.led {
		tiers = []bool{m.leader.Backup}
	}
	for _, backup := range tiers {
		usable := false
		for _, s := range m.backends {
			if s.Backup != backup || !s.Usable {
				continue
			}
			usable = true
			switch {
			case slices.Contains(tried, s.b):
			case s.MaxConns == 0 || s.Active < s.MaxConns:
				free = append(free, s.b)
			default:
				err = ErrFull
			}
		}
		if usable {
			break
		}
	}
	if len(free) > 0 {
		return free, nil
	}
	return nil, err
}

// took notes that the pool gave a slot of b to a session that might have had one of free.
func (m *model) took(b *Backend, free []*Backend) {
	if !slices.Contains(free, b) {
		m.fatalf("picked %s, which is not free", nameOf(b))
	}
	if m.config.NoFailback {
		want := free[0]
		if slices.Contains(free, m.leader.b) {
			want, m.led = m.leader.b, true
		}
		if b != want {
			m.fatalf("picked %s, want %s", nameOf(b), nameOf(want))
		}
	}
	b.Dialed(DialOK)
	m.known[b].Connects++
	m.known[b].Active++
}

// refresh works out who is usable, and forgives those who were not.
func (m *model) refresh() {
	for _, s := range m.all() {
		was := s.Usable
		s.Usable = s.State == Ready && s.Up && !s.Ejected && s.Weight > 0 && !s.removed && !s.Vanished
		for _, w := range m.waiting {
			if at := slices.Index(w.tried, s.b); at >= 0 && s.Usable && !was {
				w.tried = slices.Delete(w.tried, at, at+1)
			}
		}
	}
	m.lead()
}

// lead works out who takes the new sessions, where only one is to do that: who does, as long as it is usable, if it has
// been given any, or has taken over from one that is not usable any more. Otherwise it is the first one that is.
func (m *model) lead() {
	tookOver := m.leader != nil && !m.leader.Usable
	if !m.config.NoFailback || m.led && !tookOver {
		return
	}
	m.leader, m.led = nil, false
	for _, backup := range []bool{true, false} { // the last one that is found is the one
		for _, s := range slices.Backward(m.backends) {
			if s.Usable && s.Backup == backup {
				m.leader, m.led = s, tookOver
			}
		}
	}
}

// settle holds what the pool granted in this step against what it had to grant.
func (m *model) settle() {
	var order, still []*modelWaiter
	for _, w := range m.waiting {
		if !slices.Equal(w.Tried, w.tried) {
			m.fatalf("a waiter has %d backends to avoid, want %d", len(w.Tried), len(w.tried))
		}
		free, _ := m.choices(w.tried)
		if len(free) == 0 {
			still = append(still, w)
			continue
		}
		m.took(w.granted, free)
		order = append(order, w)
	}
	if !slices.Equal(m.calls, order) {
		m.fatalf("%d waiters were granted a slot, want %d, or these in another order", len(m.calls), len(order))
	}
	m.waiting, m.granted = still, append(m.granted, order...)
}

// compare holds the pool's own words against the model.
func (m *model) compare() {
	if got := m.p.Waiting(); got != len(m.waiting) {
		m.fatalf("%d wait, want %d", got, len(m.waiting))
	}
	m.compareBackends()
	want := Stats{Balance: m.config.Balance.String(), Waiting: len(m.waiting), QueueMax: m.config.QueueMax}
	for _, b := range m.backends {
		if b.Usable {
			want.Usable++
		}
	}
	if got := m.p.Stats(); got != want {
		m.fatalf("the pool is %+v, want %+v", got, want)
	}
	for _, w := range m.waiting {
		if m.p.HasOther(nil, w.Tried) {
			m.fatalf("a slot is free that one who waits could take")
		}
	}
}

// compareBackends holds the backends that the pool knows against those of the model.
func (m *model) compareBackends() {
	all, set := m.p.All(), m.p.Backends()
	if !slices.Equal(set, all[:len(set)]) || len(set) != len(m.backends) || len(all) != len(set)+len(m.leaving) {
		m.fatalf("%d backends and %d in all, want %d and %d that leave", len(set), len(all), len(m.backends), len(m.leaving))
	}
	credit := 0
	for i, want := range m.all() {
		s, b := all[i].Stats(), all[i]
		want.Pool, want.Share = s.Pool, s.Share
		if b != want.b || s != want.BackendStats {
			m.fatalf("backend %d is %p %+v, want %p %+v", i, b, s, want.b, want.BackendStats)
		}
		credit += b.credit
	}
	if credit != 0 {
		m.fatalf("the credits add up to %d, want 0", credit)
	}
}
