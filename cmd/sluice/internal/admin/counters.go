package admin

import (
	"bytes"
	"slices"
	"strconv"
	"sync"

	"sluice/health"
	"sluice/l4"
	"sluice/l4/clients"
	"sluice/pool"
)

// counters writes what the data path, the pools and the kernel count. Label sets are made when something comes or goes:
// otherwise a scrape only reads numbers and copies bytes.
type counters struct {
	options   Options
	build     labels
	resources resources

	mu      sync.Mutex // one scrape at a time: each address has its own pace
	*series            // what there was at the last one
}

// series has the label sets of all that there is.
type series struct {
	names     []l4.ListenerStats // of which only name and pools count
	listeners []labels           // in the order of names
	loops     []labels
	ended     []endedSeries
	backends  []backendSeries
	pools     []poolSeries
	routed    map[routedKey]labels
}

// endedSeries is one line of sluice_sessions_ended_total.
type endedSeries struct {
	key    endedKey
	labels labels
}

// routedKey is a pool of a listener.
type routedKey struct{ listener, pool string }

type endedKey struct {
	listener, pool string
	reason         l4.Reason
}

// poolSeries is one pool's lines.
type poolSeries struct {
	pool     *pool.Pool
	backends []*pool.Backend
	labels   labels
}

// backendSeries is one backend's lines.
type backendSeries struct {
	backend   *pool.Backend
	labels    labels
	failures  []labels // by the order of pool.DialFailures
	obstacles []labels // by the order of pool.Obstacles
	states    []labels // by the order of backendStates
}

func newCounters(o Options) *counters {
	return &counters{
		options: o, series: new(series),
		build: labelled("version", o.Build.Version, "commit", o.Build.Commit, "goversion", o.Build.Go),
	}
}

// follow makes label sets for what there is now, if that is something else than at the last scrape.
func (c *counters) follow(stats *l4.Stats) {
	pools := c.options.Pools()
	if !c.covers(stats, pools) {
		c.series = newSeries(stats, pools)
	}
}

// covers reports whether the label sets are those of what there is.
func (s *series) covers(stats *l4.Stats, pools []*pool.Pool) bool {
	sameListener := func(a, b l4.ListenerStats) bool { return a.Name == b.Name && slices.Equal(a.Pools, b.Pools) }
	samePool := func(a poolSeries, p *pool.Pool) bool { return a.pool == p && slices.Equal(a.backends, p.Backends()) }
	return len(s.loops) == len(stats.Loops) && slices.EqualFunc(s.names, stats.Listeners, sameListener) &&
		slices.EqualFunc(s.pools, pools, samePool)
}

func newSeries(stats *l4.Stats, pools []*pool.Pool) *series {
	s := &series{names: stats.Listeners, routed: make(map[routedKey]labels)}
	for i := range stats.Loops {
		s.loops = append(s.loops, labelled("loop", strconv.Itoa(i)))
	}
	for _, l := range stats.Listeners {
		s.listeners = append(s.listeners, labelled("listener", l.Name))
		for _, pool := range append(l.Pools[:len(l.Pools):len(l.Pools)], "") {
			s.addEnded(l.Name, pool)
			s.routed[routedKey{l.Name, pool}] = labelled("listener", l.Name, "pool", pool)
		}
	}
	for _, p := range pools {
		all := p.Backends()
		s.pools = append(s.pools, poolSeries{p, all, labelled("pool", p.Name())})
		for _, b := range all {
			s.addBackend(b)
		}
	}
	return s
}

func (s *series) addEnded(listener, pool string) {
	for _, r := range l4.Reasons() {
		s.ended = append(s.ended, endedSeries{
			endedKey{listener, pool, r},
			labelled("listener", listener, "pool", pool, "reason", r.String()),
		})
	}
}

func (s *series) addBackend(b *pool.Backend) {
	of := backendSeries{backend: b, labels: backendLabels(b)}
	for _, r := range pool.DialFailures() {
		of.failures = append(of.failures, labelled("pool", b.Pool().Name(), "backend", b.Name(), "reason", r.String()))
	}
	for _, o := range pool.Obstacles() {
		of.obstacles = append(of.obstacles, labelled("pool", b.Pool().Name(), "backend", b.Name(), "reason", o.String()))
	}
	for _, state := range backendStates {
		of.states = append(of.states, labelled("pool", b.Pool().Name(), "backend", b.Name(), "state", state))
	}
	s.backends = append(s.backends, of)
}

// write writes everything in the text format, one family after the other.
func (c *counters) write(buf *bytes.Buffer) {
	c.writeTo(&exposition{Buffer: buf, before: c.options.Metrics.before.Load().counters})
}

