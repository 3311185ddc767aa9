package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/configs"
	"sluice/l4"
)

func refusedEnd(listener string, reason l4.Reason) l4.End {
	return l4.End{Listener: listener, Client: someEnd.Client, Reason: reason}
}

// flood refuses clients of a listener while nobody looks.
func flood(s *sessionLog, listener string, reason l4.Reason, n int) {
	for range n {
		s.ended(refusedEnd(listener, reason))
	}
}

// openFloodLog returns a session log for two listeners, and what it writes.
func openFloodLog(which configs.SessionLog) (*sessionLog, *takenLog) {
	out := new(takenLog)
	return openSessionLog(slog.New(slog.NewTextHandler(out, nil)), which, func() {}, "web", "mail"), out
}

// takenLog is a log that is read while it is written.
type takenLog struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *takenLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// take returns what was written since the last call.
func (l *takenLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.out.Reset()
	return l.out.String()
}

// TestRefusalsInAFlood: a few lines each second, and all the others in one line every ten seconds.
func TestRefusalsInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := openFloodLog(configs.SessionsFailed)
		expect := func(when string, want int, notices ...string) {
			t.Helper()
			synctest.Wait()
			text := out.take()
			if n := strings.Count(text, "msg=session "); n != want {
				t.Errorf("%s: %d lines, want %d", when, n, want)
			}
			var got []string
			for line := range strings.Lines(text) {
				if _, notice, ok := strings.Cut(line, `msg="sessions `); ok {
					got = append(got, strings.TrimSpace(notice))
				}
			}
			if strings.Join(got, "|") != strings.Join(notices, "|") {
				t.Errorf("%s: notices %q, want %q", when, got, notices)
			}
		}
		flood(s, "web", l4.Denied, 1000)
		flood(s, "mail", l4.RateLimited, 5)
		flood(s, "mail", l4.ClientLimit, 7)
		s.ended(someEnd) // nothing to do with it
		expect("in the first second", refusalLines+1)
		time.Sleep(1500 * time.Millisecond) // from here on, never at the moment of a tick
		expect("after it", 0, "refused\" listener=web reason=denied count=990 client=192.0.2.1:4711", "refused\" listener=mail reason=rate_limited count=5 client=192.0.2.1:4711",
			"refused\" listener=mail reason=client_limit count=7 client=192.0.2.1:4711")
		for range 9 {
			flood(s, "web", l4.Denied, 100)
			time.Sleep(time.Second)
		}
		expect("in nine more seconds", 9*refusalLines)
		time.Sleep(time.Second)
		expect("ten seconds after the first notice", 0, "refused\" listener=web reason=denied count=810 client=192.0.2.1:4711")
		flood(s, "web", l4.Denied, refusalLines)
		time.Sleep(time.Hour)
		expect("when there are few", refusalLines)
		flood(s, "web", l4.Denied, 11)
		s.close()
		expect("at the end", 10, "refused\" listener=web reason=denied count=1 client=192.0.2.1:4711")
	})
}

func TestRefusalsAreNotLoggedWhenSessionsAreNot(t *testing.T) {
	s, out := openFloodLog(configs.SessionsOff)
	flood(s, "web", l4.Denied, 100)
	s.close()
	if text := out.take(); text != "" {
		t.Errorf("logged %q", text)
	}
}

// TestRefusalsAreCheap: what is not logged costs no memory, on any number of loops at a time, and none is lost.
func TestRefusalsAreCheap(t *testing.T) {
	const loops, each = 4, 10_000
	r := newSurplus(configs.SessionsAll, []string{"web"})
	r.refusals.Store(0)
	end := refusedEnd("web", l4.ClientLimit)
	var all sync.WaitGroup
	for range loops {
		all.Go(func() {
			for range each {
				r.suppress(&end)
			}
		})
	}
	all.Wait()
	if n := r.counts.Load().of["web"][l4.ClientLimit].n.Load(); n != loops*each {
		t.Errorf("%d are counted, want %d", n, loops*each)
	}
	s := &sessionLog{surplus: r} // without a queue: it would block
	s.which.Store(configs.SessionsAll)
	if n := testing.AllocsPerRun(100, func() { s.ended(end) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFloodsOfEachReason: whatever a client can cause for nothing, the log stays short, and says how much there was and
// whose one of them was.
func TestFloodsOfEachReason(t *testing.T) {
	const flooded = 5000
	f := func(which configs.SessionLog, reason l4.Reason, most int, message string) {
		t.Helper()
		s, out := openFloodLog(which)
		flood(s, "web", reason, flooded)
		s.close()
		text := out.take()
		lines := strings.Count(text, "msg=session ")
		if message == "" {
			if most == 0 && lines > 0 || strings.Contains(text, "msg=\"sessions ") {
				t.Errorf("%v: %d lines, want no notice", reason, lines)
			}
			return
		}
		notice := fmt.Sprintf("msg=%q listener=web reason=%v count=%d client=192.0.2.1:4711\n", message, reason, flooded-lines)
		if lines > 2*most || lines == 0 || !strings.Contains(text, notice) { // a second may have passed
			t.Errorf("%v: %d lines, want at most %d and %q:\n%s", reason, lines, most, notice, tailOf(text))
		}
	}
	refused := map[l4.Reason]bool{
		l4.HeaderInvalid: true, l4.HeaderTimeout: true, l4.HeaderUntrusted: true, l4.HelloInvalid: true,
		l4.HelloTimeout: true, l4.NoRoute: true, l4.Denied: true, l4.RateLimited: true, l4.ClientLimit: true,
	}
	for _, reason := range l4.Reasons() {
		switch {
		case reason.Clean():
			f(configs.SessionsFailed, reason, 0, "")
		case refused[reason]:
			f(configs.SessionsFailed, reason, refusalLines, "sessions refused")
			f(configs.SessionsAll, reason, refusalLines, "sessions refused")
		default:
			f(configs.SessionsFailed, reason, failureLines, "sessions failed")
			f(configs.SessionsAll, reason, flooded, "") // each session, by choice
		}
	}
}

// tailOf returns the end of a long text.
func tailOf(text string) string { return text[max(0, len(text)-500):] }

// TestSurplusFollows: a listener that is gone is forgotten once what was counted of it is reported, and not before.
func TestSurplusFollows(t *testing.T) {
	var out bytes.Buffer
	s := newSurplus(configs.SessionsFailed, []string{"old"})
	s.failures.Store(0)
	end := l4.End{Listener: "old", Pool: "p", Reason: l4.ConnectRefused}
	if !s.suppress(&end) {
		t.Fatal("it may have a line")
	}
	f := func(want ...string) {
		t.Helper()
		s.follow(configs.SessionsFailed, []string{"new"})
		if got := s.counts.Load().listeners; !slices.Equal(got, want) {
			t.Errorf("listeners %v, want %v", got, want)
		}
	}
	f("old", "new")
	s.report(slog.New(slog.NewTextHandler(&out, nil)))
	if !strings.Contains(out.String(), "listener=old reason=connect_refused count=1") {
		t.Errorf("reported %q", out.String())
	}
	f("new")
	if s.suppress(&end) {
		t.Error("a session that nobody would report has no line")
	}
}
