package health

import (
	"fmt"
	"log/slog"
	"time"
)

// decideFor lets every pool that a target is in make up its mind again. The mutex is held.
func (m *Monitor) decideFor(t *target) {
	now := time.Now()
	for i, b := range t.members {
		if i > 0 && t.members[i-1].pool == b.pool {
			continue // members of one pool follow each other, and were all taken together
		}
		end := i + 1
		for end < len(t.members) && t.members[end].pool == b.pool {
			end++
		}
		m.decide(b.pool, t.members[i:end], now)
	}
}

// decide makes up a pool's mind again about backends of which there is news, and acts on it. The mutex is held.
func (m *Monitor) decide(w *poolWatch, news []*member, now time.Time) {
	if w.cfg.compares() {
		news = w.members
	}
	facts := make([]fact, len(news))
	for i, b := range news {
		facts[i] = b.fact()
	}
	w.seen.learn(facts)
	verdicts := judge(w.cfg, facts, w.seen)
	if w.cfg.elects() {
		m.lookSplit(w, facts, verdicts)
	}
	if w.cfg.MaxLag > 0 {
		m.lookLagging(w, facts, verdicts)
	}
	changed := false
	for _, up := range []bool{false, true} { // the old primary goes before the new one comes
		for i, b := range news {
			if verdicts[i].up == up {
				changed = m.enact(b, verdicts[i], now) || changed
			}
		}
	}
	m.endKeeping(w, now)
	if changed {
		w.lookStranded()
	}
}

// enact carries out a verdict, and reports whether the backend went up or down. The mutex is held.
func (m *Monitor) enact(b *member, now verdict, at time.Time) (changed bool) {
	before := b.verdict
	b.verdict = now
	if backup := b.backup || now.backup; now.up && backup != b.tier {
		b.tier = backup
		b.backend.SetBackup(backup)
	}
	if changed = before.up != now.up; changed {
		b.since = at
	}
	if changed || before.reason == notChecked && now.reason != notChecked {
		b.backend.SetUp(now.up)
	}
	if changed || before.cause != now.cause && now.cause != CauseNone {
		m.sayVerdict(b, before, now)
	}
	m.lookClosing(b, at)
	return changed
}

// lookSplit notices when a split brain begins or ends. The mutex is held.
func (m *Monitor) lookSplit(w *poolWatch, facts []fact, verdicts []verdict) {
	a, b, split := splitBrain(facts, w.split)
	if split == w.split {
		return
	}
	w.split = split
	if !split {
		m.say(slog.LevelInfo, "split brain is over", slog.String("pool", w.pool.Name()))
		return
	}
	w.splits++
	winner := "none"
	for i, v := range verdicts {
		if v.up {
			winner = facts[i].name
		}
	}
	m.say(slog.LevelError, fmt.Sprintf("split brain: %s and %s both claim to be the primary", a.name, b.name),
		slog.String("pool", w.pool.Name()), slog.String("reason", a.claim()+", "+b.claim()),
		slog.String("sessions_go_to", winner))
}

// claim returns what a server says of itself as a primary.
func (f fact) claim() string {
	if f.answer.Timeline == 0 {
		return fmt.Sprintf("%s is writable, with server_id %d", f.name, f.answer.ID)
	}
	return fmt.Sprintf("%s is on timeline %d of system %d", f.name, f.answer.Timeline, f.answer.System)
}
