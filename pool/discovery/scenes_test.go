package discovery

import (
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"time"
	"weak"

	"sluice/pool"
)

// entry is a backend with a host name that stands before the written one of that number.
func entry(before int, name, prefix string, texts ...string) Feed {
	f := feed("dns "+name, texts...)
	f.Entry, f.Prefix, f.Before = name, prefix, before
	return f
}

// TestOrder: entries stand where they are written, and of an entry backups stand behind, each by address.
func TestOrder(t *testing.T) {
	s := newStory(t)
	four := []pool.BackendConfig{static("1")[0], static("b=2")[0], static("2")[0], static("4")[0]} // of one address there are two
	s.next("20 30! 1 b@2 h/40@40 2 4 50", 0, four, entry(0, "g", "", "30!", "20"), entry(2, "h", "h/", "40"), feed("x", "1", "50", "2"))
	if o := s.m.Origin("h/10.0.0.40:80"); o != (Origin{Source: "dns h", Entry: "h"}) {
		t.Errorf("40 is of %+v", o)
	}
	for _, name := range []string{"10.0.0.1:80", "b", "10.0.0.2:80", "10.0.0.3:80"} {
		if o := s.m.Origin(name); o != (Origin{}) {
			t.Errorf("%s, which is written or unknown, is of %+v", name, o)
		}
	}
	s.next("20? 30! 1 b@2 h/40@40 2 4 50", 1, four, entry(0, "g", "", "30!"), entry(2, "h", "h/", "40"), feed("x", "50"))
	s.next("1 b@2 2 4", 1, four)
	s.next("10", 0, nil, feed("x", "10"))
}

// TestAddressMoves: one that a source does not name any more and another one does is there without a break, as that one
// has it.
func TestAddressMoves(t *testing.T) {
	s := newStory(t)
	s.next("1 2 3", 0, nil, feed("x", "1", "2"), feed("y", "2", "3"))
	s.next("1 2 3", 1, nil, feed("x", "1"), feed("y", "2", "3"))
	if o := s.m.Origin("10.0.0.2:80"); o.Source != "y" || !o.Vanished.IsZero() {
		t.Errorf("2 is of %+v", o)
	}
	s.next("1 2? 3", 1, nil, feed("x", "1"), feed("y", "3"))
	if o := s.m.Origin("10.0.0.2:80"); o.Source != "y" || o.Vanished.IsZero() {
		t.Errorf("2, which has vanished, is of %+v", o)
	}
	s.next("1 2 3", 1, nil, feed("x", "1", "2"), feed("y", "3")) // it has vanished from y, and x has it
	s.next("1 2? 3", 1, nil, feed("x", "1"), feed("y", "3"))
	s.next("2 1 3", 1, static("2"), feed("x", "1"), feed("y", "3")) // somebody writes it
	s.next("1 3", 1, nil, feed("x", "1"), feed("y", "3"))           // and takes it out again
	// From an entry with a name to one without: it is another backend, and the old one does not stay beside it.
	s.next("db/1@1", 1, nil, entry(0, "db", "db/", "1"), feed("x", "1"))
	s.next("1", 1, nil, entry(0, "db", "db/"), feed("x", "1"))
}

// TestEntryLeaves: what an entry had leaves with it, and is not remembered when it is back.
func TestEntryLeaves(t *testing.T) {
	s := newStory(t)
	s.next("1 2 3", 0, nil, feed("x", "1", "2"), feed("y", "3"))
	s.next("1 2? 3", 1, nil, feed("x", "1"), feed("y", "3"))
	s.next("3", 1, nil, feed("y", "3"))
	if !s.m.Due().IsZero() {
		t.Errorf("due %v: nobody is left who has vanished", s.m.Due())
	}
	s.next("3", 1, nil, silent("x"), feed("y", "3"))
	s.next("1 3", 1, nil, feed("x", "1"), feed("y", "3"))
	s.next("1 3?", 1, nil, feed("x", "1"), silent("y")) // whoever has lost an answer has none
}

