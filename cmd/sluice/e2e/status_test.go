package e2e

import (
	"encoding/json"
	"testing"
	"time"
)

// status is what the tests read of sluice status --json.
type status struct {
	PID       int
	Draining  bool
	Loops     []struct{ Sessions int }
	Pipes     struct{ Open, Lent int }
	Listeners []listenerStatus
	Pools     []poolStatus
	Sources   []sourceStatus
	Ended     []endedStatus
	Upgrade   *struct {
		OK             bool
		Error          string
		Sessions, Left int
		Ended          int
		AcceptPause    float64 `json:"accept_pause_seconds"`
		LongestPause   float64 `json:"longest_pause_seconds"`
		Total          float64 `json:"total_seconds"`
	}

	Generation struct {
		Number     uint64
		LastReload struct {
			At    time.Time
			OK    bool
			Error string
		} `json:"last_reload"`
	}
}

type listenerStatus struct {
	Name      string
	Addresses []string
	Sessions  int
	Accepts   uint64
	Leaving   bool
}

type poolStatus struct {
	Name     string
	Waiting  int
	Split    bool `json:"split_brain"`
	AllLag   bool `json:"all_lag"`
	Backends []backendStatus
}

type backendStatus struct {
	Name            string
	Address         string
	State           string
	Vanished        bool
	Weight          int
	Backup          bool
	Source, Entry   string
	RemovedAt       time.Time `json:"removed_at"`
	Up              bool
	Usable          bool
	Active          int
	Connects        uint64
	ConnectFailures map[string]uint64 `json:"connect_failures"`
	Received        uint64            `json:"received_bytes"`
	Sent            uint64            `json:"sent_bytes"`
	Check           struct {
		Role      string
		Successes int
		Lag       *float64 `json:"lag_seconds"`
	}
}

type sourceStatus struct {
	Source, Problem     string
	Generation, Answers uint64
}

type endedStatus struct {
	Listener, Pool, Reason string
	Count                  uint64
}

// answer asks the TCP admin address for the status, which is quicker than a command.
func (r *rig) answer() (s status) {
	r.t.Helper()
	_, text := r.get("/api/v1/status")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		r.t.Fatalf("/api/v1/status: %v\n%s", err, text)
	}
	return s
}

// An openSession is what the tests read of /api/v1/sessions.
type openSession struct {
	Received uint64 `json:"received_bytes"`
}

// openSessions are the sessions that there are.
func (r *rig) openSessions() []openSession {
	r.t.Helper()
	_, text := r.get("/api/v1/sessions")
	var answer struct{ Sessions []openSession }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		r.t.Fatalf("/api/v1/sessions: %v\n%s", err, text)
	}
	return answer.Sessions
}

// backend returns what is known of a backend; its name is unique in all tests.
func (s status) backend(t *testing.T, name string) backendStatus {
	t.Helper()
	for _, p := range s.Pools {
		for _, b := range p.Backends {
			if b.Name == name {
				return b
			}
		}
	}
	t.Fatalf("sluice has no backend %q", name)
	return backendStatus{}
}

// active is the number of connections to all backends.
func (s status) active() (n int) {
	for _, p := range s.Pools {
		for _, b := range p.Backends {
			n += b.Active
		}
	}
	return n
}

// accepts is the number of connections that all listeners have accepted.
func (s status) accepts() (n uint64) {
	for _, l := range s.Listeners {
		n += l.Accepts
	}
	return n
}

// ended is the number of sessions that ended for a reason, at every listener.
func (s status) ended(reason string) (n uint64) {
	for _, e := range s.Ended {
		if e.Reason == reason {
			n += e.Count
		}
	}
	return n
}
