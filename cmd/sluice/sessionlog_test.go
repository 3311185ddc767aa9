package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
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
	s := openSessionLog(newLogger(&out, c), c.Sessions, admin.NewMetrics(nil))
	for _, e := range ends {
		s.ended(e)
	}
	s.close()
	return out.String()
}

func TestSessionLine(t *testing.T) {
	line := logged(configs.Log{Format: configs.FormatText, Sessions: configs.SessionsAll}, someEnd)
	_, fields, _ := strings.Cut(line, " ") // the time
	want := `level=INFO msg=session id=7 listener=web pool=shop backend=b1 client=192.0.2.1:4711 reason=server_reset ` +
		`duration=1.5s connect=2ms received=10 sent=20 retries=1 error="connection reset by peer"` + "\n"
	if fields != want {
		t.Errorf("line\n%swant\n%s", fields, want)
	}
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
	clean, cut := someEnd, someEnd
	clean.Reason, cut.Reason = l4.ClientClosed, l4.Shutdown
	f := func(c configs.Log, want ...string) {
		t.Helper()
		c.Format = configs.FormatText
		var got []string
		for line := range strings.Lines(logged(c, clean, cut)) {
			_, reason, _ := strings.Cut(line, "reason=")
			reason, _, _ = strings.Cut(reason, " ")
			got = append(got, reason)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%+v: logged %v, want %v", c, got, want)
		}
	}
	f(configs.Log{Sessions: configs.SessionsOff})
	f(configs.Log{Sessions: configs.SessionsFailed}, "shutdown")
	f(configs.Log{Sessions: configs.SessionsAll}, "client_closed", "shutdown")
	f(configs.Log{Sessions: configs.SessionsAll, Level: slog.LevelWarn})
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
	m := admin.NewMetrics(nil)
	s := openSessionLog(newLogger(w, configs.Log{Format: configs.FormatText}), configs.SessionsAll, m)
	for range ends {
		s.ended(someEnd)
	}
	// The writer holds one line, and the queue is full, or was when it took that line.
	if n := m.LinesDropped(); n < ends-sessionQueue-1 || n > ends-sessionQueue {
		t.Errorf("%d lines dropped of %d with a queue of %d", n, ends, sessionQueue)
	}
	close(w.open)
	s.close()
	out := w.out.String()
	if n := strings.Count(out, "msg=session "); uint64(n)+m.LinesDropped() != ends {
		t.Errorf("%d lines written and %d dropped, of %d", n, m.LinesDropped(), ends)
	}
	if n := strings.Count(out, "lines dropped"); n != 1 {
		t.Errorf("%d warnings about dropped lines, want 1", n)
	}
}

// TestSessionLogGivesUp closes a log that nobody will ever read.
func TestSessionLogGivesUp(t *testing.T) {
	w := &stuckWriter{open: make(chan struct{})}
	s := openSessionLog(newLogger(io.MultiWriter(w), configs.Log{Format: configs.FormatText}), configs.SessionsAll,
		admin.NewMetrics(nil))
	s.ended(someEnd)
	s.close()
	select {
	case <-s.done:
		t.Error("the writer returned, so this test proves nothing")
	default:
	}
	close(w.open)
	<-s.done
}