// TestHostLeavesFile: what a host name stood for that a file does not name any more is like what is in no answer any more,
// as long as the file is wanted.
func TestHostLeavesFile(t *testing.T) {
	host := func(name string, texts ...string) Feed {
		f := feed("dns "+name, texts...)
		f.Entry, f.Under = name, "file"
		return f
	}
	s := newStory(t)
	s.next("1 2 3 4 5", 0, nil, feed("file", "1"), host("a", "2"), host("b", "3", "4"), feed("x", "5"))
	s.next("1 2 3? 4? 5", 1, nil, feed("file", "1"), host("a", "2"), feed("x", "5"))
	if o := s.m.Origin("10.0.0.3:80"); o.Source != "dns b" || o.Entry != "b" || o.Vanished != s.now {
		t.Errorf("3 is of %+v", o)
	}
	s.next("1 2 3? 4? 5", 9, nil, feed("file", "1"), host("a", "2"), feed("x", "5"))
	s.next("1 4 2 3? 5", 1, nil, feed("file", "1", "4"), host("a", "2"), feed("x", "5"))
	s.next("1 4 2 3 5", 1, nil, feed("file", "1", "4"), host("a", "2"), host("b", "3"), feed("x", "5"))
	s.next("2 1? 4? 3? 5", 1, nil, host("a", "2"), feed("file"), feed("x", "5"))
	s.next("2 1? 4? 3? 5", 29, nil, host("a", "2"), feed("file"), feed("x", "5"))
	s.next("2 5", 1, nil, host("a", "2"), feed("file"), feed("x", "5"))
	s.next("2? 5", 0, nil, feed("file"), feed("x", "5"))
	s.m = RestoreMembers(s.m.Saved())
	s.next("2? 5", 0, nil, feed("file"), feed("x", "5"))
	s.next("5", 30, nil, feed("file"), feed("x", "5"))
	s.next("5", 0, nil, feed("file"), feed("x", "5"))
	if len(s.m.groups) != 2 {
		t.Errorf("%d groups, want those of the two feeds", len(s.m.groups))
	}
}

// TestFeedTwice: one that is there twice has its backends once.
func TestFeedTwice(t *testing.T) {
	s := newStory(t)
	s.next("1 2", 0, nil, feed("x", "1", "2"), feed("x", "1", "2"))
	s.next("1? 2", 1, nil, feed("x", "2"), feed("x", "2"))
	s.next("1 2", 1, nil, feed("x", "1", "2"), feed("x", "1", "2"))
}

// TestNames: of one address under several names there is one backend, and one name that several addresses have is that of
// the first; the others add their addresses. As long as one stays that has vanished, nobody is called otherwise.
func TestNames(t *testing.T) {
	s := newStory(t)
	s.next("a@1 c@2", 0, nil, feed("x", "b=1", "a=1"), feed("y", "b=1", "c=2"))
	s.next("web@1 web/2@2 web/3@3", 1, static("web=1"), feed("x", "web=2"), feed("y", "web=3"))
	s.next("web@2 web/3@3", 1, nil, feed("x", "web=2"), feed("y", "web=3"))
	s.next("web@2? web/3@3", 1, nil, feed("x"), feed("y", "web=3"))
	s.next("web@2 web/3@3", 9, nil, feed("x", "web=2"), feed("y", "web=3"))
	s.next("web@2? web/3@3", 1, nil, feed("x"), feed("y", "web=3"))
	s.next("web@2? web/3@3", 29, nil, feed("x"), feed("y", "web=3"))
	s.next("web@3", 1, nil, feed("x"), feed("y", "web=3"))
	s.next("web@4", 1, nil, feed("x"), feed("y", "web=4")) // the name has moved: who had it leaves
	s.next("web@1 web/4@4", 1, nil, feed("x", "web=1"), feed("y", "web=4"))
	s.next("web@4", 1, nil, feed("y", "web=4"))
	// Names that look like addresses.
	s.next("1@2 1/1@1", 1, static("10.0.0.1:80=2"), feed("x", "1"))
	s.next("1@2 1/1@3", 1, []pool.BackendConfig{static("10.0.0.1:80=2")[0], static("10.0.0.1:80/10.0.0.1:80=3")[0]}, feed("x", "1"))
	want := Problem{Source: "x", Backend: "10.0.0.1:80", Problem: "its name is taken"}
	if got := s.m.Problems(); len(got) != 1 || got[0] != want {
		t.Errorf("problems %+v, want %+v", got, want)
	}
	unix := feed("y")
	unix.Found = []Found{{Address: pool.Address{Unix: "/x/10.0.0.1:80"}}}
	s.next("unix:/x/1@1 unix:/x/1/unix:/x/1@unix:/x/1", 1, nil, entry(0, "unix:/x", "unix:/x/", "1"), unix)
	s.next("2@1", 1, nil, feed("x", "10.0.0.2:80=1"))
	s.next("2", 1, nil, feed("x", "2")) // the vanished one has its name
}

