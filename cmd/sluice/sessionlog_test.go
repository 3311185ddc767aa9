package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/configs"
	"sluice/l4"
)

var someEnd = l4.End{
	ID: 7, Listener: "web", Pool: "shop", Backend: "b1", Client: netip.MustParseAddrPort("192.0.2.1:4711"),
	Reason: l4.ServerReset, Errno: syscall.ECONNRESET,
	Duration: 1500 * time.Millisecond, ConnectTime: 2 * time.Millisecond, Retries: 1, Received: 10, Sent: 20,
}

// logged returns what a session log writes for ends.
func logged(c configs.Log, ends ...l4.End) string {
	var out bytes.Buffer
	log, w := newLogger(&out, c)
	s := openSessionLog(log, c.Sessions, w.drop, "web")
	for _, e := range ends {
		s.ended(e)
	}
	s.close()
	w.close()
	return out.String()
}

func TestSessionLine(t *testing.T) {
	line := logged(configs.Log{Format: configs.FormatText, Sessions: configs.SessionsAll}, someEnd)
	_, fields, _ := strings.Cut(line, " ") // the time
	want := `level=WARN msg=session id=7 listener=web pool=shop backend=b1 client=192.0.2.1:4711 reason=server_reset ` +
		`duration=1.5s waited=0s connect=2ms received=10 sent=20 retries=1 error="connection reset by peer"` + "\n"
	if fields != want {
		t.Errorf("line\n%swant\n%s", fields, want)
	}
}

// TestSessionLineWithNames: what a session need not have comes after what all have.
func TestSessionLineWithNames(t *testing.T) {
	end := someEnd
	end.ServerName, end.UniqueID = "shop.example.com", "5f1e-7"
	line := logged(configs.Log{Format: configs.FormatText, Sessions: configs.SessionsAll}, end)
	want := ` retries=1 server_name=shop.example.com unique_id=5f1e-7 error="connection reset by peer"` + "\n"
	if !strings.HasSuffix(line, want) {
		t.Errorf("line\n%swant the end\n%s", line, want)
	}
	end.Errno = 0
	line = logged(configs.Log{Format: configs.FormatText, Sessions: configs.SessionsAll}, end)
	if !strings.HasSuffix(line, "unique_id=5f1e-7\n") {
		t.Errorf("line\n%swant unique_id at its end", line)
	}
}

// TestSessionLineOfTries: the servers that failed before, and where the client came to.
func TestSessionLineOfTries(t *testing.T) {
	end := someEnd
	end.Local = netip.MustParseAddrPort("[2001:db8::1]:443")
	end.Tried = []l4.Try{
		{Backend: "b2", Reason: l4.ConnectRefused, Errno: syscall.ECONNREFUSED, Took: 123456 * time.Nanosecond},
		{Backend: "b3", Reason: l4.BackendDown, Took: 2 * time.Second},
	}
	line := logged(configs.Log{Format: configs.FormatText, Sessions: configs.SessionsAll}, end)
	want := ` retries=1 local=[2001:db8::1]:443 ` +
		`tried="b2 connect_refused after 123µs (connection refused), b3 backend_down after 2s" error="connection reset by peer"`
	if !strings.HasSuffix(line, want+"\n") {
		t.Errorf("line\n%swant the end\n%s", line, want)
	}
}

// TestWantsLocal: the address is asked for only where there will be a line for it.
func TestWantsLocal(t *testing.T) {
	f := func(which configs.SessionLog, reason l4.Reason, want bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) { // no second passes
			s, _ := openFloodLog(which)
			defer s.close()
			if got := s.wants(reason); got != want {
				t.Errorf("%v, %v: %v, want %v", which, reason, got, want)
			}
			flood(s, "web", reason, 2*failureLines)
			if got := s.wants(reason); got && (reason.Refused() || which == configs.SessionsFailed) {
				t.Errorf("%v, %v: wanted in a flood", which, reason)
			}
		})
	}
	f(configs.SessionsOff, l4.ServerReset, false)
	f(configs.SessionsOff, l4.Denied, false)
	f(configs.SessionsFailed, l4.ClientClosed, false)
	f(configs.SessionsFailed, l4.ServerReset, true)
	f(configs.SessionsFailed, l4.Denied, true)
	f(configs.SessionsAll, l4.ClientClosed, true)
	f(configs.SessionsAll, l4.Denied, true)
	f(configs.SessionsAll, l4.ServerReset, true)
}

func TestSessionLineJSON(t *testing.T) {
	line := logged(configs.Log{Format: configs.FormatJSON, Sessions: configs.SessionsAll}, someEnd)
	var got struct {
		Msg, Client, Reason, Error string
		Duration, Connect          float64
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if got.Duration != 1.5 || got.Connect != .002 {
		t.Errorf("durations are not in seconds: %s", line)
	}
	if got.Msg != "session" || got.Reason != "server_reset" || got.Client != "192.0.2.1:4711" {
		t.Errorf("unexpected line %s", line)
	}
}

func TestSessionLogChooses(t *testing.T) {
	clean, gaveUp, cut := someEnd, someEnd, someEnd
	clean.Reason, gaveUp.Reason, cut.Reason = l4.ClientClosed, l4.ClientClosed, l4.Shutdown
	gaveUp.Backend, gaveUp.Waited = "", time.Second // nobody has served it
	f := func(c configs.Log, want ...string) {
		t.Helper()
		c.Format = configs.FormatText
		var got []string
		for line := range strings.Lines(logged(c, clean, gaveUp, cut)) {
			_, reason, _ := strings.Cut(line, "reason=")
			reason, _, _ = strings.Cut(reason, " ")
			_, level, _ := strings.Cut(line, "level=")
			level, _, _ = strings.Cut(level, " ")
			got = append(got, reason+" "+level)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: logged %v, want %v", c, got, want)
		}
	}
	f(configs.Log{Sessions: configs.SessionsOff})
	f(configs.Log{Sessions: configs.SessionsFailed}, "client_closed WARN", "shutdown WARN")
	f(configs.Log{Sessions: configs.SessionsAll, Level: slog.LevelInfo}, "client_closed INFO", "client_closed WARN", "shutdown WARN")
	f(configs.Log{Sessions: configs.SessionsAll, Level: slog.LevelWarn}, "client_closed WARN", "shutdown WARN")
	f(configs.Log{Sessions: configs.SessionsFailed, Level: slog.LevelWarn}, "client_closed WARN", "shutdown WARN")
	f(configs.Log{Sessions: configs.SessionsAll, Level: slog.LevelError})
}

// stuckWriter is a log that nobody reads until it is opened.
type stuckWriter struct {
	open chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.open
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

// TestSessionLogNeverBlocks ends many more sessions than a log that is stuck can take. The test would hang if ended
// waited for it.
func TestSessionLogNeverBlocks(t *testing.T) {
	const ends = 3 * sessionQueue
	w := &stuckWriter{open: make(chan struct{})}
	var drops atomic.Int64
	s := openSessionLog(slog.New(slog.NewTextHandler(w, nil)), configs.SessionsAll, func() { drops.Add(1) })
	for range ends {
		s.ended(someEnd)
	}
	// One line is being logged, and the queue is full, or was when that one was taken from it.
	if n := drops.Load(); n < ends-sessionQueue-1 || n > ends-sessionQueue {
		t.Errorf("%d lines dropped of %d with a queue of %d", n, ends, sessionQueue)
	}
	close(w.open)
	s.close()
	if n := strings.Count(w.out.String(), "msg=session "); int64(n)+drops.Load() != ends {
		t.Errorf("%d lines written and %d dropped, of %d", n, drops.Load(), ends)
	}
}
