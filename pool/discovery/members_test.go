package discovery

import (
	"cmp"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// start is when every test of Members begins.
var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// found reads backends: "1" is 10.0.0.1:80, "web=1" has a name, and "1!" is a backup.
func found(texts ...string) (all []Found) {
	for _, text := range texts {
		var f Found
		if name, address, ok := strings.Cut(text, "="); ok {
			f.Name, text = name, address
		}
		if address, ok := strings.CutSuffix(text, "!"); ok {
			f.Backup, text = new(true), address
		}
		f.Address.TCP = netip.MustParseAddrPort("10.0.0." + text + ":80")
		all = append(all, f)
	}
	all, _ = tidy(all)
	return all
}

// feed is an item of discover whose source is called so and has answered.
func feed(source string, texts ...string) Feed {
	return Feed{Source: source, Template: pool.BackendConfig{Weight: 1}, Before: 100, Found: found(texts...), Answered: true}
}

// static reads backends of a configuration.
func static(texts ...string) (all []pool.BackendConfig) {
	for _, f := range found(texts...) {
		all = append(all, pool.BackendConfig{Name: cmp.Or(f.Name, f.Address.String()), Address: f.Address, Weight: 1})
	}
	return all
}

// list writes the backends: "1", or "web@1" where the name is another one, "!" for a backup, "?" for one that has vanished.
func list(m *Members) string {
	short := strings.NewReplacer("10.0.0.", "", ":80", "").Replace
	var all []string
	for _, c := range m.Backends() {
		text, at := short(c.Name), short(c.Address.String())
		if at != text {
			text += "@" + at
		}
		if c.Backup {
			text += "!"
		}
		if c.Vanished {
			text += "?"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// story is the Members of one pool, from step to step.
type story struct {
	t     *testing.T
	m     *Members
	rules Rules
	now   time.Time
}

func newStory(t *testing.T) *story {
	return &story{t: t, rules: Rules{RemoveAfter: 30 * time.Second}, now: start}
}

// next lets seconds pass and checks what there is then.
func (s *story) next(want string, seconds int, written []pool.BackendConfig, feeds ...Feed) {
	s.t.Helper()
	s.now = s.now.Add(time.Duration(seconds) * time.Second)
	s.m = s.m.Next(written, feeds, s.rules, s.now)
	if got := list(s.m); got != want {
		s.t.Errorf("after %v: %s\nwant %s", s.now.Sub(start), got, want)
	}
	if again := s.m.Next(written, feeds, s.rules, s.now); !again.Equal(s.m) || !again.Due().Equal(s.m.Due()) {
		s.t.Errorf("after %v, the same again: %s\nwant %s", s.now.Sub(start), list(again), list(s.m))
	}
}

// silent is a feed whose source has never answered.
func silent(source string) Feed { return Feed{Source: source, Before: 100} }

// TestVanish: one that is in no answer any more stays where it is until its time is over, or until it is back.
func TestVanish(t *testing.T) {
	s := newStory(t)
	s.next("", 0, nil, silent("x"))
	s.next("1 2 3 4!", 1, nil, feed("x", "3", "1", "4!", "2"))
	s.next("1 2? 3 4!?", 1, nil, feed("x", "1", "3"))
	gone := s.now
	s.next("1? 2? 3 4!?", 10, nil, feed("x", "3"))
	s.next("1? 2 3 4!?", 19, nil, feed("x", "2", "3"))
	if o := s.m.Origin("10.0.0.4:80"); o != (Origin{Source: "x", Vanished: gone, Leaves: gone.Add(30 * time.Second)}) || s.m.Due() != o.Leaves {
		t.Errorf("4 is of %+v, due is %v", o, s.m.Due())
	}
	s.next("1? 2 3", 1, nil, feed("x", "2", "3"))
	s.next("1? 2 3", 8, nil, feed("x", "2", "3"))
	s.next("2 3", 2, nil, feed("x", "2", "3"))
	if !s.m.Due().IsZero() || s.m.Origin("10.0.0.2:80") != (Origin{Source: "x"}) {
		t.Errorf("due %v, 2 is of %+v", s.m.Due(), s.m.Origin("10.0.0.2:80"))
	}
	s.next("2? 3?", 0, nil, feed("x"))
	s.rules.RemoveAfter = 10 * time.Second
	s.next("2? 3?", 9, nil, feed("x"))
	s.rules.RemoveAfter = 0
	s.next("", 0, nil, feed("x"))
	s.next("1", 0, nil, feed("x", "1"))
	s.next("", 0, nil, feed("x"))
}
