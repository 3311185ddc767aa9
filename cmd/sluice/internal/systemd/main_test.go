package systemd

import (
	"encoding/json"
	"os"
	"testing"
)

// TestMain lets the test binary be a process that a service manager has started: it prints what it was passed.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_IS_SERVICE") == "" {
		// A program built with the race detector would otherwise sleep for a second before it exits.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
		os.Exit(m.Run())
	}
	var r report
	var err error
	if r.Sockets, err = Sockets(); err != nil {
		r.Error = err.Error()
	}
	if again, err := Sockets(); len(again) > 0 || err != nil {
		r.Error += " and again"
	}
	for _, s := range r.Sockets {
		r.Addresses = append(r.Addresses, s.Address())
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if _, ok := os.LookupEnv(name); ok {
			r.Left = append(r.Left, name)
		}
	}
	if n, err := NewNotifier(); err != nil {
		r.Error += err.Error()
	} else {
		r.Watchdog = n.WatchdogInterval().String()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		panic(err)
	}
}

// A report is what a service says of its start.
type report struct {
	Sockets   []Socket
	Addresses []string
	Left      []string // variables that are still there
	Watchdog  string
	Error     string
}
