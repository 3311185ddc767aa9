package pool

import "testing"

// FuzzReserve runs pairs of bytes as a program of state changes, picks, waits and releases against a pool of each
// policy, and holds every step against the model: the rules that all policies share.
func FuzzReserve(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 4, 0, 4, 0, 4, 0})
	// All down, and back.
	f.Add([]byte{9, 0, 9, 1, 9, 2, 9, 3, 2, 0, 2, 1, 2, 3, 9, 1, 7, 0, 9, 0, 6, 0, 8, 0})
	// All full, then freed.
	f.Add([]byte{13, 4, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 2, 2, 4, 0, 4, 1, 4, 2, 4, 0, 8, 0, 6, 0})
	f.Add([]byte{15, 1, 15, 1, 2, 13, 4, 0, 4, 0, 14, 3, 14, 1, 12, 4, 12, 0, 11, 12, 11, 0, 10, 2})
	f.Fuzz(func(t *testing.T, program []byte) {
		for policy := range Policy(len(policyWords.Words)) {
			if policy == SourceHash && len(program) > 128 {
				continue // each change of weight makes a table of 65537 entries
			}
			newModel(t, policy, false).run(program)
		}
		newModel(t, First, true).run(program)
	})
}

// run takes a step for each pair of bytes.
func (m *model) run(program []byte) {
	m.t.Helper()
	for i := 0; i+1 < len(program); i += 2 {
		m.step(program[i], program[i+1])
	}
	m.finish()
}
