package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil"
)

// patient is how long a test waits for what must happen.
const patient = time.Minute

// manager is the other end of NOTIFY_SOCKET.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return c
}

// told returns the next datagram.
func told(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 4096)
	n, err := c.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[:n])
}

func notifier(t *testing.T) *Notifier {
	t.Helper()
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@sluice-test-%d", os.Getpid())} {
		c := manager(t, name)
		n := notifier(t)
		for _, step := range []struct {
			lines []Line
			want  string
		}{
			{[]Line{Ready, Status("serves\n 3  listeners")}, "READY=1\nSTATUS=serves 3 listeners\n"},
			{[]Line{Alive}, "WATCHDOG=1\n"},
			{[]Line{MainPID(17), Status("")}, "MAINPID=17\nSTATUS=\n"},
			{[]Line{Stopping}, "STOPPING=1\n"},
		} {
			if err := n.Notify(step.lines...); err != nil {
				t.Fatal(err)
			}
			if got := told(t, c); got != step.want {
				t.Errorf("got %q, want %q", got, step.want)
			}
		}
	}
}

// systemd holds the time against when it has asked for the reload, on the same clock.
func TestReloadingHasTheTime(t *testing.T) {
	c := manager(t, filepath.Join(t.TempDir(), "notify"))
	before := sysutil.Monotonic()
	if err := notifier(t).Notify(Reloading()); err != nil {
		t.Fatal(err)
	}
	after := sysutil.Monotonic()
	match := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=(\d+)\n$`).FindStringSubmatch(told(t, c))
	if match == nil {
		t.Fatal("there is no time")
	}
	at, err := time.ParseDuration(match[1] + "us")
	if err != nil || at < before.Truncate(time.Microsecond) || at > after {
		t.Errorf("got %v %v, want between %v and %v", at, err, before, after)
	}
}

// A service manager that starts again opens its socket anew.
func TestNotifyAfterARestart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c := manager(t, name)
	n := notifier(t)
	c.Close()
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := n.Notify(Ready); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "notify the service manager: ") {
		t.Errorf("without a service manager: %v", err)
	}
	c = manager(t, name)
	if err := n.Notify(Ready); err != nil {
		t.Fatal(err)
	}
	if got := told(t, c); got != "READY=1\n" {
		t.Errorf("got %q", got)
	}
}

// A service manager that takes nothing holds nobody up for ever.
func TestNotifyIsBounded(t *testing.T) {
	manager(t, filepath.Join(t.TempDir(), "notify"))
	n := notifier(t)
	n.patience = 50 * time.Millisecond
	for range 1 << 20 {
		if err := n.Notify(Alive); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.EAGAIN) {
				t.Errorf("got %v", err)
			}
			return
		}
	}
	t.Error("a socket that nobody reads took a million messages")
}

func TestNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := notifier(t)
	if err := n.Notify(Ready); err != nil || n != nil || n.WatchdogInterval() != 0 {
		t.Errorf("got %v %v", n, err)
	}
}

func TestWrongNotifySocket(t *testing.T) {
	for _, name := range []string{"run/notify", "vsock:2:1234", "/", "@"} {
		t.Setenv("NOTIFY_SOCKET", name)
		if n, err := NewNotifier(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("NOTIFY_SOCKET=%q", name)) {
			t.Errorf("%q: got %v %v", name, n, err)
		}
	}
}

// A process that takes this one's place has its watchdog, and not its sockets; what is another process's stays so.
func TestHanded(t *testing.T) {
	own := fmt.Sprintf("WATCHDOG_PID=%d", os.Getpid())
	for _, f := range []struct{ env, want string }{
		{"A=1 WATCHDOG_USEC=5 " + own + " LISTEN_FDS=1 LISTEN_PID=7 LISTEN_FDNAMES=x NOTIFY_SOCKET=@x", "A=1 WATCHDOG_USEC=5 NOTIFY_SOCKET=@x"},
		{"WATCHDOG_USEC=5 " + own + "0", "WATCHDOG_USEC=5 " + own + "0"},
	} {
		if got := strings.Join(Handed(strings.Fields(f.env)), " "); got != f.want {
			t.Errorf("%s: %s", f.env, got)
		}
	}
}
