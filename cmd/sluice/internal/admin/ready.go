package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sluice/pool"
)

// readyz answers 200 when every session that might come could be served.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if reasons := s.unready(); len(reasons) > 0 {
		writeText(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n")+"\n")
		return
	}
	writeText(w, http.StatusOK, "ready\n")
}

// unready returns why the process is not ready, a line each.
func (s *Server) unready() []string {
	if s.draining.Load() {
		return []string{"draining: this process is about to end"}
	}
	var reasons []string
	var seen []string
	for _, l := range s.options.Stats().Listeners {
		switch {
		case l.AtLimit:
			reasons = append(reasons, fmt.Sprintf("listener %q: at the limit of sessions, new ones wait", l.Name))
		case l.Resting:
			reasons = append(reasons, fmt.Sprintf("listener %q: out of descriptors or memory, new sessions wait", l.Name))
		}
		for _, name := range l.Pools {
			if p := s.pool(name); p != nil && !slices.Contains(seen, name) {
				seen = append(seen, name)
				reasons = append(reasons, s.unreadyPool(p)...)
			}
		}
	}
	return reasons
}

// unreadyPool returns why a pool is not ready. Backends count as up until their first check, which says nothing yet
// about whether sessions can be served.
func (s *Server) unreadyPool(p *pool.Pool) []string {
	backends := p.Backends()
	if n := s.unprobed(p, backends); n > 0 {
		return []string{fmt.Sprintf("pool %q: %d of its %d backends not checked yet", p.Name(), n, len(backends))}
	}
	if p.Usable() == 0 {
		return []string{fmt.Sprintf("pool %q: none of its %d backends is usable", p.Name(), len(backends))}
	}
	return nil
}

// unprobed counts the backends of a pool whose first check is to come. Those that the operator has taken out are not
// waited for.
func (s *Server) unprobed(p *pool.Pool, backends []*pool.Backend) (n int) {
	if !s.options.Checked(p) {
		return 0
	}
	for _, b := range backends {
		if b.Admin() == pool.Ready && s.options.Health(b).LastProbe.IsZero() {
			n++
		}
	}
	return n
}

func (s *Server) pool(name string) *pool.Pool {
	for _, p := range s.options.Pools() {
		if p.Name() == name {
			return p
		}
	}
	return nil
}
