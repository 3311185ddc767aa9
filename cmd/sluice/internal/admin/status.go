package admin

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/pool"
)

// Status is the answer of /api/v1/status. Times are RFC 3339, durations seconds, sizes bytes.
type Status struct {
	Build
	PID       int                `json:"pid"`
	Started   time.Time          `json:"started"`
	Uptime    float64            `json:"uptime_seconds"`
	Draining  bool               `json:"draining"`
	Admin     AdminStatus        `json:"admin"`
	Limits    Limits             `json:"limits"`
	Loops     []l4.LoopStats     `json:"loops"`
	Pipes     l4.PipeStats       `json:"pipes"`
	Listeners []l4.ListenerStats `json:"listeners"`
	Pools     []PoolStatus       `json:"pools"`
	Ended     []l4.EndedStats    `json:"ended"` // only what is not zero
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
	Listen string `json:"listen"`
	Socket string `json:"socket"`
}

// PoolStatus describes one pool.
type PoolStatus struct {
	Name     string          `json:"name"`
	Balance  pool.Policy     `json:"balance"`
	Usable   int             `json:"usable"`  // backends that could be given sessions
	Waiting  int             `json:"waiting"` // sessions in the queue
	QueueMax int             `json:"queue_max"`
	Split    bool            `json:"split_brain"` // two or more servers claim to be the primary
	AllLag   bool            `json:"all_lag"`     // replicas that lag more than max_lag serve, for want of others
	Backends []BackendStatus `json:"backends"`
}

// BackendStatus describes one backend.
type BackendStatus struct {
	Name            string            `json:"name"`
	Address         string            `json:"address"`
	State           pool.AdminState   `json:"state"` // what the operator wants
	Up              bool              `json:"up"`    // what active checks say
	Ejected         bool              `json:"ejected"`
	Usable          bool              `json:"usable"`
	Backup          bool              `json:"backup"`
	Weight          int               `json:"weight"`
	Share           int               `json:"share_percent"` // of the weight; less than 100 during a slow start
	MaxConns        int               `json:"max_conns"`     // 0 = no limit
	Active          int               `json:"active"`
	Connects        uint64            `json:"connects"`
	ConnectFailures map[string]uint64 `json:"connect_failures"`  // by reason
	Obstacles       map[string]uint64 `json:"connect_obstacles"` // connects that could not be made for a reason on this side, by reason
	Received        uint64            `json:"received_bytes"`
	Sent            uint64            `json:"sent_bytes"`
	Check           CheckStatus       `json:"check"`
}

// CheckStatus is what a backend's health checks found.
type CheckStatus struct {
	Since        time.Time `json:"since"`         // up or down since then
	Last         time.Time `json:"last,omitzero"` // start of the last one; absent: none yet
	Took         float64   `json:"took_seconds"`
	Error        string    `json:"error,omitempty"` // of the last check; absent: it succeeded
	Successes    int       `json:"successes"`       // in a row
	Failures     int       `json:"failures"`        // in a row
	EjectedUntil time.Time `json:"ejected_until,omitzero"`

	CertificateEnds time.Time `json:"certificate_ends,omitzero"` // of the server; absent: no check has seen one

	Reason   string   `json:"reason,omitempty"`      // why the backend is down; absent: it is up
	Role     string   `json:"role,omitempty"`        // primary or replica, of Postgres; absent: not known
	Timeline uint32   `json:"timeline,omitempty"`    // of a primary
	Lag      *float64 `json:"lag_seconds,omitempty"` // of a replica, see sluice_backend_replay_lag_seconds; absent: not known
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, s.Status()) }

func (s *Server) writeJSON(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
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
		Build:     s.options.Build,
		PID:       os.Getpid(),
		Started:   s.options.Started,
		Uptime:    time.Since(s.options.Started).Seconds(),
		Draining:  s.draining.Load(),
		Limits:    s.options.Limits,
		Pipes:     stats.Pipes,
		Loops:     stats.Loops,
		Listeners: stats.Listeners,
		Pools:     make([]PoolStatus, len(s.options.Pools)),
		Ended:     stats.Ended,
	}
	s.mu.Lock()
	status.Admin = AdminStatus{Listen: s.listen, Socket: s.socket}
	s.mu.Unlock()
	for i, p := range s.options.Pools {
		status.Pools[i] = s.poolStatus(p)
	}
	return status
}

func (s *Server) poolStatus(p *pool.Pool) PoolStatus {
	known := s.options.PoolHealth(p)
	status := PoolStatus{
		Name: p.Name(), Balance: p.Policy(), Usable: p.Usable(), Waiting: p.Waiting(), QueueMax: p.QueueMax(),
		Split: known.SplitBrain, AllLag: known.AllLag, Backends: []BackendStatus{},
	}
	for _, b := range p.Backends() {
		status.Backends = append(status.Backends, backendStatus(b.Stats(), s.options.Health(b)))
	}
	return status
}

// addressText returns a backend's address, with its name where that has not been resolved.
func addressText(b pool.BackendStats) string {
	if b.Address.TCP.Addr().IsValid() || b.Host == "" {
		return b.Address.String()
	}
	return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Address.TCP.Port())))
}

func backendStatus(b pool.BackendStats, h health.Status) BackendStatus {
	status := BackendStatus{
		Name: b.Name, Address: addressText(b), State: b.State, Up: b.Up, Ejected: b.Ejected, Usable: b.Usable,
		Backup: b.Backup, Weight: b.Weight, Share: b.Share, MaxConns: b.MaxConns, Active: b.Active,
		Connects: b.Connects, ConnectFailures: map[string]uint64{}, Obstacles: map[string]uint64{}, Received: b.Received, Sent: b.Sent,
		Check: CheckStatus{
			Since: h.Since, Last: h.LastProbe, Took: h.Took.Seconds(), Error: h.Error,
			Successes: h.Successes, Failures: h.Failures, EjectedUntil: h.EjectedUntil, CertificateEnds: h.CertificateEnds,
			Reason: h.Reason, Role: h.Role, Timeline: h.Timeline,
		},
	}
	if h.LagKnown {
		lag := h.Lag.Seconds()
		status.Check.Lag = &lag
	}
	for _, r := range pool.DialFailures() {
		status.ConnectFailures[r.String()] = b.ConnectFailures[r]
	}
	for _, o := range pool.Obstacles() {
		status.Obstacles[o.String()] = b.Obstacles[o]
	}
	return status
}
