package l4

import (
	"testing"
	"time"
)

// Sessions that relay go on under the terms that they have where the next server's listener has others, of one listener and
// one pool all under the same; those that come later, and those that do not relay yet, have the others.
func TestSessionsTravelToOtherTerms(t *testing.T) {
	old := rigConfig{idle: 3 * time.Minute, fin: 30 * time.Second, dead: [2]time.Duration{time.Minute, 2 * time.Minute}}
	other := rigConfig{idle: 10 * time.Minute, fin: 40 * time.Second, dead: [2]time.Duration{3 * time.Minute, 4 * time.Minute}}
	old.listener = func(c *ListenerConfig) {
		c.Target.MaxAge, c.Target.NoteReady = MaxAge{Age: time.Hour, Jitter: .5, IdleOnly: true}, true
	}
	change := func(r *rig) {
		r.setup.idle, r.setup.fin, r.setup.dead, r.setup.listener = other.idle, other.fin, other.dead, nil
	}
	terms := func(s *session) Terms { return termsOf(s.rules, s.target) }
	t.Run("relaying", func(t *testing.T) {
		r := newRig(t, old)
		first, second := r.pair(), r.pair()
		had := terms(r.newest())
		change(r)
		r.freeze(false, true).thaw()
		r.loop.sessions.each(func(s *session) {
			if terms(s) != had {
				t.Errorf("a session has come to %+v, and had %+v", terms(s), had)
			}
		})
		last := r.pair()
		later := 0
		r.loop.sessions.each(func(s *session) {
			if has := terms(s); has != had && has.IdleTimeout == other.idle && has.MaxAge == 0 {
				later++
			}
		})
		if later != 1 {
			t.Errorf("%d sessions have the other terms, want 1", later)
		}
		if all, outdated := r.srv.listeners()[0].sessionCount(); all != 3 || outdated != 2 {
			t.Errorf("%d sessions, %d of them under the old terms, want 3 and 2", all, outdated)
		}
		if n := len(r.srv.listeners()[0].everyRules()); n != 2 {
			t.Errorf("there are %d rules, want 2", n)
		}
		r.exchange(first[client], first[server], 2)
		r.exchange(second[client], second[server], 2)
		r.now += old.idle + 2*tick
		r.expectEnd(IdleTimeout)
		r.expectEnd(IdleTimeout)
		r.exchange(last[client], last[server], 2)
		r.now += other.idle + 2*tick
		r.expectEnd(IdleTimeout)
	})
	t.Run("before it relays", func(t *testing.T) {
		r := newPostgresRig(t, old)
		c := r.dial()
		r.write(c, startup[:3])
		r.expectState(stateReadHello)
		change(r)
		r.freeze(true, true).thaw()
		r.write(c, startup[3:])
		s := r.accept()
		r.expect(s, startup)
		r.write(s, loginAnswer(cancelKey(1, 4)))
		r.expect(c, loginAnswer(cancelKey(1, 4)))
		if has := terms(r.newest()); has.IdleTimeout != other.idle || has.MaxAge != 0 {
			t.Errorf("it has %+v", has)
		}
		if all, outdated := r.srv.listeners()[0].sessionCount(); all != 1 || outdated != 0 {
			t.Errorf("%d sessions, %d of them under the old terms, want 1 and 0", all, outdated)
		}
		r.now += other.idle + 2*tick
		r.expectEnd(IdleTimeout)
	})
}
