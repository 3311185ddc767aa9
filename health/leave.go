package health

import (
	"slices"
	"time"
)

// A backend that was removed while it has sessions leaves: what becomes of them is the rule for CauseRemoved, or what was
// to be done with them already. It is forgotten with its last session, and when it comes back, which it does as a new
// member.

// all goes through the members of the pool, and those that leave it. The mutex is held.
func (w *poolWatch) all(yield func(*member) bool) {
	for _, b := range w.members {
		if !yield(b) {
			return
		}
	}
	for _, b := range w.leaving {
		if !yield(b) {
			return
		}
	}
}

// dismiss removes the members that are not of the plan, from a pool that stays or with their pool. The mutex is held.
func (m *Monitor) dismiss(w *poolWatch, p *plan, now time.Time) {
	for _, b := range w.members {
		if b.plan == p.number {
			continue
		}
		m.members.Delete(b.backend)
		b.remove()
		if p.watched[w.pool] != nil { // whose new rules are to be known first
			w.leaving = append(w.leaving, b)
		} else {
			m.lookClosing(b, now)
		}
	}
	if p.watched[w.pool] != nil {
		return
	}
	if m.keep(w); w.stop == nil {
		return
	}
	if !m.hasLeft(w) {
		m.gone = append(m.gone, w)
	}
}

// welcome stops the closing of backends that come back. The mutex is held.
func (m *Monitor) welcome(w *poolWatch, p *plan) {
	if len(p.fresh) == 0 {
		return
	}
	for b := range w.all {
		if b.removed && p.fresh[b.backend] != nil {
			m.endClosing(b)
		}
	}
	w.leaving = slices.DeleteFunc(w.leaving, func(b *member) bool { return p.fresh[b.backend] != nil })
}

// remove gives up a backend, and takes it back from an ejection: nobody else would. The mutex is held.
func (b *member) remove() {
	b.removed = true
	if b.evidence.ejected() {
		b.takeBack()
	}
}

// forgetLeft forgets what has left. The mutex is held.
func (m *Monitor) forgetLeft() {
	for _, w := range m.pools {
		w.leaving = slices.DeleteFunc(w.leaving, func(b *member) bool {
			left := m.sessions == nil || b.backend.Active() == 0
			if left {
				m.endClosing(b)
			}
			return left
		})
	}
	m.gone = slices.DeleteFunc(m.gone, m.hasLeft)
}

// hasLeft stops the closing for a pool that is not watched any more if none of its backends has sessions that are to be
// closed, and reports whether that is so. Its rules will not change, so that those that are kept are nobody's. The mutex
// is held.
func (m *Monitor) hasLeft(w *poolWatch) bool {
	closing := false
	for b := range w.all {
		if c := b.closing; c != nil && (!c.rule.Close || b.backend.Active() == 0) {
			m.endClosing(b)
		}
		closing = closing || b.closing != nil
	}
	if !closing {
		w.stop()
	}
	return !closing
}
