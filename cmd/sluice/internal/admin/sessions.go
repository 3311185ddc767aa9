package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"sluice/l4"
	"sluice/l4/clients"
)

const (
	// defaultSessions and maxSessions are how many sessions one answer has.
	defaultSessions, maxSessions = 1000, 10000
	// maxScanned is how many sessions are looked at for those that a filter lets pass: some 25 MB of them, for which
	// event loops stop a few milliseconds each.
	maxScanned = 100_000
)

// Sessions is the answer of /api/v1/sessions.
type Sessions struct {
	Sessions []SessionStatus `json:"sessions"` // by age, the oldest first
	Complete bool            `json:"complete"` // false: there are, or may be, more than were asked for
}

// SessionStatus describes one open session. Its own fields stand for those of the same names, in the form of the API.
type SessionStatus struct {
	l4.SessionStats
	Client string  `json:"client"` // after a PROXY header; unix for one without an address
	Age    float64 `json:"age_seconds"`
	Idle   float64 `json:"idle_seconds"` // since a byte last moved
}

// ClientText is how a client's address is written everywhere. A client of a Unix socket has none.
func ClientText(client netip.AddrPort) string {
	if !client.IsValid() {
		return "unix"
	}
	return client.String()
}

// A sessionQuery says which sessions are asked for.
type sessionQuery struct {
	limit                   int
	listener, pool, backend string       // "" = all
	client                  netip.Prefix // invalid = all
}

func (s *Server) sessions(w http.ResponseWriter, r *http.Request) {
	query, err := parseSessionQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case s.listing <- struct{}{}: // one at a time: each costs memory, and the time of event loops
	case <-r.Context().Done():
		return
	}
	answer := query.answer(s.options.Sessions)
	<-s.listing
	s.writeJSON(w, answer)
}

func parseSessionQuery(values url.Values) (q sessionQuery, err error) {
	q.limit = defaultSessions
	for name, all := range values {
		value := all[0]
		switch name {
		case "limit":
			q.limit, err = strconv.Atoi(value)
			if err != nil || q.limit < 1 || q.limit > maxSessions {
				return q, fmt.Errorf("limit=%.64q: want a number from 1 to %d", value, maxSessions)
			}
		case "listener":
			q.listener = value
		case "pool":
			q.pool = value
		case "backend":
			q.backend = value
		case "client":
			if q.client, err = parseClient(value); err != nil {
				return q, err
			}
		default:
			return q, fmt.Errorf("unknown parameter %.64q: want limit, listener, pool, backend or client", name)
		}
		if len(all) > 1 || value == "" {
			return q, fmt.Errorf("%s: want one value", name)
		}
	}
	return q, nil
}

// parseClient takes an address for the network that has only it.
func parseClient(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return clients.Network(netip.PrefixFrom(addr.WithZone(""), addr.BitLen())), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("client=%.64q: want an address, or a network such as 192.0.2.0/24", text)
	}
	return clients.Network(prefix), nil
}

func (q sessionQuery) filters() bool {
	return q.listener != "" || q.pool != "" || q.backend != "" || q.client.IsValid()
}

func (q sessionQuery) passes(s l4.SessionStats) bool {
	return (q.listener == "" || q.listener == s.Listener) && (q.pool == "" || q.pool == s.Pool) &&
		(q.backend == "" || q.backend == s.Backend) && (!q.client.IsValid() || q.client.Contains(s.Client.Addr().Unmap()))
}

// answer asks for one session more than it needs, to know whether there are more.
func (q sessionQuery) answer(sessions func(limit int) []l4.SessionStats) Sessions {
	scan := q.limit + 1
	if q.filters() {
		scan = maxScanned
	}
	found := sessions(scan)
	complete := len(found) < scan
	found = slices.DeleteFunc(found, func(s l4.SessionStats) bool { return !q.passes(s) })
	slices.SortFunc(found, func(a, b l4.SessionStats) int { return cmp.Compare(b.Age, a.Age) })
	if len(found) > q.limit {
		found, complete = found[:q.limit], false
	}
	answer := Sessions{Sessions: make([]SessionStatus, len(found)), Complete: complete}
	for i, s := range found {
		answer.Sessions[i] = SessionStatus{s, ClientText(s.Client), seconds(s.Age), seconds(s.Idle)}
	}
	return answer
}

// seconds leaves out what is finer than a millisecond: nobody reads it.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
