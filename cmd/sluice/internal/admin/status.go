package admin

import (
	"encoding/json"
	"fmt"
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
	PID       int              `json:"pid"`
	Started   time.Time        `json:"started"`
	Uptime    float64          `json:"uptime_seconds"`
	Draining  bool             `json:"draining"`
	Admin     AdminStatus      `json:"admin"`
	Limits    Limits           `json:"limits"`
	Loops     []LoopStatus     `json:"loops"`
	Pipes     PipeStatus       `json:"pipes"`
	Listeners []ListenerStatus `json:"listeners"`
	Pools     []PoolStatus     `json:"pools"`
	Ended     []EndedStatus    `json:"ended"` // only what is not zero
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

// LoopStatus describes one event loop.
type LoopStatus struct {
	Sessions int `json:"sessions"`
}

// PipeStatus describes the pipes of the splice path.
type PipeStatus struct {
	Limit int `json:"limit"`
	Open  int `json:"open"`
	Lent  int `json:"lent"` // hold bytes of a session now
}

// ListenerStatus describes one listener.
type ListenerStatus struct {
	Name         string   `json:"name"`
	Addresses    []string `json:"addresses"` // as bound: port 0 is resolved
	Protocol     string   `json:"protocol"`
	Pools        []string `json:"pools"` // where its sessions go, in configured order
	Sessions     int      `json:"sessions"`
	MaxSessions  int      `json:"max_sessions"` // 0 = no limit of its own
	AtLimit      bool     `json:"at_limit"`     // of its sessions, or of those of the process
	Accepts      uint64   `json:"accepts"`
	AcceptErrors uint64   `json:"accept_errors"`
	Resting      bool     `json:"resting"` // new connections wait: at a limit, or out of descriptors or memory

	Clients *ClientTable `json:"clients,omitempty"` // absent: no limits per client
}

// ClientTable describes what a listener with limits per client knows of its clients.
type ClientTable struct {
	Table     int    `json:"table"`     // clients that can be known at a time
	Busy      int    `json:"busy"`      // those with open sessions
	Sessions  int    `json:"sessions"`  // that are counted now
	Forgotten uint64 `json:"forgotten"` // clients that made room for others before they had their whole burst again
	Untracked uint64 `json:"untracked"` // sessions let in without limits: the table was full of busy clients
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

// EndedStatus counts sessions that ended for one reason.
type EndedStatus struct {
	Listener string `json:"listener"`
	Pool     string `json:"pool"` // empty when none was chosen
	Reason   string `json:"reason"`
	Count    uint64 `json:"count"`
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
		Pipes:     PipeStatus(stats.Pipes),
		Loops:     make([]LoopStatus, len(stats.Loops)),
		Listeners: make([]ListenerStatus, len(stats.Listeners)),
		Pools:     make([]PoolStatus, len(s.options.Pools)),
		Ended:     make([]EndedStatus, len(stats.Ended)),
	}
	s.mu.Lock()
	status.Admin = AdminStatus{Listen: s.listen, Socket: s.socket}
	s.mu.Unlock()
	for i, l := range stats.Loops {
		status.Loops[i] = LoopStatus{Sessions: l.Sessions}
	}
	for i, l := range stats.Listeners {
		status.Listeners[i] = listenerStatus(l)
	}
	for i, p := range s.options.Pools {
		status.Pools[i] = s.poolStatus(p)
	}
	for i, e := range stats.Ended {
		status.Ended[i] = EndedStatus{Listener: e.Listener, Pool: e.Pool, Reason: e.Reason.String(), Count: e.Count}
	}
	return status
}

func listenerStatus(l l4.ListenerStats) ListenerStatus {
	status := ListenerStatus{
		Name: l.Name, Protocol: l.Protocol.String(), Pools: l.Pools, Sessions: l.Sessions,
		MaxSessions: l.MaxSessions, AtLimit: l.AtLimit,
		Accepts: l.Accepts, AcceptErrors: l.AcceptErrors, Resting: l.Resting,
	}
	if l.Clients.Table > 0 {
		table := ClientTable(l.Clients)
		status.Clients = &table
	}
	for _, a := range l.Addresses {
		text := a.String()
		if !a.IsUnix() && !a.TCP.Addr().IsValid() { // every address of both families
			text = fmt.Sprintf("*:%d", a.TCP.Port())
		}
		status.Addresses = append(status.Addresses, text)
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
