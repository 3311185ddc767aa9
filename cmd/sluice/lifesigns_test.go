package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/systemd"
)

// aManager is a service manager that wants a sign of life every 10 ms, and its Notifier.
func aManager(t *testing.T) (*net.UnixConn, *systemd.Notifier) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "20000")
	n, err := systemd.NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	return c, n
}

func told(t *testing.T, c *net.UnixConn, within time.Duration) (string, error) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 4096)
	n, err := c.Read(text)
	return string(text[:n]), err
}

func expectTold(t *testing.T, c *net.UnixConn, want string) {
	t.Helper()
	for {
		got, err := told(t, c, patience)
		if err != nil {
			t.Fatalf("%q was never told: %v", want, err)
		}
		if got == want {
			return
		}
		if got != "WATCHDOG=1\n" {
			t.Fatalf("told %q, want %q", got, want)
		}
	}
}

// A loop that hangs is not reported alive, and the log says why; when it goes on it is.
func TestLifeSigns(t *testing.T) {
	c, n := aManager(t)
	var hangs atomic.Bool
	asked := make(chan bool, 1)
	alive := func(ctx context.Context) error {
		if !hangs.Load() {
			return nil
		}
		<-ctx.Done()
		select {
		case asked <- true:
		default:
		}
		return errors.New("loops [1] do not answer")
	}
	logs := new(bytes.Buffer)
	l := newLifeSigns(n, alive, func() int { return 1 }, slog.New(slog.NewTextHandler(logs, nil)))
	stop := l.start()
	expectTold(t, c, "READY=1\nSTATUS=serving, 1 session open\n")
	expectTold(t, c, "WATCHDOG=1\n")
	hangs.Store(true)
	<-asked // from here on no answer is under way that was good
	for {
		if _, err := told(t, c, time.Nanosecond); err != nil {
			break
		}
	}
	<-asked
	<-asked
	if got, err := told(t, c, 50*time.Millisecond); err == nil {
		t.Errorf("told %q while a loop hangs", got)
	}
	hangs.Store(false)
	expectTold(t, c, "WATCHDOG=1\n")
	l.leave("draining")
	expectTold(t, c, "STOPPING=1\nSTATUS=draining, 1 session open\n")
	stop()
	if !strings.Contains(logs.String(), `msg="no sign of life for the service manager's watchdog" error="loops [1] do not answer" after=10ms`) {
		t.Errorf("the log has %s", logs)
	}
}

// The status is told when it has changed, and a service manager that is gone is a warning once.
func TestLifeSignsReport(t *testing.T) {
	c, n := aManager(t)
	sessions := 0
	logs := new(bytes.Buffer)
	l := newLifeSigns(n, nil, func() int { return sessions }, slog.New(slog.NewTextHandler(logs, nil)))
	l.do("serving")
	l.report()
	l.report()
	sessions = 2
	l.report()
	expectTold(t, c, "STATUS=serving, 0 sessions open\n")
	expectTold(t, c, "STATUS=serving, 2 sessions open\n")
	c.Close()
	for range 3 {
		sessions++
		l.report()
	}
	if n := strings.Count(logs.String(), "the service manager is not told"); n != 1 {
		t.Errorf("%d warnings: %s", n, logs)
	}
}

func TestNobodyWantsLifeSigns(t *testing.T) {
	stop := newLifeSigns(nil, nil, nil, nil).start()
	stop()
	newLifeSigns(nil, nil, nil, nil).leave("draining")
}
