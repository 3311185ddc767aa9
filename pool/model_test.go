package pool

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A model is a pool as simple as can be: it knows no policy and keeps no list of candidates. It takes each step
// together with the real pool and works out, the slow way, what the pool may have picked, who must have been granted
// a slot and who must wait still.
type model struct {
	t        *testing.T
	p        *Pool
	steps    int
	backends []*modelBackend // in configured order
	leaving  []*modelBackend // removed, with sessions still
	known    map[*Backend]*modelBackend
	held     []*modelBackend // slots to be released
	waiting  []*modelWaiter  // in the order of their coming
	granted  []*modelWaiter  // and not collected yet
	calls    []*modelWaiter  // of Granted during this step
	config   Config          // without the backends
	updates  modelUpdates

	leader *modelBackend // with NoFailback: who takes the new sessions; nil = nobody
	led    bool          // the leader stays
}

// A modelBackend has the states, Active, Changes and Connects only.
type modelBackend struct {
	BackendStats
	b       *Backend
	backup  bool // by the configuration
	removed bool
}

type modelWaiter struct {
	Waiter
	tried []*Backend // what Tried must be
}

const modelQueue = 6

func newModel(t *testing.T, policy Policy, keeps bool) *model {
	bs := limited(0, 1, 2, 3)
	for i := range bs {
		bs[i].Weight = i + 1
		bs[i].Backup = i == 3
	}
	c := Config{Balance: policy, Backends: bs, QueueMax: modelQueue, SlowStart: time.Minute, NoFailback: keeps}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, p: p, config: c, known: map[*Backend]*modelBackend{}}
	for i, bc := range c.Backends {
		m.backends = append(m.backends, m.newBackend(p.Backends()[i], bc))
	}
	m.refresh()
	return m
}

func (m *model) newBackend(b *Backend, c BackendConfig) *modelBackend {
	made := &modelBackend{b: b, backup: c.Backup, BackendStats: BackendStats{
		Name: c.Name, Address: c.Address, Backup: c.Backup, State: c.State, Up: !c.Down, Weight: c.Weight, MaxConns: c.MaxConns,
	}}
	m.known[b] = made
	return made
}

// all are the backends that somebody may have to do with.
func (m *model) all() []*modelBackend { return slices.Concat(m.backends, m.leaving) }

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%v, step %d: "+format, append([]any{m.p.Policy(), m.steps}, args...)...)
}

// step does one of 17 things to the pool, and to the model.
func (m *model) step(op, arg byte) {
	m.steps++
	m.calls = m.calls[:0]
	switch op %= 17; op {
	case 0, 1:
		m.reserve(m.choose(arg))
	case 2, 3:
		m.wait(m.choose(arg))
	case 4, 5:
		m.release(arg)
	case 6:
		m.leave(arg)
	case 7:
		m.collect(arg)
	case 8:
		m.forgive(arg)
	case 16:
		m.update(arg)
	default:
		m.change(op, int(arg%4), int(arg/4))
	}
	m.settle()
	m.compare()
}

// choose returns the backends whose bits are set.
func (m *model) choose(bits byte) []*Backend {
	var bs []*Backend
	for i, s := range m.all() {
		if bits>>i&1 != 0 {
			bs = append(bs, s.b)
		}
	}
	return bs
}

func (m *model) reserve(tried []*Backend) {
	free, want := m.choices(tried)
	b, err := m.p.Reserve(m.client(), tried)
	if !errors.Is(err, want) {
		m.fatalf("Reserve: error %v, want %v", err, want)
	}
	if err == nil {
		m.took(b, free)
		m.held = append(m.held, m.known[b])
	}
}

func (m *model) client() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(m.steps)}) }

func (m *model) wait(tried []*Backend) {
	w := &modelWaiter{tried: slices.Clone(tried), Waiter: Waiter{Client: m.client(), Tried: tried}}
	w.Granted = func() { m.calls = append(m.calls, w) }
	free, refusal := m.choices(tried)
	b, waiting, err := m.p.ReserveOrWait(&w.Waiter)
	switch {
	case len(free) > 0:
		m.took(b, free)
		m.held = append(m.held, m.known[b])
	case b != nil:
		m.fatalf("ReserveOrWait picked %s, want nothing", b.Name())
	case m.config.QueueMax == 0:
		if waiting || !errors.Is(err, refusal) {
			m.fatalf("ReserveOrWait: waiting %v, error %v, want %v", waiting, err, refusal)
		}
	case len(m.waiting) >= m.config.QueueMax:
		if waiting || !errors.Is(err, ErrQueueFull) {
			m.fatalf("ReserveOrWait: waiting %v, error %v, want a full queue", waiting, err)
		}
	case !waiting || err != nil:
		m.fatalf("ReserveOrWait: waiting %v, error %v, want it to wait", waiting, err)
	default:
		m.waiting = append(m.waiting, w)
	}
}

