package l4

import (
	"net/netip"
	"syscall"
	"time"

	"sluice/l4/clients"
	"sluice/pool"
)

// Stats is a copy of a server's counters. Each is exact; together they are
// read one after the other while the loops go on.
type Stats struct {
	Loops     []LoopStats
	Listeners []ListenerStats
	Ended     []EndedStats // only those that are not zero
	Retries   []RetryStats // for each pool of each listener
	Pipes     PipeStats

	MaxSessions int // of all listeners together; 0 = no limit
	Elsewhere   int // sessions that another server hands over and that have not come, those of its listeners that this one has not included
}

// LoopStats describes one event loop.
type LoopStats struct {
	Sessions    int    `json:"sessions"`
	StaleEvents uint64 `json:"-"` // events for sessions closed earlier in the same batch
}

// ListenerStats describes one listener.
type ListenerStats struct {
	Name         string         `json:"name"`
	Addresses    []pool.Address `json:"addresses"` // as bound: port 0 is resolved
	Protocol     string         `json:"protocol"`
	Pools        []string       `json:"pools"`              // where its sessions go, each once, in configured order
	Sessions     int            `json:"sessions"`           // those of Elsewhere included
	Elsewhere    int            `json:"elsewhere,omitzero"` // that another server hands over and that have not come yet
	Outdated     int            `json:"outdated"`           // of Sessions, those that go on under rules that were replaced since
	MaxSessions  int            `json:"max_sessions"`       // 0 = no limit of its own
	Accepts      uint64         `json:"accepts"`
	AcceptErrors uint64         `json:"accept_errors"`
	Resting      bool           `json:"resting"`          // new connections wait in the kernel's backlog: for want of descriptors or memory, or at a limit
	Scarce       bool           `json:"scarce"`           // they do for want of descriptors or memory
	AtLimit      bool           `json:"at_limit"`         // of its sessions, or of those of the process
	Leaving      bool           `json:"leaving"`          // takes no new sessions: it is no longer configured, or the server ends
	Clients      clients.Stats  `json:"clients,omitzero"` // zero when there are no limits per client
}

// EndedStats counts sessions that ended with one reason.
type EndedStats struct {
	Listener string `json:"listener"`
	Pool     string `json:"pool"` // "" when no pool was chosen
	Reason   Reason `json:"reason"`
	Count    uint64 `json:"count"`
}

// RetryStats counts the backends that sessions tried after another one had failed them.
type RetryStats struct {
	Listener string
	Pool     string
	Count    uint64
}

// PipeStats describes the pipes of the splice path.
type PipeStats struct {
	Limit int `json:"limit"` // at most so many are open
	Open  int `json:"open"`
	Lent  int `json:"lent"` // hold bytes of a session now
}

// End is what is known of a session that has ended.
type End struct {
	ID          uint64
	Listener    string
	Pool        string         // "" when no pool was chosen
	Backend     string         // "" when no backend was connected or tried
	Client      netip.AddrPort // the real one, after a PROXY header; invalid for a Unix client
	Local       netip.AddrPort // of this machine, that the connection came to; invalid for a Unix client, and where Config.WantLocal does not want it
	ServerName  string         // that the client asked for with TLS; "" = none
	UniqueID    string         // as received, or as the pool's backends are told; "" = neither
	Reason      Reason
	Errno       syscall.Errno // the cause as the kernel gave it; 0 = none
	Detail      string        // what exactly was wrong with what the client sent; "" = nothing, or the reason says it
	Duration    time.Duration // from accept to end
	ConnectTime time.Duration // of the connect that was made; 0 = none was
	Waited      time.Duration // in the pool's queue
	Retries     int           // further backends tried
	Tried       []Try         // backends that failed before, the last few of them
	Received    uint64        // bytes passed from the backend to the client
	Sent        uint64        // bytes passed to the backend, the PROXY header included
}

