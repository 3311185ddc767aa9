package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/pool"
)

// script is a source that says what a test tells it.
type script struct {
	key   string
	runs  int // how often Run was called; read when the bubble stands still
	say   chan Report
	ended chan struct{}
}

func newScript(key string) *script {
	return &script{key: key, say: make(chan Report), ended: make(chan struct{})}
}

func (s *script) Key() string { return s.key }

func (s *script) Ask(ctx context.Context) ([]Found, error) {
	select {
	case r := <-s.say:
		return r.Found, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *script) Run(ctx context.Context, report func(Report)) {
	s.runs++
	defer close(s.ended)
	for {
		select {
		case r := <-s.say:
			report(r)
		case <-ctx.Done():
			report(Report{Err: errors.New("it has ended")}) // too late: nobody listens
			return
		}
	}
}

// watching is a Watch that runs, with what it has logged and how often it said that something has changed.
type watching struct {
	*Watch
	t       *testing.T
	log     bytes.Buffer
	changes atomic.Int64
}

// watch runs f with a Watch, in a bubble whose clock is the test's.
func watch(t *testing.T, f func(w *watching)) {
	synctest.Test(t, func(t *testing.T) {
		w := &watching{t: t}
		logger := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		w.Watch = NewWatch(Options{Logger: logger, Changed: func() { w.Status(); w.changes.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		synctest.Wait()
		f(w)
		cancel()
		<-ended
		late := newScript("too late")
		w.Follow([]Source{late})
		synctest.Wait()
		if late.runs != 0 {
			t.Errorf("a source runs after the end")
		}
	})
}

// said lets a source say something and checks how often that was told, and the lines that were logged.
func (w *watching) said(s *script, r Report, changes int, log ...string) {
	w.t.Helper()
	s.say <- r
	synctest.Wait()
	if told := w.changes.Swap(0); told != int64(changes) {
		w.t.Errorf("%+v: told %d times, want %d", r, told, changes)
	}
	if got, want := w.log.String(), strings.Join(append(log, ""), "\n"); got != want {
		w.t.Errorf("%+v: logged\n%swant\n%s", r, got, want)
	}
	w.log.Reset()
}

// TestWatchAnswers: what counts is the set, an error changes nothing, and each thing is told and logged once.
func TestWatchAnswers(t *testing.T) {
	watch(t, func(w *watching) {
		x := newScript("x")
		w.Follow([]Source{x})
		if a := w.Answer("x"); a.Answered() || a.Set(true) != nil {
			t.Errorf("before the first answer: %+v", a)
		}
		broken := Report{Err: errors.New("no such host"), Next: time.Now().Add(FirstRetry)}
		w.said(x, broken, 1, `level=WARN msg="source does not answer" source=x error="no such host" backends="none until it answers"`)
		w.said(x, broken, 0)
		if s := w.Status()[0]; s.Problem != "no such host" || s.Failures != 2 || !s.Next.Equal(broken.Next) || !s.Answered.IsZero() {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Second)
		w.said(x, Report{Found: found("1", "2", "3!")}, 1, `level=INFO msg="source answers again" source=x`,
			`level=INFO msg="source has answered" source=x backends=3 added="10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80"`)
		first := w.Answer("x")
		time.Sleep(time.Second)
		other := found("1", "2", "3!")
		other[0], other[2] = other[2], other[0]
		w.said(x, Report{Found: append(other, other...)}, 0)
		if a := w.Answer("x"); &a.Latest[0] != &first.Latest[0] || a.Generation != 1 || a.At.Sub(first.At) != time.Second {
			t.Errorf("the same again: %+v, before that %+v", a, first)
		}
		w.said(x, Report{}, 1,
			`level=WARN msg="source says that it has no backends" source=x backends=0 removed="10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80"`)
		if a := w.Answer("x"); len(a.Set(false)) != 0 || len(a.Set(true)) != 3 || a.Generation != 2 {
			t.Errorf("empty: %+v", a)
		}
		w.said(x, Report{Found: found("1", "2", "3")}, 1,
			`level=INFO msg="source has backends again" source=x backends=3 added="10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80"`)
		w.said(x, Report{Found: found("1", "2", "3!")}, 1,
			`level=INFO msg="source has another answer" source=x backends=3 changed=1`)
		s := w.Status()[0]
		if s.Backends != 3 || s.Generation != 4 || s.Answers != 5 || s.Failures != 2 || s.Problem != "" || time.Since(s.Answered) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestWatchKeeps: what is logged and told of a source that says there are none is what becomes of its backends.
func TestWatchKeeps(t *testing.T) {
	watch(t, func(w *watching) {
		keep := true
		w.keeps = func(string) bool { return keep }
		x := newScript("x")
		w.Follow([]Source{x})
		w.said(x, Report{}, 1, `level=WARN msg="source says that it has no backends" source=x backends=0`)
		w.said(x, Report{Found: found("1", "2")}, 1,
			`level=INFO msg="source has backends again" source=x backends=2 added="10.0.0.1:80, 10.0.0.2:80"`)
		none := Report{Reason: "no such name"}
		w.said(x, none, 1, `level=WARN msg="source says that it has no backends: those of before are kept (on_empty)" source=x `+
			`backends=0 kept=2 reason="no such name"`)
		if s := w.Status()[0]; s.Backends != 0 || s.Kept != 2 || s.Reason != "no such name" {
			t.Errorf("%+v", s)
		}
		time.Sleep(46 * time.Second)
		w.said(x, Report{Err: errors.New("SERVFAIL")}, 1,
			`level=WARN msg="source does not answer" source=x error=SERVFAIL kept=2 answered="46s ago"`)
		w.said(x, none, 1, `level=INFO msg="source answers again" source=x`)
		w.said(x, Report{Found: found("2", "3")}, 1,
			`level=INFO msg="source has backends again" source=x backends=2 added=10.0.0.3:80 removed=10.0.0.1:80`)
		keep = false
		w.said(x, none, 1, `level=WARN msg="source says that it has no backends" source=x backends=0 `+
			`removed="10.0.0.2:80, 10.0.0.3:80" reason="no such name"`)
		if s := w.Status()[0]; s.Kept != 0 || s.Reason != "no such name" {
			t.Errorf("%+v", s)
		}
		w.said(x, Report{Found: found("2")}, 1,
			`level=INFO msg="source has backends again" source=x backends=1 added=10.0.0.2:80`)
		w.said(x, Report{Err: errors.New("no engine"), Other: true}, 1,
			`level=WARN msg="source does not answer" source=x error="no engine"`)
		if s := w.Status()[0]; s.Reason != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestWatchFollow: a source runs from when it is wanted until it is not. One that stays is not begun anew.
func TestWatchFollow(t *testing.T) {
	watch(t, func(w *watching) {
		x, y, z, again := newScript("x"), newScript("y"), newScript("z"), newScript("x")
		w.Follow([]Source{x, y, again})
		w.said(x, Report{Found: found("1")}, 1,
			`level=INFO msg="source has answered" source=x backends=1 added=10.0.0.1:80`)
		w.said(y, Report{Found: found("2")}, 1,
			`level=INFO msg="source has answered" source=y backends=1 added=10.0.0.2:80`)
		w.Follow([]Source{again, z})
		<-y.ended
		synctest.Wait()
		if told := w.changes.Load(); told != 0 || x.runs != 1 || again.runs != 0 || z.runs != 1 {
			t.Errorf("told %d times, x ran %d times, another one %d times, z %d times", told, x.runs, again.runs, z.runs)
		}
		if a := w.Answer("y"); a.Answered() {
			t.Errorf("y has ended and says %+v", a)
		}
		if s := w.Status(); len(s) != 2 || s[0].Source != "x" || s[0].Answers != 1 || s[1].Source != "z" {
			t.Errorf("%+v", s)
		}
		fresh := newScript("y")
		w.Follow([]Source{x, fresh})
		<-z.ended
		w.said(fresh, Report{Found: found("2")}, 1,
			`level=INFO msg="source has answered" source=y backends=1 added=10.0.0.2:80`)
		w.Follow(nil)
		<-x.ended
		<-fresh.ended
	})
}

// TestWatchBeforeRun: what is followed before Run waits for it.
func TestWatchBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWatch(Options{Logger: slog.New(slog.DiscardHandler), Changed: func() {}})
		x, y := newScript("x"), newScript("y")
		w.Follow([]Source{x, y})
		w.Follow([]Source{y})
		synctest.Wait()
		if x.runs+y.runs != 0 {
			t.Errorf("x ran %d times, y %d times, before Run", x.runs, y.runs)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go w.Run(ctx)
		synctest.Wait()
		if x.runs != 0 || y.runs != 1 {
			t.Errorf("x ran %d times, y %d times", x.runs, y.runs)
		}
		cancel()
		<-y.ended
	})
}

// TestWatchWarnings: what is wrong with single backends is told and logged once, and the others are there.
func TestWatchWarnings(t *testing.T) {
	watch(t, func(w *watching) {
		x := newScript("x")
		w.Follow([]Source{x})
		answer := `level=INFO msg="source has answered" source=x backends=1 added=10.0.0.1:80`
		bad := append(found("1"), Found{Address: pool.Address{Unix: "/run/x"}, Settings: Settings{Weight: new(257)}})
		heavy := `level=WARN msg="source has a backend that is left out" source=x reason="backend unix:/run/x: weight 257: want 0 to 256"`
		w.said(x, Report{Found: bad}, 1, heavy, answer)
		w.said(x, Report{Found: bad}, 0)
		w.said(x, Report{Found: bad, Warnings: []string{"db2 is starting"}}, 1,
			`level=WARN msg="source has a backend that is left out" source=x reason="db2 is starting"`)
		w.said(x, Report{Found: bad, Warnings: []string{"db3 is starting", "db2 is starting"}}, 1,
			`level=WARN msg="source has a backend that is left out" source=x reason="db3 is starting"`)
		w.said(x, Report{Found: bad, Warnings: []string{"db2 is starting", "db3 is starting"}}, 0)
		w.said(x, Report{Found: bad, Warnings: []string{"db2 is starting"}}, 1)
		if got := w.Status()[0].Warnings; len(got) != 2 {
			t.Errorf("warnings %q", got)
		}
		w.said(x, Report{Found: bad, Warnings: []string{"db2 is starting"}}, 0)
		w.said(x, Report{Found: bad[1:]}, 1, `level=WARN msg="source does not answer" source=x error="no backend can be used: `+
			`backend unix:/run/x: weight 257: want 0 to 256" kept=1 answered="0s ago"`)
		if a := w.Answer("x"); len(a.Latest) != 1 {
			t.Errorf("%+v after an answer of which nothing can be used", a)
		}
		w.said(x, Report{Found: found("1")}, 1, `level=INFO msg="source answers again" source=x`)
		for i := range 100 {
			bad = append(bad, Found{Address: testAddress(i), Settings: Settings{MaxConns: new(-1)}})
		}
		time.Sleep(2 * warningsTime)
		x.say <- Report{Found: bad}
		synctest.Wait()
		if got := w.Status()[0].Warnings; len(got) != maxWarnings+1 || got[maxWarnings] != "and 81 more" {
			t.Errorf("warnings %q", got)
		}
		if got := strings.Count(w.log.String(), "\n"); got != maxWarnings+1 {
			t.Errorf("%d lines logged", got)
		}
	})
}

// TestWatchRestore: answers go on in another process, until the source says something itself.
func TestWatchRestore(t *testing.T) {
	var text []byte
	watch(t, func(w *watching) {
		x, y, z := newScript("dns x:80"), newScript("dns y:80"), newScript("dns z:80")
		w.Follow([]Source{x, y, z})
		x.say <- Report{Found: found("a=1", "2!")}
		y.say <- Report{Found: found("3")}
		y.say <- Report{}
		z.say <- Report{Err: errors.New("timeout")}
		synctest.Wait()
		var err error
		if text, err = json.Marshal(w.Saved()); err != nil {
			t.Fatal(err)
		}
	})
	var saved []Saved
	if err := json.Unmarshal(text, &saved); err != nil || len(saved) != 2 {
		t.Fatalf("%s: %v", text, err)
	}
	watch(t, func(w *watching) {
		w.Follow(nil)
		w.Restore(saved)
		f := func(key string, latest, kept, generation int) {
			t.Helper()
			a := w.Answer(key)
			if len(a.Latest) != latest || len(a.Kept) != kept || a.Generation != uint64(generation) || a.Restored != (generation > 0) {
				t.Errorf("%s: %+v", key, a)
			}
		}
		check := func() {
			t.Helper()
			f("dns x:80", 2, 2, 1)
			f("dns y:80", 0, 1, 2)
			f("dns z:80", 0, 0, 0)
		}
		check()
		x, y, z := newScript("dns x:80"), newScript("dns y:80"), newScript("dns z:80")
		w.Follow([]Source{x, y, z})
		check()
		if s := w.Status()[1]; !s.Restored || s.Answers != 2 || s.Backends != 0 {
			t.Errorf("%+v", s)
		}
		w.said(x, Report{Err: errors.New("timeout")}, 1, `level=INFO msg="source has not answered yet: its backends are those of its last answer" source="dns x:80" backends=2 answered="0s ago"`,
			`level=WARN msg="source does not answer" source="dns x:80" error=timeout kept=2 answered="0s ago"`)
		f("dns x:80", 2, 2, 1)
		w.said(x, Report{Found: found("a=1", "2!")}, 1, `level=INFO msg="source answers again" source="dns x:80"`)
		if a := w.Answer("dns x:80"); a.Restored || a.Generation != 1 || w.Status()[0].Restored {
			t.Errorf("after the same answer: %+v", a)
		}
		w.Restore(saved)
		w.Follow([]Source{x})
		f("dns y:80", 0, 0, 0) // nobody has taken it
	})
}

// TestWatchOtherOptions: a source that is asked in another way begins with what was said before.
func TestWatchOtherOptions(t *testing.T) {
	watch(t, func(w *watching) {
		x, other, port := newScript("dns x:80"), newScript("dns x:80 type=a min_ttl=5s"), newScript("dns x:81")
		w.Follow([]Source{x})
		w.said(x, Report{Found: found("1")}, 1,
			`level=INFO msg="source has answered" source="dns x:80" backends=1 added=10.0.0.1:80`)
		before := w.Answer(other.key)
		w.Follow([]Source{other, port})
		a := w.Answer(other.key)
		if len(a.Latest) != 1 || !a.Restored || !before.Restored || &a.Latest[0] != &before.Latest[0] || w.Answer(port.key).Answered() {
			t.Errorf("%+v, before that %+v; %s: %+v", a, before, port.key, w.Answer(port.key))
		}
		if s := w.Status()[0]; s.Answers != 0 || s.Answered.IsZero() {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Second)
		w.said(other, Report{Found: found("2")}, 1,
			`level=INFO msg="source has not answered yet: its backends are those of its last answer" source="dns x:80 type=a min_ttl=5s" backends=1 answered="0s ago"`,
			`level=INFO msg="source has another answer" source="dns x:80 type=a min_ttl=5s" backends=1 added=10.0.0.2:80 removed=10.0.0.1:80`)
		third := newScript("dns x:80 type=aaaa")
		w.Follow([]Source{other, newScript("dns x:80"), port})
		w.Follow([]Source{third, port}) // the latest of two
		if a := w.Answer(third.key); len(a.Latest) != 1 || a.Latest[0].compare(&found("2")[0]) != 0 {
			t.Errorf("%+v", a)
		}
	})
	if a, b := Subject("docker unix:/x pool=a network=n port=80"), Subject("docker unix:/x pool=b"); a != "docker unix:/x pool=a" || a == b {
		t.Errorf("subjects %q and %q", a, b)
	}
}