func (m *model) release(arg byte) {
	if n := len(m.held); n > 0 {
		i := int(arg) % n
		s := m.held[i]
		s.Active--
		s.b.Release()
		m.held = slices.Delete(m.held, i, i+1)
		if s.removed && s.Active == 0 {
			m.leaving = slices.DeleteFunc(m.leaving, func(other *modelBackend) bool { return other == s })
		}
	}
}

// pick returns one of those who wait, or are to be collected, and takes it out of the model.
func (m *model) pick(arg byte) (w *modelWaiter, granted bool) {
	n := len(m.waiting) + len(m.granted)
	if n == 0 {
		return nil, false
	}
	i := int(arg) % n
	if i < len(m.waiting) {
		w = m.waiting[i]
		m.waiting = slices.Delete(m.waiting, i, i+1)
		return w, false
	}
	i -= len(m.waiting)
	w = m.granted[i]
	m.granted = slices.Delete(m.granted, i, i+1)
	return w, true
}

func (m *model) leave(arg byte) {
	if w, granted := m.pick(arg); w != nil {
		m.handedOut(m.p.Leave(&w.Waiter), granted)
		m.handedOut(m.p.Leave(&w.Waiter), false)
	}
}

func (m *model) collect(arg byte) {
	if len(m.granted) > 0 {
		w, _ := m.pick(byte(len(m.waiting) + int(arg)%len(m.granted)))
		m.handedOut(m.p.Collect(&w.Waiter), true)
	}
	for _, w := range m.waiting {
		m.handedOut(m.p.Collect(&w.Waiter), false)
	}
}

func (m *model) handedOut(b *Backend, want bool) {
	if (b != nil) != want {
		m.fatalf("left or collected with %s, want a slot: %v", nameOf(b), want)
	}
	if b != nil {
		m.held = append(m.held, m.known[b])
	}
}

func (m *model) forgive(arg byte) {
	if n := len(m.waiting); n > 0 {
		w := m.waiting[int(arg)%n]
		w.tried = nil
		m.p.Forgive(&w.Waiter)
	}
}

// change changes a state of a backend, which may have been removed.
func (m *model) change(op byte, i, arg int) {
	all := m.all()
	if len(all) == 0 {
		return
	}
	s := all[(i+m.steps)%len(all)]
	b := s.b
	switch op {
	case 9:
		s.Up = !s.Up
		s.Changes++
		b.SetUp(s.Up)
	case 10:
		s.Ejected = !s.Ejected
		s.Changes++
		b.SetEjected(s.Ejected)
	case 11:
		s.setAdmin(AdminState(max(arg%5-2, 0))) // mostly ready
		b.SetAdmin(s.State)
	case 12:
		s.Weight = arg % 4
		_ = b.SetWeight(s.Weight)
	case 13:
		s.MaxConns = arg % 4
		_ = b.SetMaxConns(s.MaxConns)
	case 14:
		s.Backup = !s.Backup
		b.SetBackup(s.Backup)
	case 15:
		if s.removed {
			break // nobody takes slots there
		}
		s.Active++
		take(b)
		m.held = append(m.held, s)
	}
	m.refresh()
}

func (s *modelBackend) setAdmin(state AdminState) {
	if s.State != state {
		s.Changes++
	}
	s.State = state
}

// finish lets everybody leave and gives everything back.
func (m *model) finish() {
	for len(m.waiting)+len(m.granted) > 0 {
		m.step(6, 0)
	}
	for len(m.held) > 0 {
		m.step(4, 0)
	}
	for _, s := range m.known {
		if n := s.b.Stats().Active; n != 0 {
			m.fatalf("%s has %d active in the end", s.Name, n)
		}
	}
}

func TestPoolIsLikeTheModel(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) { testLikeTheModel(t, policy, false) })
	t.Run("first without failback", func(t *testing.T) { testLikeTheModel(t, First, true) })
}

func testLikeTheModel(t *testing.T, policy Policy, keeps bool) {
	steps := 10000
	if policy == SourceHash {
		steps = 1500 // each change of weight makes a table of 65537 entries
	}
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, uint64(policy)))
		m := newModel(t, policy, keeps)
		grants := 0
		for range steps {
			m.step(byte(rnd.Uint32()), byte(rnd.Uint32()))
			grants += len(m.calls)
		}
		m.finish()
		if grants < steps/50 {
			t.Errorf("seed %d: %d grants in %d steps prove nothing", seed, grants, steps)
		}
		if u := m.updates; u.done < steps/40 || u.refused == 0 || u.abandoned < steps/200 || u.meanwhile < u.done || u.revived < u.done/100 || u.removed < u.done/4 {
			t.Errorf("seed %d: updates %+v in %d steps prove nothing", seed, u, steps)
		}
		t.Logf("seed %d: %d grants, updates %+v in %d steps", seed, grants, m.updates, steps)
	}
}