// TestSettings: what the source says wins over the template, also when that is another one by now.
func TestSettings(t *testing.T) {
	s := newStory(t)
	f := feed("x", "1", "2")
	f.Found[0].Settings = Settings{Weight: new(7), MaxConns: new(5), Backup: new(false), State: new(pool.Maint)}
	f.Template = pool.BackendConfig{Weight: 3, MaxConns: 9, Backup: true, State: pool.Drain}
	s.next("1 2!", 0, nil, f)
	one := pool.BackendConfig{Name: "10.0.0.1:80", Address: f.Found[0].Address, Weight: 7, MaxConns: 5, State: pool.Maint}
	two := pool.BackendConfig{Name: "10.0.0.2:80", Address: f.Found[1].Address, Weight: 3, MaxConns: 9, Backup: true, State: pool.Drain}
	if got := s.m.Backends(); got[0] != one || got[1] != two {
		t.Errorf("%+v, want %+v and %+v", got, one, two)
	}
	f.Found, f.Template = nil, pool.BackendConfig{Weight: 4}
	s.next("1? 2?", 1, nil, f)
	one.Vanished, two.Vanished = true, true
	two.Weight, two.MaxConns, two.Backup, two.State = 4, 0, false, pool.Ready
	if got := s.m.Backends(); got[0] != one || got[1] != two {
		t.Errorf("vanished: %+v, want %+v and %+v", got, one, two)
	}
}

// TestBarred: what may not be a backend is left out and named, and does not stay when it has vanished.
func TestBarred(t *testing.T) {
	s := newStory(t)
	s.rules.Barred = func(a pool.Address) error {
		if a == found("2")[0].Address {
			return errors.New("it is this listener")
		}
		return nil
	}
	s.next("1 3", 0, nil, feed("x", "1", "2"), feed("y", "2", "3"))
	want := Problem{Source: "x", Backend: "10.0.0.2:80", Problem: "it is this listener"}
	if got := s.m.Problems(); len(got) != 1 || got[0] != want {
		t.Errorf("problems %+v, want %+v", got, want)
	}
	barred := s.rules.Barred
	s.rules.Barred = nil
	s.next("1 2 3", 0, nil, feed("x", "1", "2"), feed("y", "2", "3"))
	s.rules.Barred = barred
	s.next("1? 3?", 0, nil, feed("x"), feed("y"))
	if got := s.m.Problems(); len(got) != 0 {
		t.Errorf("problems %+v with nothing found", got)
	}
}

