package health

import "slices"

// compare finds out what stays as it is, and what ends. The pools have been updated.
func (p *plan) compare(targets []*target) {
	p.probed = make([]*target, 0, len(p.targets))
	for _, t := range targets {
		if !p.kept[t] {
			p.ended = append(p.ended, t)
		}
	}
	for _, n := range p.targets {
		t := n.target
		n.stays = t != nil && t == n.from && t.key == n.key && slices.Equal(t.members, n.members)
		p.probed = append(p.probed, t)
	}
	for _, w := range p.pools {
		if w.compare(); !p.some {
			p.watches = append(p.watches, w.watch)
		}
	}
}

// compare finds out which members are not as they were.
func (w *plannedPool) compare() {
	for i, b := range w.members {
		unproven := b.backend.Unproven() // the pool may have let it in by now; verdicts are the mutex's
		if !w.same || !b.begun || unproven || b.target != w.target(i) || b.backup != b.backend.BackupConfigured() {
			w.news = append(w.news, i)
		}
	}
	w.stays = w.same && len(w.news) == 0 && slices.Equal(w.watch.members, w.members)
}

// target returns what the member at a position is to be asked by; nil: nothing.
func (w *plannedPool) target(i int) *target {
	if n := w.targets[i]; n != nil {
		return n.target
	}
	return nil
}

// newMembers returns the members that are news.
func (w *plannedPool) newMembers() []*member {
	members := make([]*member, len(w.news))
	for i, at := range w.news {
		members[i] = w.members[at]
	}
	return members
}
