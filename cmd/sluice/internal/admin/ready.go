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
		return []string{"draining: no new sessions are accepted"}
	}
	var reasons []string
	var seen []string
	for _, l := range s.options.Stats().Listeners {
		if slices.Contains(seen, l.Pool) {
			continue
		}
		seen = append(seen, l.Pool)
		if p := s.pool(l.Pool); p != nil && p.Usable() == 0 {
			reasons = append(reasons, fmt.Sprintf("pool %q: none of its %d backends is usable", l.Pool, len(p.Backends())))
		}
	}
	return reasons
}

func (s *Server) pool(name string) *pool.Pool {
	for _, p := range s.options.Pools {
		if p.Name() == name {
			return p
		}
	}
	return nil
}
