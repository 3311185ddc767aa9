package admin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/pool"
	"sluice/pool/discovery"
)

// Status is the answer of /api/v1/status. Times are RFC 3339, durations seconds, sizes bytes. What has a word is a
// string: who asks may be older than who answers, and shows words as they come.
type Status struct {
	Build
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Uptime   float64   `json:"uptime_seconds"`
	Draining bool      `json:"draining"`

	Generation Generation       `json:"generation"`
	Overrides  []OverrideStatus `json:"overrides"`         // what an operator has set
	Upgrade    *UpgradeStatus   `json:"upgrade,omitempty"` // the last one; absent: there was none

	Admin     AdminStatus        `json:"admin"`
	Limits    Limits             `json:"limits"`
	Loops     []l4.LoopStats     `json:"loops"`
	Pipes     l4.PipeStats       `json:"pipes"`
	Listeners []l4.ListenerStats `json:"listeners"`
	Pools     []PoolStatus       `json:"pools"`
	Sources   []SourceStatus     `json:"sources"` // where backends come from that the configuration does not have
	Ended     []EndedStatus      `json:"ended"`   // only what is not zero
}

// Build says which sluice this is.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"` // empty when the build does not know it
	Go      string `json:"go"`
}

// Limits is what this process may use.
type Limits struct {
	Descriptors uint64 `json:"descriptors"`
	Reserved    uint64 `json:"reserved"` // descriptors for what is neither a session nor a pipe
	Sessions    int    `json:"sessions"` // of all listeners together; 0 = no limit
}

// AdminStatus says where the API answers; empty means nowhere.
type AdminStatus struct {
	Listen  string `json:"listen"`
	Metrics string `json:"metrics"`
	Socket  string `json:"socket"`
}

// PoolStatus describes one pool.
type PoolStatus struct {
	pool.Stats
	health.PoolStatus
	Backends []BackendStatus `json:"backends"`
	Leaving  []BackendStatus `json:"leaving,omitempty"` // backends that were removed, and have sessions left

	LeftOut      []discovery.Problem `json:"left_out,omitempty"`      // what sources have found and cannot be a backend
	FoundProblem string              `json:"found_problem,omitempty"` // why what sources have found is not in force
}

// BackendStatus describes one backend. Its own fields stand for those of the same names, in the form of the API.
type BackendStatus struct {
	pool.BackendStats
	Address         string            `json:"address"`           // with the name where that has not been resolved
	State           string            `json:"state"`             // what the operator wants
	ConnectFailures map[string]uint64 `json:"connect_failures"`  // by reason
	Obstacles       map[string]uint64 `json:"connect_obstacles"` // by reason
	Check           CheckStatus       `json:"check"`

	Source    string    `json:"source,omitempty"`    // where it was found; absent: it is in the configuration
	Entry     string    `json:"entry,omitempty"`     // what it stands for there: a backend with a host name
	RemovedAt time.Time `json:"removed_at,omitzero"` // when it is removed, if no source has it again
}

// CheckStatus is what a backend's health checks found.
type CheckStatus struct {
	health.Status
	Took float64  `json:"took_seconds"`
	Lag  *float64 `json:"lag_seconds,omitempty"` // see sluice_backend_replay_lag_seconds; absent: not known
}

// EndedStatus counts sessions that ended with one reason.
type EndedStatus struct {
	l4.EndedStats
	Reason string `json:"reason"`
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request, _ url.Values) {
	s.writeJSON(w, http.StatusOK, s.Status())
}

// backend answers for one of a pool, also for one that was removed until its last session has ended.
func (s *Server) backend(w http.ResponseWriter, r *http.Request, _ url.Values) {
	p := s.pool(r.PathValue("pool"))
	if p == nil {
		s.writeError(w, NotFound{unknownName("pool", r.PathValue("pool"), s.options.Pools(), (*pool.Pool).Name)})
		return
	}
	all := p.All()
	i := slices.IndexFunc(all, func(b *pool.Backend) bool { return b.Name() == r.PathValue("backend") })
	if i < 0 {
		s.writeError(w, NotFound{unknownName("backend", r.PathValue("backend"), p.Backends(), (*pool.Backend).Name)})
		return
	}
	status := backendStatus(all[i].Stats(), s.options.Health(all[i]))
	status.origin(s.options.found(p).Members)
	s.writeJSON(w, http.StatusOK, status)
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(answer); err != nil {
		s.options.Logger.Debug("an answer was not delivered", "error", err)
	}
}

// Status returns what the API answers now.
func (s *Server) Status() Status {
	stats := s.options.Stats()
	status := Status{
		Build:    s.options.Build,
		PID:      os.Getpid(),
		Started:  s.options.Started,
		Uptime:   time.Since(s.options.Started).Seconds(),
		Draining: s.draining.Load(),
		Admin:    s.addresses(),

		Generation: s.options.generation(),
		Overrides:  []OverrideStatus{},

		Limits:    s.options.Limits(),
		Pipes:     stats.Pipes,
		Loops:     stats.Loops,
		Listeners: slices.Clone(stats.Listeners),
		Pools:     []PoolStatus{}, // none is not null
		Sources:   s.options.sources(),
		Ended:     make([]EndedStatus, len(stats.Ended)),
	}
	if s.options.Control != nil {
		status.Overrides = append(status.Overrides, s.options.Control.Overrides()...)
	}
	if to, ok := s.options.Control.(Successor); ok {
		status.Upgrade = to.LastUpgrade()
	}
	for i := range status.Listeners {
		if l := &status.Listeners[i]; l.Addresses == nil { // one that leaves has none, which is not null
			l.Addresses = []pool.Address{}
		}
	}
	for i, e := range stats.Ended {
		status.Ended[i] = EndedStatus{e, e.Reason.String()}
	}
	for _, p := range s.options.Pools() {
		status.Pools = append(status.Pools, s.poolStatus(p))
	}
	return status
}

func (s *Server) poolStatus(p *pool.Pool) PoolStatus {
	status := PoolStatus{Stats: p.Stats(), PoolStatus: s.options.PoolHealth(p), Backends: []BackendStatus{}}
	found := s.options.found(p)
	status.LeftOut, status.FoundProblem = found.Members.Problems(), found.Refused
	now := p.Backends()
	for i, b := range p.All() { // those that are used come first, in the same order if no change comes in between
		of := backendStatus(b.Stats(), s.options.Health(b))
		of.origin(found.Members)
		if i < len(now) && now[i] == b || slices.Contains(now, b) {
			status.Backends = append(status.Backends, of)
		} else {
			status.Leaving = append(status.Leaving, of)
		}
	}
	return status
}

func backendStatus(b pool.BackendStats, h health.Status) BackendStatus {
	status := BackendStatus{
		BackendStats: b, Address: b.Address.String(), State: b.State.String(),
		ConnectFailures: map[string]uint64{}, Obstacles: map[string]uint64{},
		Check: CheckStatus{Status: h, Took: h.Took.Seconds()},
	}
	if h.LagKnown {
		status.Check.Lag = new(h.Lag.Seconds())
	}
	for _, r := range pool.DialFailures() {
		status.ConnectFailures[r.String()] = b.ConnectFailures[r]
	}
	for _, o := range pool.Obstacles() {
		status.Obstacles[o.String()] = b.Obstacles[o]
	}
	return status
}
