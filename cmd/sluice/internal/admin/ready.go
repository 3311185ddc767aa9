package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sluice/l4"
	"sluice/pool"
)

// readyz answers 200 when every session that might come could be served, or, with ?listener= and ?pool=, when those could
// that come to these. Who is full is busy, and ready all the same.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request, _ url.Values) {
	asked, status, err := s.askedFor(r.URL.RawQuery)
	if err != nil {
		writeText(w, status, err.Error()+"\n")
		return
	}
	if reasons := s.unready(asked); len(reasons) > 0 {
		writeText(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n")+"\n")
		return
	}
	writeText(w, http.StatusOK, "ready\n")
}

// A scope is what a question of readiness is about.
type scope struct {
	listeners []l4.ListenerStats
	pools     []string // besides those of the listeners
}

// askedFor returns what a query asks for, or why not and with what status. A name that is not there is no 503: whoever
// asks for it waits in vain.
func (s *Server) askedFor(query string) (asked scope, status int, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return asked, http.StatusBadRequest, err
	}
	for key := range values {
		if key != "listener" && key != "pool" {
			return asked, http.StatusBadRequest, fmt.Errorf("unknown parameter %.64q: want listener or pool", key)
		}
	}
	all := slices.DeleteFunc(s.options.Stats().Listeners, func(l l4.ListenerStats) bool { return l.Leaving && !s.draining.Load() })
	if len(values) == 0 {
		return scope{listeners: all}, 0, nil
	}
	for _, name := range values["listener"] {
		i := slices.IndexFunc(all, func(l l4.ListenerStats) bool { return l.Name == name })
		if i < 0 {
			return asked, http.StatusNotFound, unknownName("listener", name, all, func(l l4.ListenerStats) string { return l.Name })
		}
		asked.listeners = append(asked.listeners, all[i])
	}
	for _, name := range values["pool"] {
		if s.pool(name) == nil {
			return asked, http.StatusNotFound, unknownName("pool", name, s.options.Pools(), (*pool.Pool).Name)
		}
		asked.pools = append(asked.pools, name)
	}
	return asked, 0, nil
}

// maxNames is how many names somebody may read.
const maxNames = 20

// unknownName is the error for a name that is not there. It says what is.
func unknownName[T any](kind, name string, all []T, nameOf func(T) string) error {
	var names []string
	for _, v := range all[:min(len(all), maxNames)] {
		names = append(names, nameOf(v))
	}
	if more := len(all) - maxNames; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Errorf("no %s %.64q: there are %s", kind, name, strings.Join(names, ", "))
}

// unready returns why what is asked for is not ready, a line each.
func (s *Server) unready(asked scope) (reasons []string) {
	if s.draining.Load() {
		return []string{"draining: this process is about to end"}
	}
	var seen []string
	look := func(name string) {
		if p := s.pool(name); p != nil && !slices.Contains(seen, name) {
			seen = append(seen, name)
			reasons = append(reasons, s.unreadyPool(p)...)
		}
	}
	for _, l := range asked.listeners {
		if l.Scarce {
			reasons = append(reasons, fmt.Sprintf("listener %q: out of descriptors or memory, new sessions wait", l.Name))
		}
		for _, name := range l.Pools {
			look(name)
		}
	}
	for _, name := range asked.pools {
		look(name)
	}
	if len(asked.listeners)+len(asked.pools) == 0 {
		return s.options.unlistened()
	}
	return reasons
}

// unreadyPool returns why a pool is not ready. At the start backends count as up until their first check, which says
// nothing yet about whether sessions can be served.
func (s *Server) unreadyPool(p *pool.Pool) []string {
	backends := p.Backends()
	usable := p.Usable()
	if n, trusted := s.unprobed(p, backends); n > 0 && (trusted || usable == 0) {
		return []string{fmt.Sprintf("pool %q: %d of its %d backends not checked yet", p.Name(), n, len(backends))}
	}
	if usable > 0 {
		return nil
	}
	reasons := s.options.unanswered(p.Name())
	if len(backends) > 0 || len(reasons) == 0 {
		reasons = append([]string{fmt.Sprintf("pool %q: none of its %d backends is usable", p.Name(), len(backends))}, reasons...)
	}
	return reasons
}

// unprobed counts the backends of a pool whose first check is to come, and says whether one of them is given sessions all
// the same. Those that the operator has taken out are not waited for, nor those that have vanished.
func (s *Server) unprobed(p *pool.Pool, backends []*pool.Backend) (n int, trusted bool) {
	if !s.options.Checked(p) {
		return 0, false
	}
	for _, b := range backends {
		if b.Admin() == pool.Ready && !b.Vanished() && s.options.Health(b).LastProbe.IsZero() {
			n++
			trusted = trusted || b.Usable()
		}
	}
	return n, trusted
}

func (s *Server) pool(name string) *pool.Pool {
	for _, p := range s.options.Pools() {
		if p.Name() == name {
			return p
		}
	}
	return nil
}
