package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"sluice/l4"
	"sluice/l4/clients"
)

const sessionsPath = "/api/v1/sessions"

// Sessions is the answer of /api/v1/sessions.
type Sessions struct {
	Sessions []SessionStatus `json:"sessions"` // in no order
	Complete bool            `json:"complete"` // false: there are, or may be, more
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

// A sessionFilter says which sessions are meant. The zero filter lets all pass.
type sessionFilter struct {
	listener, pool, backend, state string       // "" = all
	client                         netip.Prefix // invalid = all
	idle, older                    time.Duration
}

func parseSessionFilter(query url.Values) (f sessionFilter, err error) {
	f.listener, f.pool, f.backend, f.state = query.Get("listener"), query.Get("pool"), query.Get("backend"), query.Get("state")
	if text := query.Get("client"); text != "" {
		if f.client, err = parseClient(text); err != nil {
			return f, err
		}
	}
	if f.idle, err = durationOf(query, "idle"); err != nil {
		return f, err
	}
	f.older, err = durationOf(query, "older")
	return f, err
}

// durationOf returns the value of a parameter that is a time; not given is 0.
func durationOf(query url.Values, name string) (time.Duration, error) {
	text := query.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, Invalidf("%s=%.64q: want a time such as 30s, 10m or 2h", name, text)
	}
	return d, nil
}

// parseClient takes an address for the network that has only it.
func parseClient(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return clients.Network(netip.PrefixFrom(addr.WithZone(""), addr.BitLen())), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, Invalidf("client=%.64q: want an address, or a network such as 192.0.2.0/24", text)
	}
	return clients.Network(prefix), nil
}

func (f sessionFilter) passes(s *l4.SessionStats) bool {
	return (f.listener == "" || f.listener == s.Listener) && (f.pool == "" || f.pool == s.Pool) &&
		(f.backend == "" || f.backend == s.Backend) && (f.state == "" || f.state == s.State) &&
		(!f.client.IsValid() || f.client.Contains(s.Client.Addr().Unmap())) && s.Idle >= f.idle && s.Age >= f.older
}

// sessions lists open sessions as they are found: however many there are, no more than some hundreds are held at a time,
// and the client sets the pace.
func (s *Server) sessions(w http.ResponseWriter, r *http.Request, query url.Values) {
	filter, err := parseSessionFilter(query)
	limit := 0 // all
	if text := query.Get("limit"); text != "" && err == nil {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			err = Invalidf("limit=%.64q: want a number, 1 or more", text)
		}
	}
	if err != nil {
		s.writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	c := r.Context().Value(connKey{}).(*conn)
	l := list{w: w, limit: limit}
	if c.LocalAddr().Network() == "unix" {
		l.extend = http.NewResponseController(w)
	}
	// One at a time at each address: each costs the time of event loops.
	c.places.listing.do(r.Context(), func() {
		if err := s.list(r, filter, &l); err != nil {
			s.options.Logger.Debug("an answer was not delivered", "error", err)
		}
	})
}

// list writes the whole answer.
func (s *Server) list(r *http.Request, filter sessionFilter, l *list) error {
	l.buf.WriteString(`{"sessions": [`)
	err := s.options.Visit(r.Context(), func(some []l4.SessionStats) error {
		for i := range some {
			if !filter.passes(&some[i]) {
				continue
			}
			if err := l.add(&some[i]); err != nil {
				return err
			}
		}
		return l.flush()
	})
	if l.failed != nil {
		return l.failed
	}
	if l.n > 0 {
		l.buf.WriteByte('\n')
	}
	l.buf.WriteString(`], "complete": ` + strconv.FormatBool(err == nil) + "}\n")
	return l.flush()
}

// A list writes sessions to a client.
type list struct {
	w      http.ResponseWriter
	extend *http.ResponseController // nil: the whole list has the time that an answer has
	buf    bytes.Buffer
	limit  int // 0 = none
	n      int
	failed error // the client is gone, or does not read
}

// errEnough ends a list that has all that it is to have.
var errEnough = errors.New("enough")

func (l *list) add(s *l4.SessionStats) error {
	if l.limit > 0 && l.n == l.limit {
		return errEnough
	}
	if l.n > 0 {
		l.buf.WriteByte(',')
	}
	l.n++
	text, err := json.Marshal(SessionStatus{*s, ClientText(s.Client), seconds(s.Age), seconds(s.Idle)})
	if err != nil {
		return err
	}
	l.buf.WriteByte('\n')
	l.buf.Write(text)
	return nil
}

// flush sends what there is. On the control socket the client has so much time for each piece.
func (l *list) flush() error {
	if l.extend != nil {
		_ = l.extend.SetWriteDeadline(time.Now().Add(answerTime))
	}
	_, l.failed = l.w.Write(l.buf.Bytes())
	l.buf.Reset()
	return l.failed
}

// seconds leaves out what is finer than a millisecond: nobody reads it.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