func (c *counters) writeTo(e *exposition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.options.Stats()
	c.follow(&stats)

	e.gauge("sluice_build_info", "Which build this is; always 1.")
	e.sample(c.build, 1)
	c.writeListeners(e, stats)
	c.writeEnded(e, stats)
	c.writeRetries(e, stats)
	c.writePools(e)
	known := make([]health.Status, len(c.backends))
	for i, s := range c.backends {
		known[i] = c.options.Health(s.backend)
	}
	c.writeBackends(e, known)
	c.writeRoles(e, known)
	c.options.writeDiscovery(e)
	c.writeResources(e, stats)

	generation := c.options.generation()
	e.gauge("sluice_config_generation", "How many configurations were put in force, the one of the start included; each change by a command is one.")
	e.sample("", generation.Number)
	e.gauge("sluice_config_last_reload_success", "1 when the last reload is in force, or there was none.")
	e.sample("", flag(generation.LastReload == nil || generation.LastReload.OK))
	c.options.Metrics.upgrades.write(e)
}

func (c *counters) writeListeners(e *exposition, stats l4.Stats) {
	family := func(value func(l4.ListenerStats) uint64) {
		for i, l := range stats.Listeners {
			e.sample(c.listeners[i], value(l))
		}
	}
	e.counter("sluice_listener_accepts_total", restored, "Connections accepted.")
	family(func(l l4.ListenerStats) uint64 { return l.Accepts })
	e.counter("sluice_listener_accept_errors_total", restored, "Connections that could not be accepted.")
	family(func(l l4.ListenerStats) uint64 { return l.AcceptErrors })
	e.gauge("sluice_listener_sessions", "Sessions now.")
	family(func(l l4.ListenerStats) uint64 { return uint64(l.Sessions) })
	e.gauge("sluice_listener_max_sessions", "Sessions that the listener may have, 0 = no limit of its own.")
	family(func(l l4.ListenerStats) uint64 { return uint64(l.MaxSessions) })
	e.gauge("sluice_listener_resting", "1 while new connections are left to wait in the kernel's backlog: at a limit of sessions, or for want of descriptors or memory.")
	family(func(l l4.ListenerStats) uint64 { return flag(l.Resting) })
	c.writeClients(e, stats)
}

// writeClients shows the tables of clients of listeners that have limits per client.
func (c *counters) writeClients(e *exposition, stats l4.Stats) {
	family := func(value func(clients.Stats) uint64) {
		for i, l := range stats.Listeners {
			if l.Clients.Table > 0 {
				e.sample(c.listeners[i], value(l.Clients))
			}
		}
	}
	e.gauge("sluice_listener_clients", "Clients with open sessions, of a listener with limits per client.")
	family(func(t clients.Stats) uint64 { return uint64(t.Busy) })
	e.gauge("sluice_listener_clients_limit", "Clients that can be known at a time.")
	family(func(t clients.Stats) uint64 { return uint64(t.Table) })
	e.counter("sluice_listener_clients_forgotten_total", restored, "Clients forgotten for others before they had their whole burst again.")
	family(func(t clients.Stats) uint64 { return t.Forgotten })
	e.counter("sluice_listener_clients_untracked_total", restored, "Sessions let in without limits, because too many clients had some.")
	family(func(t clients.Stats) uint64 { return t.Untracked })
}

// writeEnded shows every reason from the start on, so that the first session that ends with it is an increase. The
// pool of sessions that ended before one was chosen is empty; those are rare, and shown when there are some, but for
// refusals, which never have a pool.
func (c *counters) writeEnded(e *exposition, stats l4.Stats) {
	counts := make(map[endedKey]uint64, len(stats.Ended))
	for _, s := range stats.Ended {
		counts[endedKey{s.Listener, s.Pool, s.Reason}] = s.Count
	}
	e.counter("sluice_sessions_ended_total", restored, "Sessions that have ended, by reason.")
	for _, s := range c.ended {
		if n := counts[s.key]; n > 0 || (s.key.pool == "") == poolless(s.key.reason) {
			e.sample(s.labels, n)
		}
	}
}

// poolless reports whether sessions that end with a reason never have a pool.
func poolless(r l4.Reason) bool {
	return r == l4.NoRoute || r == l4.Denied || r == l4.RateLimited || r == l4.ClientLimit
}

// writeRetries shows those of each pool of each listener.
func (c *counters) writeRetries(e *exposition, stats l4.Stats) {
	e.counter("sluice_retries_total", restored, "Backends that sessions tried after another one had failed them.")
	for _, r := range stats.Retries {
		if l, routed := c.routed[routedKey{r.Listener, r.Pool}]; routed {
			e.sample(l, r.Count)
		}
	}
}

func (c *counters) writePools(e *exposition) {
	e.gauge("sluice_pool_usable", "Backends that could be given sessions.")
	for _, s := range c.pools {
		e.sample(s.labels, uint64(s.pool.Usable()))
	}
	e.gauge("sluice_pool_queue", "Sessions that wait for a backend now.")
	for _, s := range c.pools {
		e.sample(s.labels, uint64(s.pool.Waiting()))
	}
	all := make([]health.PoolStatus, len(c.pools))
	for i, s := range c.pools {
		all[i] = c.options.PoolHealth(s.pool)
	}
	e.gauge("sluice_pool_split_brain", "1 while two or more servers of the pool claim to be the primary.")
	for i, s := range all {
		e.sample(c.pools[i].labels, flag(s.SplitBrain))
	}
	e.counter("sluice_pool_split_brains_total", restored, "How often two or more servers began to claim to be the primary.")
	for i, s := range all {
		e.sample(c.pools[i].labels, s.SplitBrains)
	}
	e.gauge("sluice_pool_all_lag", "1 while replicas that lag more than max_lag serve, for want of others.")
	for i, s := range all {
		e.sample(c.pools[i].labels, flag(s.AllLag))
	}
}

