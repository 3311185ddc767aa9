package pool

import (
	"math/rand/v2"
	"slices"
	"time"
)

// modelUpdates counts what a run has done to the set of backends.
type modelUpdates struct{ done, refused, added, kept, revived, removed int }

// update replaces the configuration by one that the argument and the step make up, and works out what must become of
// each backend: it is found, by name and address, among those there are and those that leave, or must be new.
func (m *model) update(arg byte) {
	rnd := rand.New(rand.NewPCG(uint64(arg), uint64(m.steps)))
	c := m.randomConfig(rnd)
	if rnd.IntN(8) == 0 {
		spoil(&c, rnd)
		if change, err := m.p.Update(c); err == nil || len(change.Added)+len(change.Kept)+len(change.Removed) > 0 {
			m.fatalf("update to %+v: %+v, error %v", c, change, err)
		}
		m.updates.refused++
		return // compare sees what has changed
	}
	before, leave := m.backends, m.leaving
	var want Change
	m.backends = make([]*modelBackend, len(c.Backends))
	m.leaving = nil
	for i, bc := range c.Backends {
		same := func(s *modelBackend) bool { return s.Name == bc.Name && s.Address == bc.Address }
		if at := slices.IndexFunc(before, same); at >= 0 {
			m.backends[i] = before[at]
			want.Kept = append(want.Kept, before[at].b)
		} else if at := slices.IndexFunc(leave, same); at >= 0 {
			m.backends[i] = leave[at]
			m.backends[i].revive(bc)
			m.updates.revived++
		}
	}
	for _, s := range before {
		if !slices.Contains(m.backends, s) {
			s.removed, s.Usable = true, false
			want.Removed = append(want.Removed, s.b)
		}
	}
	for _, s := range slices.Concat(leave, before) {
		if s.removed && s.Active > 0 {
			m.leaving = append(m.leaving, s)
		}
	}
	got, err := m.p.Update(c)
	if err != nil || len(m.p.Backends()) != len(m.backends) {
		m.fatalf("update to %+v: %d backends, error %v", c, len(m.p.Backends()), err)
	}
	for i, bc := range c.Backends {
		b := m.p.Backends()[i]
		if m.backends[i] == nil {
			if m.known[b] != nil {
				m.fatalf("%s is one of before, want a new one", b.Name())
			}
			m.backends[i] = m.newBackend(b, bc)
		}
		m.backends[i].configure(bc)
		if !slices.Contains(want.Kept, b) {
			want.Added = append(want.Added, b)
		}
	}
	if !slices.Equal(got.Added, want.Added) || !slices.Equal(got.Kept, want.Kept) || !slices.Equal(got.Removed, want.Removed) {
		m.fatalf("update has done %+v, want %+v", got, want)
	}
	m.updates.done++
	m.updates.added += len(want.Added)
	m.updates.kept += len(want.Kept)
	m.updates.removed += len(want.Removed)
	m.settings(c)
}

// settings takes over what is not of the backends.
func (m *model) settings(c Config) {
	turned := m.config.NoFailback != c.NoFailback
	if m.config = c; turned {
		m.leader, m.led = nil, false
	}
	m.refresh()
	if turned && m.leader != nil && m.leader.Active > 0 {
		m.led = true
	}
}

func (s *modelBackend) revive(c BackendConfig) {
	s.removed, s.Backup = false, c.Backup
	if c.Down && s.Up {
		s.Up = false
		s.Changes++
	}
}

func (s *modelBackend) configure(c BackendConfig) {
	if s.backup != c.Backup {
		s.backup, s.Backup = c.Backup, c.Backup
	}
	s.setAdmin(c.State)
	s.Weight, s.MaxConns = c.Weight, c.MaxConns
}

// randomConfig returns a configuration of some of six names, each of which has one of two addresses.
func (m *model) randomConfig(rnd *rand.Rand) Config {
	c := Config{
		Balance: m.config.Balance, QueueMax: rnd.IntN(modelQueue + 1), SlowStart: time.Duration(rnd.IntN(2)) * time.Minute,
	}
	if rnd.IntN(4) > 0 {
		c.QueueMax = modelQueue
	}
	if c.Balance != SourceHash { // whose tables take long
		c.Balance = []Policy{LeastConn, RoundRobin, Random, First}[rnd.IntN(4)]
	}
	if m.config.NoFailback || rnd.IntN(8) == 0 {
		c.Balance = First
	}
	if m.config.Balance == SourceHash {
		c.Balance = SourceHash
	}
	c.NoFailback = c.Balance == First && (m.config.NoFailback && rnd.IntN(4) > 0 || rnd.IntN(8) == 0)
	for i := range 6 {
		if rnd.IntN(3) > 0 {
			c.Backends = append(c.Backends, randomBackend(i, rnd))
		}
	}
	if rnd.IntN(2) == 0 {
		rnd.Shuffle(len(c.Backends), func(i, j int) { c.Backends[i], c.Backends[j] = c.Backends[j], c.Backends[i] })
	}
	return c
}

func randomBackend(i int, rnd *rand.Rand) BackendConfig {
	return BackendConfig{
		Name: backendName(i), Address: testAddr(i + 100*(rnd.IntN(4)/3)), Weight: min(rnd.IntN(5), 3), MaxConns: rnd.IntN(4),
		Backup: rnd.IntN(4) == 0, State: AdminState(max(rnd.IntN(6)-3, 0)), Down: rnd.IntN(8) == 0,
	}
}

// spoil makes a configuration one that no pool takes.
func spoil(c *Config, rnd *rand.Rand) {
	bad := BackendConfig{Name: "bad", Address: testAddr(1), Weight: 1}
	switch rnd.IntN(7) {
	case 0:
		c.Name = "another"
	case 1:
		c.Shards = 2
	case 2:
		c.QueueMax = -1
	case 3:
		bad.Weight = MaxWeight + 1
	case 4:
		bad.Address = Address{}
	case 5:
		bad.MaxConns = -1
	case 6:
		c.Backends = append(c.Backends, bad)
	}
	c.Backends = append(c.Backends, bad)
}