// Stats returns a copy of the counters. It may be called at any time from any
// goroutine.
func (srv *Server) Stats() Stats {
	stats := Stats{
		Pipes:       PipeStats{Limit: srv.pipes.Limit(), Open: srv.pipes.Open(), Lent: srv.pipes.Lent()},
		MaxSessions: int(srv.places.limit.Load()),
		Elsewhere:   int(srv.places.elsewhere.Load()),
		Ended:       []EndedStats{}, // none is not null
	}
	for _, l := range srv.loops {
		stats.Loops = append(stats.Loops, LoopStats{Sessions: int(l.load.Load()), StaleEvents: l.stale.Load()})
	}
	set := srv.set.Load()
	for _, ls := range set.active {
		srv.addStats(&stats, ls)
	}
	for _, ls := range set.leaving {
		if n, _ := ls.sessionCount(); n > 0 {
			srv.addStats(&stats, ls)
		}
	}
	return stats
}

func (srv *Server) addStats(stats *Stats, ls *listener) {
	listener := ls.stats()
	listener.Scarce = srv.clock() < time.Duration(ls.scarceUntil.Load())
	listener.AtLimit = listener.AtLimit || srv.places.isFull()
	stats.Listeners = append(stats.Listeners, listener)
	stats.Ended = ls.unrouted.appendTo(stats.Ended, ls.name, "")
	for _, t := range ls.everyTarget() {
		stats.Ended = t.ended.appendTo(stats.Ended, ls.name, t.config.Pool.Name())
		stats.Retries = append(stats.Retries, RetryStats{ls.name, t.config.Pool.Name(), t.retries.Load()})
	}
}

func (ls *listener) stats() ListenerStats {
	var pools []string
	rules := ls.rules.Load()
	for _, t := range rules.targets.all {
		pools = append(pools, t.config.Pool.Name())
	}
	stats := ListenerStats{
		Name:         ls.name,
		Protocol:     rules.config.Protocol.String(),
		Pools:        pools,
		Accepts:      ls.accepts.Load(),
		AcceptErrors: ls.acceptErrors.Load(),
		MaxSessions:  rules.config.MaxSessions,
		Resting:      ls.resting.Load() > 0,
		AtLimit:      ls.places.isFull(),
		Leaving:      ls.leaving.Load(),
	}
	stats.Sessions, stats.Outdated = ls.sessionCount()
	stats.Elsewhere = int(ls.places.elsewhere.Load())
	stats.Sessions += stats.Elsewhere
	for _, k := range *ls.sockets.Load() {
		stats.Addresses = append(stats.Addresses, k.bound)
	}
	if rules.clients != nil {
		stats.Clients = rules.clients.Stats()
	}
	return stats
}

func (c *endCounters) appendTo(list []EndedStats, listener, pool string) []EndedStats {
	for reason := range numReasons {
		if n := c[reason].Load(); n > 0 {
			list = append(list, EndedStats{Listener: listener, Pool: pool, Reason: reason, Count: n})
		}
	}
	return list
}

// record describes s for OnEnd.
func (l *loop) record(s *session, reason Reason, errno syscall.Errno) End {
	end := End{
		ID:          s.id,
		Listener:    s.rules.listener.name,
		Client:      s.client,
		ServerName:  s.serverName(),
		UniqueID:    l.server.uniqueIDOf(s),
		Reason:      reason,
		Errno:       errno,
		Duration:    l.now + l.stalled - s.started,
		ConnectTime: s.connect,
		Waited:      s.waited,
		Retries:     int(s.retries),
		Tried:       s.tried(reason),
		Received:    s.halves[server].bytes,
		Sent:        s.halves[client].bytes,
	}
	if s.names != nil {
		end.Detail = s.names.detail
	}
	if s.target != nil {
		end.Pool = s.target.config.Pool.Name()
	}
	if s.backend != nil {
		end.Backend = s.backend.Name()
	} else if s.opening != nil && s.opening.last != nil {
		end.Backend = s.opening.last.Name()
	}
	return end
}
