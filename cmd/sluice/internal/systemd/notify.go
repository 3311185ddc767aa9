package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/sysutil"
)

// A Notifier tells the service manager how the process fares. The nil Notifier tells nobody. It is safe for concurrent
// use.
type Notifier struct {
	socket   string // a path, or "@" and a name of the abstract namespace
	watchdog time.Duration
	patience time.Duration // how long a service manager that takes nothing is waited for
}

// NewNotifier returns the Notifier that the environment asks for: nil when it asks for none.
func NewNotifier() (*Notifier, error) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil, nil
	}
	if len(socket) < 2 || socket[0] != '/' && socket[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET=%q: it must be an absolute path, or @ and a name", socket)
	}
	watchdog, err := watchdogTime()
	if err != nil {
		return nil, err
	}
	return &Notifier{socket: socket, watchdog: watchdog, patience: 5 * time.Second}, nil
}

// watchdogTime returns within what time a sign of life is wanted from this process; 0 = never. See
// sd_watchdog_enabled(3).
func watchdogTime() (time.Duration, error) {
	text, owner := os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	if text == "" {
		return 0, nil
	}
	if owner != "" {
		pid, err := strconv.Atoi(owner)
		if err != nil {
			return 0, fmt.Errorf("WATCHDOG_PID=%q: it must be a number", owner)
		}
		if pid != os.Getpid() { // it is meant for the process that has started this one
			return 0, nil
		}
	}
	const most = int64(1<<63-1) / int64(time.Microsecond)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > most {
		return 0, fmt.Errorf("WATCHDOG_USEC=%q: it must be a number of microseconds", text)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// WatchdogInterval is how often Alive is to be told: twice in the time that the service manager waits. 0 = never.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog / 2
}

// A Line is something that the service manager can be told.
type Line string

// What a process can be.
const (
	Ready    Line = "READY=1"    // it serves; also the end of Reloading
	Stopping Line = "STOPPING=1" // it is about to end
	Alive    Line = "WATCHDOG=1" // it does not hang
)

// Reloading is told when a reload begins; Ready must follow. The time tells the service manager which of the reloads it
// has asked for this is.
func Reloading() Line {
	return Line(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", sysutil.Monotonic().Microseconds()))
}

// Status says in one line how the process fares, for people.
func Status(text string) Line { return Line("STATUS=" + strings.Join(strings.Fields(text), " ")) }

// MainPID says that another process is the service from now on.
func MainPID(pid int) Line { return Line(fmt.Sprintf("MAINPID=%d", pid)) }

// Notify tells all lines at once. The socket is opened each time: the service manager may have been started again.
func (n *Notifier) Notify(lines ...Line) (err error) {
	if n == nil {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("notify the service manager: %w", err)
		}
	}()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.SetWriteDeadline(time.Now().Add(n.patience)); err != nil {
		return err
	}
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(string(line) + "\n")
	}
	_, err = c.Write([]byte(text.String()))
	return err
}

// Handed returns the environment for a process that is to take this one's place: what was meant for this process alone is
// meant for it then.
func Handed(env []string) []string {
	own := fmt.Sprintf("WATCHDOG_PID=%d", os.Getpid())
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return v == own || strings.HasPrefix(v, "LISTEN_") // sockets are handed over, not inherited
	})
}
