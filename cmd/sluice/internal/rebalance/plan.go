// Package rebalance decides which sessions of a pool are to be closed so that a backend that has come back gets its
// share of those that last.
package rebalance

import (
	"slices"

	"sluice/pool"
)

// A Plan says how many sessions of each backend are too many, by name. One that has none too many is not in it.
type Plan map[string]int

// Surplus returns what backends have beyond their fair share, by weight and slow start, of the sessions of the tier that
// takes new ones. It is empty while nobody has more than the share and skew of it besides, and it is never more than
// others have room for: a session that is closed comes back to one of these.
func Surplus(backends []pool.BackendStats, skew float64) Plan {
	tier := inUse(backends)
	total, weights := 0, 0
	for _, b := range tier {
		total += b.Active
		weights += b.Weight * b.Share
	}
	over, room := Plan{}, 0
	skewed := false
	for _, b := range tier {
		fair := float64(total) * float64(b.Weight*b.Share) / float64(weights)
		switch n := b.Active - ceil(fair); {
		case n > 0:
			over[b.Name] = n
			skewed = skewed || float64(b.Active) > fair*(1+skew)
		case n < 0:
			room += roomOf(b, int(fair))
		}
	}
	if !skewed || room == 0 {
		return nil
	}
	over.limit(room)
	return over
}

// inUse returns the backends that new sessions go to.
func inUse(backends []pool.BackendStats) (tier []pool.BackendStats) {
	usable := func(backup bool) []pool.BackendStats {
		return slices.DeleteFunc(slices.Clone(backends), func(b pool.BackendStats) bool { return !b.Usable || b.Backup != backup })
	}
	if tier = usable(false); len(tier) == 0 {
		return usable(true)
	}
	return tier
}

// roomOf returns how many sessions a backend may take before it has its fair share.
func roomOf(b pool.BackendStats, fair int) int {
	if b.MaxConns > 0 {
		fair = min(fair, b.MaxConns)
	}
	return max(0, fair-b.Active)
}

// limit takes from the largest until no more than most are left in all.
func (p Plan) limit(most int) {
	for p.Total() > most {
		name := p.Largest()
		if p[name]--; p[name] == 0 {
			delete(p, name)
		}
	}
}

// Total is how many sessions are too many in all.
func (p Plan) Total() (n int) {
	for _, of := range p {
		n += of
	}
	return n
}

// Largest returns the backend that has most too many; of several the first by name, and "" when there is none.
func (p Plan) Largest() (name string) {
	for n, of := range p {
		if name == "" || of > p[name] || of == p[name] && n < name {
			name = n
		}
	}
	return name
}

// ceil rounds up, but for what is only an error of floating point.
func ceil(f float64) int {
	n := int(f)
	if f-float64(n) > 1e-9 {
		n++
	}
	return n
}