// TestTooMany: a pool takes so many, the first.
func TestTooMany(t *testing.T) {
	all, _ := tidy(many(maxBackends+1, ""))
	feeds := []Feed{{Source: "x", Found: all, Answered: true}}
	rules := Rules{RemoveAfter: time.Hour}
	m := (*Members)(nil).Next(nil, feeds, rules, start)
	if got := m.Backends(); len(got) != maxBackends || len(m.Problems()) != 1 || m.Problems()[0].Backend != all[maxBackends].Address.String() {
		t.Fatalf("%d backends, problems %+v", len(got), m.Problems())
	}
	feeds[0].Found = all[1:]
	if m = m.Next(nil, feeds, rules, start); len(m.Backends()) != maxBackends || m.Backends()[0].Vanished || !m.Due().IsZero() {
		t.Errorf("%d backends, %+v first, due %v; want no room for who has vanished", len(m.Backends()), m.Backends()[0], m.Due())
	}
	feeds[0].Found = all[2:]
	if m = m.Next(nil, feeds, rules, start); !m.Backends()[0].Vanished || m.Backends()[1].Vanished {
		t.Errorf("%+v first, want one who has vanished", m.Backends()[:2])
	}
}

// TestClockSetBack: whoever has vanished in what is now the future leaves in time all the same.
func TestClockSetBack(t *testing.T) {
	s := newStory(t)
	s.next("1", 0, nil, feed("x", "1"))
	s.next("1?", 7200, nil, feed("x"))
	s.next("1?", -3600, nil, feed("x"))
	s.next("1?", 29, nil, feed("x"))
	s.next("", 1, nil, feed("x"))
}

// TestAnswersAreForgotten: one that has vanished does not keep the whole answer that it was in.
func TestAnswersAreForgotten(t *testing.T) {
	s := newStory(t)
	first := feed("x", "1", "2", "3")
	answer := weak.Make(&first.Found[0])
	s.next("1 2 3", 0, nil, first)
	first = Feed{}
	s.next("1 2? 3", 1, nil, feed("x", "1", "3"))
	if runtime.GC(); answer.Value() != nil {
		t.Error("the answer before is still there")
	}
	runtime.KeepAlive(s)
}

// TestRestoreMembers: another process goes on with those that have vanished, and with nothing else.
func TestRestoreMembers(t *testing.T) {
	s := newStory(t)
	s.next("web@1 3! web/2@2", 0, nil, feed("x", "web=1", "3!"), feed("y", "web=2"))
	s.next("web@1 3!? web/2@2?", 1, nil, feed("x", "web=1"), feed("y"))
	text, err := json.Marshal(s.m.Saved())
	if err != nil {
		t.Fatal(err)
	}
	var saved []SavedMember
	if err := json.Unmarshal(text, &saved); err != nil || len(saved) != 2 {
		t.Fatalf("%s: %v", text, err)
	}
	restored := *s
	restored.m = RestoreMembers(saved)
	restored.next("web@1 3!? web/2@2?", 29, nil, feed("x", "web=1"), feed("y"))
	if s.m.Due() != restored.m.Due() || restored.m.Origin("web/10.0.0.2:80") != s.m.Origin("web/10.0.0.2:80") {
		t.Errorf("due %v, want %v", restored.m.Due(), s.m.Due())
	}
	restored.next("web@1", 1, nil, feed("x", "web=1"), feed("y"))
	restored.m = RestoreMembers(saved)
	restored.next("3!? web/2@2?", -1, nil, silent("x"), silent("y"))
	restored.m = RestoreMembers(append(saved, saved[0], SavedMember{},
		SavedMember{Source: "x", Backend: "9", Since: start},
		SavedMember{Source: "x", Backend: "9", Since: start, Found: found("9")[0], Template: &Settings{Weight: new(-1)}}))
	restored.next("web@1 3!? web/2@2?", 0, nil, feed("x", "web=1"), feed("y"))
	restored.m = RestoreMembers(append(saved, saved...))
	restored.next("3!", 0, nil, feed("x", "3!"))
	if (*Members)(nil).Saved() != nil || (*Members)(nil).Problems() != nil || (*Members)(nil).Origin("1") != (Origin{}) {
		t.Error("no Members have something")
	}
}
