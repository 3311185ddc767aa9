package discovery

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
