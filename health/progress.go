package health

import (
	"math"
	"slices"
	"time"

	"sluice/health/probe"
)

// progress is how far the WAL of a cluster was seen to reach, over time. A replica that has replayed all of it does not
// lag, whatever the age of its last transaction: nobody may have written for hours, and the primary may be gone. One
// that has not, lags since when more was seen.
//
// It belongs to one timeline: a server that is promoted starts another one, before the end of the old one perhaps.
type progress struct {
	timeline uint32
	samples  []sample // in ascending order
}

// sample is a position that somebody was seen to have reached.
type sample struct {
	has   uint64
	whole uint64    // see probe.DatabaseAnswer.Whole
	first time.Time // end of the first probe that told of it
	last  time.Time // start of the last one that told of it, and of no more
}

// mostSamples bounds the history. What is older is known less exactly, in proportion to its age.
const mostSamples = 128

// learn takes in how far a server has got.
func (p *progress) learn(a *probe.DatabaseAnswer, asked, ended time.Time) {
	if top := len(p.samples) - 1; top >= 0 {
		latest := &p.samples[top]
		if a.Has == latest.has && asked.After(latest.last) {
			latest.last = asked
		}
		if a.Whole <= latest.whole {
			return
		}
	}
	if len(p.samples) == mostSamples {
		p.thin(ended)
	}
	p.samples = append(p.samples, sample{a.Has, a.Whole, ended, asked})
}

// thin forgets the sample, neither the first nor the last, that leaves the smallest gap for its age.
func (p *progress) thin(now time.Time) {
	least, at := math.Inf(1), 0
	for i := 1; i < len(p.samples)-1; i++ {
		gap, age := p.samples[i+1].first.Sub(p.samples[i-1].first), now.Sub(p.samples[i].first)
		if ratio := float64(gap) / float64(max(age, 1)); ratio < least {
			least, at = ratio, i
		}
	}
	p.samples = slices.Delete(p.samples, at, at+1)
}

// cut forgets what lies beyond the position of the primary: it was lost, and nobody will ever replay it.
func (p *progress) cut(has uint64) {
	for n := len(p.samples); n > 0 && p.samples[n-1].whole > has; n-- {
		p.samples = p.samples[:n-1]
	}
}

// lag returns by how much a replica lags that was asked then. It is told by two things that err in different ways: the
// age of the last transaction that was replayed, which is too much after a time without writes, and when what is missing
// was seen, which is exact only to the time between two probes.
func (p *progress) lag(a *probe.DatabaseAnswer, asked time.Time) (lag time.Duration, known bool) {
	if a.Replayed == 0 {
		return 0, false
	}
	missing, _ := slices.BinarySearchFunc(p.samples, a.Replayed+1, func(s sample, next uint64) int {
		if s.whole < next {
			return -1
		}
		return 1
	})
	if missing == len(p.samples) {
		return 0, true
	}
	least := max(0, asked.Sub(p.samples[missing].first))
	if missing == 0 { // it was missing before anything was seen
		return max(least, a.Age), a.AgeKnown
	}
	most := asked.Sub(p.samples[missing-1].last)
	if a.AgeKnown {
		most = min(most, a.Age)
	}
	return max(least, most), true
}

// hearProgress takes in how far a server of the pool has got, and by how much a replica lags. While the primary answers
// its word alone counts: a replica may have received what was lost in a promotion. The mutex is held.
func (w *poolWatch) hearProgress(b *member, asked, ended time.Time) {
	a := b.answer
	p := w.progressOf(a.System)
	if a.Timeline > p.timeline {
		*p = progress{timeline: a.Timeline}
	}
	switch {
	case a.Timeline != 0 && a.Timeline < p.timeline: // left behind
	case a.Has == 0 || a.Primary && a.Source != 0: // nothing is known of the log that others replay
	case a.Primary:
		p.cut(a.Has)
		p.learn(a, asked, ended)
	case !w.hasPrimary(a.System, p.timeline):
		p.learn(a, asked, ended)
	}
	if !a.Primary {
		b.behind, b.behindKnown = p.lag(a, asked)
	}
}

// progressOf returns the progress of a cluster. Those are forgotten of which no server is in the pool any more.
func (w *poolWatch) progressOf(system uint64) *progress {
	if p := w.progress[system]; p != nil {
		return p
	}
	for known := range w.progress {
		if !slices.ContainsFunc(w.members, func(b *member) bool { return b.isOf(known) }) {
			delete(w.progress, known)
		}
	}
	p := new(progress)
	w.progress[system] = p
	return p
}

func (b *member) isOf(system uint64) bool {
	return b.target != nil && b.answer != nil && b.answer.System == system
}

// hasPrimary reports whether a primary on that timeline answers, and says how far it has got.
func (w *poolWatch) hasPrimary(system uint64, timeline uint32) bool {
	return slices.ContainsFunc(w.members, func(b *member) bool {
		return !b.maint && b.isOf(system) && b.target.current && b.answer.Primary && b.answer.Has > 0 &&
			b.answer.Timeline == timeline
	})
}
