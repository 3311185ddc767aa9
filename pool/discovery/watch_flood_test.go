package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// TestWatchManyWarnings: other warnings in every answer do not fill the log.
func TestWatchManyWarnings(t *testing.T) {
	watch(t, func(w *watching) {
		x := newScript("x")
		w.Follow([]Source{x})
		say := func(n int) {
			x.say <- Report{Found: found("1"), Warnings: []string{fmt.Sprintf("224.0.0.%d is not the address of a server", n)}}
			synctest.Wait()
		}
		for n := range 100 {
			say(n)
		}
		if lines := strings.Count(w.log.String(), "left out"); lines != maxWarnings+1 {
			t.Errorf("%d lines logged", lines)
		}
		if got := w.Status()[0].Warnings; len(got) != 1 || !strings.HasPrefix(got[0], "224.0.0.99 ") {
			t.Errorf("warnings %q", got)
		}
		time.Sleep(2 * warningsTime)
		if say(100); !strings.Contains(w.log.String(), "224.0.0.100 ") {
			t.Error("later ones are not logged either")
		}
	})
}

// TestWatchManyReasons: an error whose text is another one each time does not fill the log.
func TestWatchManyReasons(t *testing.T) {
	watch(t, func(w *watching) {
		x := newScript("x")
		w.Follow([]Source{x})
		for port := range 100 {
			x.say <- Report{Err: fmt.Errorf("read udp 127.0.0.1:%d: timeout", 30_000+port)}
		}
		synctest.Wait()
		if lines := strings.Count(w.log.String(), "\n"); lines != maxWarnings || w.changes.Load() != 100 || w.Status()[0].Failures != 100 {
			t.Errorf("%d lines logged, told %d times, %+v", lines, w.changes.Load(), w.Status())
		}
	})
}

// TestWatchLongReasons: what is wrong is cut where nobody reads on.
func TestWatchLongReasons(t *testing.T) {
	watch(t, func(w *watching) {
		x := newScript("x")
		w.Follow([]Source{x})
		long := "label" + strings.Repeat("\u00e4", 1<<20)
		x.say <- Report{Found: found("1"), Warnings: []string{long}}
		x.say <- Report{Err: errors.New(long)}
		synctest.Wait()
		s := w.Status()[0]
		for _, text := range append(s.Warnings, s.Problem) {
			if len(text) < maxText || len(text) > maxText+10 || !utf8.ValidString(text) {
				t.Errorf("%d bytes: %.20s", len(text), text)
			}
		}
		if n := w.log.Len(); n > 3*maxText {
			t.Errorf("%d bytes logged", n)
		}
	})
}

// deaf is a source that does not end when it is told to.
type deaf struct {
	*script
	released chan struct{}
}

func (d deaf) Run(context.Context, func(Report)) { <-d.released }

// TestWatchHungSource: the end does not wait for a source that hangs.
func TestWatchHungSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWatch(Options{Logger: slog.New(slog.DiscardHandler), Changed: func() {}})
		x := deaf{newScript("x"), make(chan struct{})}
		w.Follow([]Source{x})
		ctx, end := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { w.Run(ctx); close(over) }()
		synctest.Wait()
		end()
		<-over
		close(x.released)
	})
}
