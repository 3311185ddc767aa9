package l4

// Counters are the sums of a server, for the one that goes on where it has stopped.
type Counters struct {
	Listeners []ListenerCounters `json:"listeners,omitempty"`
}

// ListenerCounters are the sums of one listener. Sessions that have ended are counted by the word of the Reason.
type ListenerCounters struct {
	Name         string            `json:"name"`
	Accepts      uint64            `json:"accepts,omitempty"`
	AcceptErrors uint64            `json:"accept_errors,omitempty"`
	Ended        map[string]uint64 `json:"ended,omitempty"` // before a pool was chosen
	Pools        []TargetCounters  `json:"pools,omitempty"`
	Forgotten    uint64            `json:"forgotten,omitempty"` // see clients.Stats
	Untracked    uint64            `json:"untracked,omitempty"`
}

// TargetCounters are the sums of a listener's sessions on one pool.
type TargetCounters struct {
	Pool    string            `json:"pool"`
	Ended   map[string]uint64 `json:"ended,omitempty"`
	Retries uint64            `json:"retries,omitempty"`
}

// Counters returns what the server has counted, and those before it whose sums it has got.
func (srv *Server) Counters() (c Counters) {
	seen := make(map[string]bool)
	for _, ls := range srv.set.Load().all() {
		if seen[ls.name] { // it has left, and another one has its name
			continue
		}
		seen[ls.name] = true
		sums := ListenerCounters{
			Name: ls.name, Accepts: ls.accepts.Load(), AcceptErrors: ls.acceptErrors.Load(), Ended: ls.unrouted.sums(),
		}
		for _, t := range ls.everyTarget() {
			sums.Pools = append(sums.Pools, TargetCounters{
				Pool: t.config.Pool.Name(), Ended: t.ended.sums(), Retries: t.retries.Load(),
			})
		}
		if table := ls.rules.Load().clients; table != nil {
			stats := table.Stats()
			sums.Forgotten, sums.Untracked = stats.Forgotten, stats.Untracked
		}
		c.Listeners = append(c.Listeners, sums)
	}
	return c
}

func (c *endCounters) sums() map[string]uint64 {
	sums := make(map[string]uint64)
	for reason := range numReasons {
		if n := c[reason].Load(); n > 0 {
			sums[reason.String()] = n
		}
	}
	return sums
}

// An addedKey names a sum of another server: of a pool where it is a pool's, and of a reason where it counts ends.
type addedKey struct{ listener, pool, what string }

// AddCounters adds the sums of another server to what is counted here. Later ones of the same server may follow: only
// what has come since is added. What is said of listeners and pools that this server has not is dropped, and so are
// reasons that this version does not know.
func (srv *Server) AddCounters(c Counters) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.added == nil {
		srv.added = make(map[addedKey]uint64)
	}
	for i := range c.Listeners {
		for _, ls := range srv.set.Load().all() {
			if ls.name == c.Listeners[i].Name {
				srv.addListener(ls, &c.Listeners[i])
				break
			}
		}
	}
}

// since returns by how much a sum has grown since it was last told.
func (srv *Server) since(listener, pool, what string, sum uint64) uint64 {
	key := addedKey{listener, pool, what}
	grown := sum - min(srv.added[key], sum)
	srv.added[key] += grown
	return grown
}

func (srv *Server) addListener(ls *listener, c *ListenerCounters) {
	ls.accepts.Add(srv.since(ls.name, "", "accepts", c.Accepts))
	ls.acceptErrors.Add(srv.since(ls.name, "", "accept errors", c.AcceptErrors))
	srv.addEnds(&ls.unrouted, ls.name, "", c.Ended)
	for _, t := range ls.everyTarget() {
		for _, sums := range c.Pools {
			if name := t.config.Pool.Name(); name == sums.Pool {
				t.retries.Add(srv.since(ls.name, name, "retries", sums.Retries))
				srv.addEnds(&t.ended, ls.name, name, sums.Ended)
			}
		}
	}
	if table := ls.rules.Load().clients; table != nil {
		table.AddCounters(srv.since(ls.name, "", "forgotten", c.Forgotten), srv.since(ls.name, "", "untracked", c.Untracked))
	}
}

func (srv *Server) addEnds(to *endCounters, listener, pool string, sums map[string]uint64) {
	for reason := range numReasons {
		word := reason.String()
		to[reason].Add(srv.since(listener, pool, "ended "+word, sums[word]))
	}
}
