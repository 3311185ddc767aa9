package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// limitsStatus is what the status says of limits.
type limitsStatus struct {
	Limits    struct{ Descriptors, Sessions int }
	Listeners []limitedListener
	Pools     []struct {
		Backends []struct {
			Name  string
			Check struct {
				Last  time.Time
				Error string
			}
		}
	}
}

type limitedListener struct {
	Name         string
	Sessions     int
	MaxSessions  int    `json:"max_sessions"`
	AtLimit      bool   `json:"at_limit"`
	AcceptErrors uint64 `json:"accept_errors"`
}

// limits asks the TCP admin address.
func (r *rig) limits() (s limitsStatus) {
	r.t.Helper()
	code, text := r.get("/api/v1/status")
	if err := json.Unmarshal([]byte(text), &s); err != nil || code != http.StatusOK {
		r.t.Fatalf("/api/v1/status answers %d: %v\n%s", code, err, text)
	}
	return s
}

func (s limitsStatus) listener(t *testing.T, name string) limitedListener {
	t.Helper()
	for _, l := range s.Listeners {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("sluice has no listener %q", name)
	return limitedListener{}
}
