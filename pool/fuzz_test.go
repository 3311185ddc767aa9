package pool

import (
	"net/netip"
	"slices"
	"testing"
)

// FuzzReserve runs bytes as a program of state changes, picks and releases against a pool of each policy, and holds
// every pick against the rules that all policies share, worked out here the slow way.
func FuzzReserve(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0})
	f.Add([]byte{2, 12, 22, 32, 0, 0, 3, 13, 23, 33, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 14, 0, 5, 15, 25, 0, 6, 16, 0, 7, 0, 1, 1, 1})
	f.Fuzz(func(t *testing.T, program []byte) {
		for policy := range Policy(len(policyWords)) {
			if policy == SourceHash && len(program) > 64 {
				continue // each change of weight makes a table of 65537 entries
			}
			runProgram(t, policy, program)
		}
	})
}

func runProgram(t *testing.T, policy Policy, program []byte) {
	bs := weights(1, 2, 3, 4)
	for i := range bs {
		bs[i].MaxConns = i // the first has no limit
		bs[i].Backup = i == 3
	}
	p := newPool(t, policy, bs)
	var held []*Backend
	for _, op := range program {
		b := p.Backends()[op/10%4]
		switch op % 10 {
		case 0, 8, 9:
			tried := p.Backends()[:op/10%4]
			held = checkedReserve(t, p, tried, held)
		case 1:
			if n := len(held); n > 0 {
				i := int(op) % n
				held[i].Release()
				held = slices.Delete(held, i, i+1)
			}
		case 2:
			b.SetUp(!b.Stats().Up)
		case 3:
			b.SetEjected(!b.Stats().Ejected)
		case 4:
			b.SetAdmin(AdminState(op / 40 % 3))
		case 5:
			_ = b.SetWeight(int(op/40) % 3)
		case 6, 7:
			_ = b.SetMaxConns(int(op/40) % 4)
		}
	}
	for _, b := range held {
		b.Release()
	}
	for _, b := range p.Backends() {
		if n := b.Stats().Active; n != 0 {
			t.Errorf("%v: %s has %d active in the end", policy, b.Name(), n)
		}
	}
}

// checkedReserve calls Reserve and returns held with what it picked.
func checkedReserve(t *testing.T, p *Pool, tried, held []*Backend) []*Backend {
	free, want := choices(p, tried)
	b, err := p.Reserve(netip.AddrFrom4([4]byte{10, 0, 0, byte(len(held))}), tried)
	switch {
	case err != want:
		t.Errorf("%v: error %v, want %v", p.Policy(), err, want)
	case err == nil && !slices.Contains(free, b):
		t.Errorf("%v: picked %s, which is not free", p.Policy(), b.Name())
	}
	if err != nil {
		return held
	}
	return append(held, b)
}

// choices returns the backends that may be picked, and the error when there is none.
func choices(p *Pool, tried []*Backend) (free []*Backend, err error) {
	err = ErrNoBackend
	for _, backup := range []bool{false, true} {
		usable := false
		for _, b := range p.Backends() {
			s := b.Stats()
			if s.Backup != backup || !s.Usable {
				continue
			}
			usable = true
			if slices.Contains(tried, b) {
				continue
			}
			if s.MaxConns == 0 || s.Active < s.MaxConns {
				free = append(free, b)
			} else {
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
