package l4

import (
	"slices"

	"sluice/pool"
)

// Remaining is how many sessions and slots the server that hands over has still. What is not in it is zero.
type Remaining struct {
	Listeners []ListenerRemaining `json:"listeners,omitempty"`
	Backends  []BackendRemaining  `json:"backends,omitempty"`
}

// ListenerRemaining is what is left of one listener. Clients are the changes of clients.Table.Changes, which are told once.
type ListenerRemaining struct {
	Name     string `json:"name"`
	Sessions int    `json:"sessions,omitempty"`
	Clients  []byte `json:"clients,omitempty"`
}

// BackendRemaining is how many slots of one backend sessions hold that are left.
type BackendRemaining struct {
	Pool    string       `json:"pool"`
	Name    string       `json:"name"`
	Address pool.Address `json:"address"`
	Host    string       `json:"host,omitempty"` // of version 1.0, and not used
	Active  int          `json:"active"`
}

// Remaining returns what is left here: without the batch that is under way, but for those of its sessions that come back,
// by their numbers in it. Listeners that are gone count as well. Each answer must reach the other server.
func (d *Departure) Remaining(back ...int) (r Remaining) {
	sessions, slots := d.away(back)
	for _, ls := range d.srv.set.Load().all() {
		n, _ := ls.sessionCount()
		left := ListenerRemaining{Name: ls.name, Sessions: n - sessions[ls]}
		if table := ls.rules.Load().clients; table != nil {
			left.Clients = table.Changes()
		}
		if left.Sessions > 0 || len(left.Clients) > 0 {
			r.Listeners = append(r.Listeners, left)
		}
	}
	for _, p := range d.srv.pools() {
		for _, b := range p.All() {
			if n := b.Held() - slots[b]; n > 0 {
				r.Backends = append(r.Backends, BackendRemaining{Pool: p.Name(), Name: b.Name(), Address: b.Address(), Active: n})
			}
		}
	}
	return r
}

// away counts the sessions of the batch that is under way, but for those that come back, and the slots that they hold.
func (d *Departure) away(back []int) (sessions map[*listener]int, slots map[*pool.Backend]int) {
	sessions, slots = make(map[*listener]int), make(map[*pool.Backend]int)
	if d.batch == nil {
		return sessions, slots
	}
	for i, f := range d.batch.sessions { // it has none any more once it is committed or returned
		if !slices.Contains(back, i) {
			sessions[f.rules.listener]++
			slots[f.backend]++ // nil too: of those that hold none
		}
	}
	return sessions, slots
}

// pools returns the pools to which sessions go, or have gone, and those that Config.Pools names.
func (srv *Server) pools() (all []*pool.Pool) {
	if srv.config.Pools != nil {
		all = slices.Clone(srv.config.Pools())
	}
	known := make(map[*pool.Pool]bool, len(all))
	for _, p := range all {
		known[p] = true
	}
	for _, ls := range srv.set.Load().all() {
		for _, r := range ls.everyRules() {
			for _, t := range r.targets.all {
				if p := t.config.Pool; !known[p] {
					known[p], all = true, append(all, p)
				}
			}
		}
	}
	return all
}

// Expect says what the other server has still, whatever was said before: that is counted here, against the limits of
// sessions, of backends and of clients. A place or slot that came free there is given to who waits. With a Remaining that
// is empty nothing is expected any more.
func (srv *Server) Expect(r Remaining) error {
	total, left := 0, make(map[string]ListenerRemaining)
	for _, l := range r.Listeners {
		total += l.Sessions
		known := left[l.Name]
		left[l.Name] = ListenerRemaining{Sessions: known.Sessions + l.Sessions, Clients: append(known.Clients, l.Clients...)}
	}
	fewer := srv.places.expect(total)
	for _, ls := range srv.set.Load().all() {
		is := left[ls.name]
		delete(left, ls.name) // another one of that name is a leftover
		fewer = ls.places.expect(is.Sessions) || fewer
		table := ls.rules.Load().clients
		if table == nil {
			continue
		}
		if err := table.Apply(is.Clients); err != nil {
			return err
		}
		if is.Sessions == 0 {
			table.Settle()
		}
	}
	held := make(map[string][]BackendRemaining) // by pool: each go that lets sessions move waits for this
	for _, b := range r.Backends {
		held[b.Pool] = append(held[b.Pool], b)
	}
	for _, p := range srv.pools() {
		expectOf(p, held[p.Name()])
	}
	if fewer {
		for _, l := range srv.loops {
			l.inbox.post(message{kind: placesFreed})
		}
	}
	return nil
}

// expectOf tells the backends of a pool how many of their slots are taken elsewhere.
func expectOf(p *pool.Pool, held []BackendRemaining) {
	expected := make(map[*pool.Backend]int)
	for i := range held {
		if b := &held[i]; b.Active > 0 {
			expected[p.Harbour(pool.BackendConfig{Name: b.Name, Address: b.Address})] += b.Active
		}
	}
	for _, b := range p.All() {
		b.Expect(expected[b])
	}
}
