package pool

import (
	"math/rand/v2"
	"slices"
	"time"
)

// modelUpdates counts what a run has done to the set of backends.
type modelUpdates struct{ done, refused, abandoned, meanwhile, added, kept, revived, removed int }

// update replaces the configuration by one that the argument and the step make up, or is about to and leaves it at that.
func (m *model) update(arg byte) {
	rnd := rand.New(rand.NewPCG(uint64(arg), uint64(m.steps)))
	c := m.randomConfig(rnd)
	if rnd.IntN(8) == 0 {
		spoil(&c, rnd)
		if u, err := m.p.Prepare(c); err == nil || u != nil {
			m.fatalf("update to %+v: %+v, error %v", c, u, err)
		}
		m.updates.refused++
		return // compare sees what has changed
	}
	u, err := m.p.Prepare(c)
	if err != nil {
		m.fatalf("update to %+v: error %v", c, err)
	}
	found := m.find(c)
	m.compare()
	m.meanwhile(rnd)
	if rnd.IntN(4) == 0 {
		u.Abandon()
		m.updates.abandoned++
		return
	}
	want := m.replace(c, found)
	next := u.Backends()
	got := u.Commit()
	u.Abandon() // too late
	if len(next) != len(m.backends) || !slices.Equal(m.p.Backends(), next) {
		m.fatalf("update to %+v: %d backends, were to be %d", c, len(m.p.Backends()), len(next))
	}
	m.meet(c, &want)
	if !slices.Equal(got.Added, want.Added) || !slices.Equal(got.Kept, want.Kept) || !slices.Equal(got.Removed, want.Removed) {
		m.fatalf("update has done %+v, want %+v", got, want)
	}
	m.updates.done++
	m.updates.added += len(want.Added)
	m.updates.kept += len(want.Kept)
	m.updates.removed += len(want.Removed)
	m.settings(c)
}

// meanwhile lets sessions and states go on while an update is prepared. Weights and other updates would wait for it.
func (m *model) meanwhile(rnd *rand.Rand) {
	for range max(rnd.IntN(9)-4, 0) {
		if op := byte(rnd.IntN(16)); op != 12 {
			m.step(op, byte(rnd.Uint32()))
			m.updates.meanwhile++
		}
	}
	m.calls = m.calls[:0]
}

// find returns the backend of each configuration, by name and address, of those there are and those that leave; nil: it
// must be a new one.
func (m *model) find(c Config) []*modelBackend {
	found := make([]*modelBackend, len(c.Backends))
	for i, bc := range c.Backends {
		all := m.all()
		if at := slices.IndexFunc(all, func(s *modelBackend) bool { return s.Name == bc.Name && s.Address == bc.Address }); at >= 0 {
			found[i] = all[at]
		}
	}
	return found
}

// replace puts the backends that were found in the place of those there are, and works out what that changes.
func (m *model) replace(c Config, found []*modelBackend) (want Change) {
	before, leave := m.backends, m.leaving
	m.backends, m.leaving = found, nil
	for i, s := range found {
		switch {
		case s == nil:
		case s.removed:
			s.revive(c.Backends[i])
			m.updates.revived++
		default:
			want.Kept = append(want.Kept, s.b)
		}
	}
	for _, s := range before {
		if !slices.Contains(found, s) {
			s.removed, s.Usable = true, false
			want.Removed = append(want.Removed, s.b)
		}
	}
	for _, s := range slices.Concat(leave, before) {
		if s.removed && s.Active > 0 {
			m.leaving = append(m.leaving, s)
		}
	}
	return want
}

// meet takes in what the pool has made of the new backends, and configures all.
func (m *model) meet(c Config, want *Change) {
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
	s.Weight, s.MaxConns, s.Vanished = c.Weight, c.MaxConns, c.Vanished
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
		Vanished: rnd.IntN(6) == 0,
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
