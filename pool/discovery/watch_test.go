package discovery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script is a source that says what a test tells it.
type script struct {
	key   string
	runs  int // how often Run was called; goes on is guarded by the bubble's waiting
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
	changes int
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
		w.Watch = NewWatch(Options{Logger: logger, Changed: func() { w.Status(); w.changes++ }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		synctest.Wait()
		f(w)
		cancel()
		<-ended
		w.Follow([]Source{newScript("too late")}) // starts nothing
	})
}

// said lets a source say something and checks how often that was told, and the lines that were logged.
func (w *watching) said(s *script, r Report, changes int, log ...string) {
	w.t.Helper()
	s.say <- r
	synctest.Wait()
	if w.changes != changes {
		w.t.Errorf("%+v: told %d times, want %d", r, w.changes, changes)
	}
	if got, want := w.log.String(), strings.Join(append(log, ""), "\n"); got != want {
		w.t.Errorf("%+v: logged\n%swant\n%s", r, got, want)
	}
	w.changes = 0
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
		w.said(x, broken, 1, `level=WARN msg="source does not answer" source=x error="no such host"`)
		w.said(x, broken, 0)
		if s := w.Status()[0]; s.Problem != "no such host" || s.Failures != 2 || !s.Next.Equal(broken.Next) || !s.Answered.IsZero() {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Second)
		w.said(x, Report{Found: found("1", "2", "3!")}, 1, `level=INFO msg="source answers again" source=x`,
			`level=INFO msg="source has another answer" source=x backends=3 added="10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80" removed="" changed=0`)
		first := w.Answer("x")
		time.Sleep(time.Second)
		other := found("1", "2", "3!")
		other[0], other[2] = other[2], other[0]
		w.said(x, Report{Found: append(other, other...)}, 0)
		if a := w.Answer("x"); &a.Latest[0] != &first.Latest[0] || a.Generation != 1 || a.At.Sub(first.At) != time.Second {
			t.Errorf("the same again: %+v, before that %+v", a, first)
		}
		w.said(x, Report{}, 1,
			`level=WARN msg="source has another answer" source=x backends=0 added="" removed="10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80" changed=0`)
		if a := w.Answer("x"); len(a.Set(false)) != 0 || len(a.Set(true)) != 3 || a.Generation != 2 {
			t.Errorf("empty: %+v", a)
		}
		w.said(x, Report{Found: found("1", "2", "3")}, 1,
			`level=INFO msg="source has another answer" source=x backends=3 added="10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80" removed="" changed=0`)
		w.said(x, Report{Found: found("1", "2", "3!")}, 1,
			`level=INFO msg="source has another answer" source=x backends=3 added="" removed="" changed=1`)
		s := w.Status()[0]
		if s.Backends != 3 || s.Generation != 4 || s.Answers != 5 || s.Failures != 2 || s.Problem != "" || time.Since(s.Answered) != 0 {
			t.Errorf("%+v", s)
		}
	})
}