// writeRoles shows what Postgres servers say of themselves; nothing for other servers.
func (c *counters) writeRoles(e *exposition, all []health.Status) {
	e.gauge("sluice_backend_primary", "1 when the database server is the primary, 0 for a replica.")
	for i, s := range c.backends {
		if all[i].Role != "" {
			e.sample(s.labels, flag(all[i].Role == "primary"))
		}
	}
	e.gauge("sluice_backend_replay_lag_seconds", "How much a replica lags, 0 when it has replayed all that a server of its pool was seen to have.")
	for i, s := range c.backends {
		if all[i].LagKnown {
			e.seconds(s.labels, all[i].Lag)
		}
	}
}

func (c *counters) writeBackends(e *exposition, known []health.Status) {
	all := make([]pool.BackendStats, len(c.backends))
	for i, s := range c.backends {
		all[i] = s.backend.Stats()
	}
	family := func(value func(pool.BackendStats) uint64) {
		for i, s := range c.backends {
			e.sample(s.labels, value(all[i]))
		}
	}
	e.gauge("sluice_backend_connections", "Active connections, those being made included.")
	family(func(b pool.BackendStats) uint64 { return uint64(b.Active) })
	e.counter("sluice_backend_connects_total", restored, "Connects that succeeded.")
	family(func(b pool.BackendStats) uint64 { return b.Connects })
	e.counter("sluice_backend_connect_failures_total", restored, "Connects that failed, by reason.")
	for i, s := range c.backends {
		for j, r := range pool.DialFailures() {
			e.sample(s.failures[j], all[i].ConnectFailures[r])
		}
	}
	e.counter("sluice_backend_connect_obstacles_total", restored,
		"Connects that could not be made for a reason on this side, and were put off or sent elsewhere, by reason.")
	for i, s := range c.backends {
		for j, o := range pool.Obstacles() {
			e.sample(s.obstacles[j], all[i].Obstacles[o])
		}
	}
	e.counter("sluice_backend_received_bytes_total", restored, "Bytes received from the backend.")
	family(func(b pool.BackendStats) uint64 { return b.Received })
	e.counter("sluice_backend_sent_bytes_total", restored, "Bytes sent to the backend, PROXY headers included.")
	family(func(b pool.BackendStats) uint64 { return b.Sent })
	e.gauge("sluice_backend_up", "1 when the backend is up by its checks and not ejected.")
	family(func(b pool.BackendStats) uint64 { return flag(b.Up && !b.Ejected) })
	e.gauge("sluice_backend_weight", "Share of new sessions.")
	family(func(b pool.BackendStats) uint64 { return uint64(b.Weight) })
	e.gauge("sluice_backend_max_connections", "Connections that the backend may have, 0 = no limit.")
	family(func(b pool.BackendStats) uint64 { return uint64(b.MaxConns) })
	e.counter("sluice_backend_state_changes_total", restored, "How often the backend went up or down, was ejected or let back, or was set to another state.")
	family(func(b pool.BackendStats) uint64 { return b.Changes })
	c.writeStates(e, all, known)
	c.writeCertificates(e, known)
}

func (c *counters) writeResources(e *exposition, stats l4.Stats) {
	e.gauge("sluice_sessions_limit", "Sessions that the process may have, 0 = no limit.")
	e.sample("", uint64(stats.MaxSessions))
	e.gauge("sluice_loop_sessions", "Sessions of each event loop now.")
	for i, l := range stats.Loops {
		e.sample(c.loops[i], uint64(l.Sessions))
	}
	e.counter("sluice_log_lines_dropped_total", carried, "Log lines given up because the log was read too slowly, or that could not be written.")
	e.sample("", c.options.LinesDropped())
	e.counter("sluice_loop_stale_events_total", carried, "Events for sessions that had just ended.")
	for i, l := range stats.Loops {
		e.sample(c.loops[i], l.StaleEvents)
	}
	e.gauge("sluice_pipes", "Pipes of the splice path that are open: lent hold a session's bytes, idle wait for the next.")
	e.sample(`{state="idle"}`, uint64(max(stats.Pipes.Open-stats.Pipes.Lent, 0))) // the two are not read at once
	e.sample(`{state="lent"}`, uint64(stats.Pipes.Lent))
	e.gauge("sluice_pipes_limit", "Pipes that may be open at most.")
	e.sample("", uint64(stats.Pipes.Limit))
	if open := c.resources.openFiles(); open > 0 {
		e.gauge("sluice_file_descriptors", "Descriptors that are open.")
		e.sample("", open)
		e.gauge("process_open_fds", "Descriptors that are open, under the name that every process has.")
		e.sample("", open)
	}
	e.gauge("process_max_fds", "Descriptors that may be open at most.")
	e.sample("", c.options.Limits().Descriptors)
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
