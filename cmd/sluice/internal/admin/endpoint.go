package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sluice/cmd/sluice/internal/change"
)

// An endpoint is one method of one path. The table of them is what is served and what is described: neither has what the
// other has not.
type endpoint struct {
	method, path string
	summary      string
	query        []parameter
	lax          bool // parameters that are not known are passed over: whoever scrapes may have some of his own
	body         any  // a pointer to a value of the type that a JSON body is read into; nil: none
	public       bool // it tells nothing of clients: it is answered at admin.metrics too
	done         int  // the status of a success; 0 = 200
	answer       any  // a value of the type that the answer has as JSON; nil: text
	failures     []int

	// One of the three is set. What changes something, or takes the connection over, is on the control socket only.
	get    func(s *Server, w http.ResponseWriter, r *http.Request, query url.Values)
	change func(s *Server, ctx context.Context, a asked) (any, error)
	take   func(s *Server, w http.ResponseWriter, r *http.Request) error
	// aside: a change that takes its time and is none of the configuration. Others do not wait for it.
	aside bool
	// last: Pause does not wait for the answer, which comes when another process serves.
	last bool
}

// An asked is what a request for a change asks for.
type asked struct {
	pool, backend string // of the path
	query         url.Values
	body          any // of the type of endpoint.body
	by            By
	conn          *conn // by which it was asked
}

// A parameter is one of a query.
type parameter struct {
	name    string
	about   string
	schema  schema
	several bool // it may be given more than once
}

var (
	dryRun = parameter{name: "dry_run", about: "true: only say what would change.", schema: schema{"type": "boolean"}}
	rate   = parameter{name: "rate", about: "How many are ended in a second at most, evenly spread: 50 or 50/s; not given: all at once.", schema: text}
)

// ofSessions choose sessions.
var ofSessions = []parameter{
	{name: "listener", about: "Of this listener.", schema: text},
	{name: "pool", about: "Of this pool.", schema: text},
	{name: "backend", about: "On this backend.", schema: text},
	{name: "client", about: "Of this address, or network such as 192.0.2.0/24.", schema: text},
	{name: "state", about: "In this state, such as relaying.", schema: text},
	{name: "idle", about: "No byte has moved for at least so long, such as 30s.", schema: text},
	{name: "older", about: "Accepted at least so long ago, such as 10m.", schema: text},
}

const backendPath = "/api/v1/pools/{pool}/backends/{backend}"

// endpoints are filled in by init: the description is an endpoint that tells of them all.
var endpoints []endpoint

func init() {
	endpoints = slices.Concat(textEndpoints, readEndpoints, changeEndpoints)
}

var textEndpoints = []endpoint{
	{method: "GET", path: "/{$}", summary: "This list.", lax: true, get: (*Server).index},
	{method: "GET", path: "/metrics", summary: "Counters and gauges, for Prometheus.", lax: true, public: true, get: (*Server).metrics},
	{method: "GET", path: "/healthz", summary: "200 while the process lives.", lax: true, public: true, get: (*Server).healthz},
	{
		method: "GET", path: "/readyz", summary: "200 while sessions can be served, else 503 and why.",
		query: []parameter{
			{name: "listener", about: "Whether this one is ready, with all of its pools.", schema: text, several: true},
			{name: "pool", about: "Whether this one is ready.", schema: text, several: true},
		},
		lax:      true, // it says itself what it does not know
		public:   true,
		failures: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable},
		get:      (*Server).readyz,
	},
}

var readEndpoints = []endpoint{
	{method: "GET", path: "/api/v1/status", summary: "Listeners, pools, backends, counters, and what is set.", answer: Status{}, get: (*Server).status},
	{
		method: "GET", path: backendPath, summary: "One backend, also one that was removed and has sessions left.",
		answer: BackendStatus{}, failures: []int{http.StatusNotFound}, get: (*Server).backend,
	},
	{
		method: "GET", path: sessionsPath, summary: "Open sessions, in no order.", answer: Sessions{}, get: (*Server).sessions,
		query: append([]parameter{{name: "limit", about: "At most so many; not given: all.", schema: schema{"type": "integer", "minimum": 1}}}, ofSessions...),
	},
	{method: "GET", path: "/api/v1/openapi.json", summary: "This description, OpenAPI 3.1.", answer: schema{}, get: (*Server).openapi},
}

var changeEndpoints = []endpoint{
	{
		method: "POST", path: "/api/v1/reload", summary: "Read the configuration again and put it in force.",
		query: []parameter{dryRun}, body: new(reloadBody), answer: change.Change{},
		failures: []int{http.StatusUnprocessableEntity}, change: (*Server).reload,
	},
	{
		method: "PATCH", path: backendPath + "/overrides", summary: "Set keys of a backend, until they are unset.",
		query: []parameter{dryRun}, body: new(overridesBody), answer: change.Change{},
		failures: []int{http.StatusNotFound}, change: (*Server).override,
	},
	{
		method: "DELETE", path: backendPath + "/overrides", summary: "Take back what was set of a backend.",
		query:  []parameter{{name: "key", about: "Only this key; not given: all of them.", schema: text, several: true}, dryRun},
		answer: change.Change{}, failures: []int{http.StatusNotFound}, change: (*Server).unset,
	},
	{
		method: "POST", path: "/api/v1/pools/{pool}/backends", summary: "Give a pool one more backend than its configuration has.",
		query: []parameter{dryRun}, body: new(backendBody), done: http.StatusCreated, answer: change.Change{},
		failures: []int{http.StatusNotFound, http.StatusConflict}, change: (*Server).addBackend,
	},
	{
		method: "DELETE", path: backendPath, summary: "Take a backend out of its pool, whatever the configuration says.",
		query: []parameter{dryRun}, answer: change.Change{}, failures: []int{http.StatusNotFound}, change: (*Server).removeBackend,
	},
	{
		method: "POST", path: "/api/v1/pools/{pool}/rebalance", aside: true, answer: Rebalanced{}, change: (*Server).rebalance,
		summary: "Close idle sessions of backends that have too many. The answer comes when that is done; a client who leaves before ends it.",
		query:   []parameter{dryRun}, failures: []int{http.StatusNotFound, http.StatusConflict},
	},
	{
		method: "DELETE", path: sessionsPath, aside: true, answer: Killed{}, change: (*Server).kill,
		summary: "End sessions. The answer comes when that is done; a client who leaves before ends it.",
		query: slices.Concat([]parameter{
			{name: "id", about: "This session.", schema: schema{"type": "integer", "minimum": 0}, several: true},
			{name: "all", about: "true: every session.", schema: schema{"type": "boolean"}},
		}, ofSessions, []parameter{rate, dryRun}),
	},
	{
		method: "POST", path: upgradePath, aside: true, last: true, body: new(upgradeBody), answer: Upgraded{}, change: (*Server).upgrade,
		summary:  "Start a new process that takes over all sessions. The answer comes when it serves; this process ends then.",
		failures: []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	},
	{
		method: "POST", path: takeOverPath, done: http.StatusSwitchingProtocols, take: (*Server).takeOver,
		summary:  "Take over all sessions: a sluice that follows this one asks for that, with Upgrade: " + handoffProtocol + ".",
		failures: []int{http.StatusForbidden, http.StatusNotFound, http.StatusUpgradeRequired},
	},
}

// checkQuery returns what is wrong with a query. What a parameter's value must be its handler says.
func (e *endpoint) checkQuery(query string) (url.Values, error) {
	values, err := url.ParseQuery(query)
	if e.lax {
		return values, nil
	}
	if err != nil {
		return nil, Invalidf("%w", err)
	}
	for name, all := range values {
		i := slices.IndexFunc(e.query, func(p parameter) bool { return p.name == name })
		switch {
		case i < 0 && len(e.query) == 0:
			return nil, Invalidf("unknown parameter %.64q: there is none", name)
		case i < 0:
			return nil, Invalidf("unknown parameter %.64q: want %s", name, e.parameterNames())
		case len(all) > 1 && !e.query[i].several:
			return nil, Invalidf("%s: want one value", name)
		case slices.Contains(all, ""):
			return nil, Invalidf("%s: want a value", name)
		}
	}
	return values, nil
}

// parameterNames lists what a query may have: "a, b or c".
func (e *endpoint) parameterNames() string {
	var names []string
	for _, p := range e.query {
		names = append(names, p.name)
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// flagOf returns the value of a parameter that is true or false; not given is false.
func flagOf(query url.Values, name string) (bool, error) {
	switch value := query.Get(name); value {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, Invalidf("%s=%.64q: want true or false", name, value)
	}
}

// routes returns the endpoints as a handler; changes: with those that change something.
func (s *Server) routes(changes bool) *http.ServeMux {
	mux := http.NewServeMux()
	for i := range endpoints {
		e := &endpoints[i]
		switch handle := func(h http.HandlerFunc) { mux.HandleFunc(e.method+" "+e.path, h) }; {
		case e.get != nil:
			handle(func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, e) })
		case !changes || s.options.Control == nil:
		case e.take != nil:
			handle(func(w http.ResponseWriter, r *http.Request) { s.giveAway(w, r, e) })
		default:
			handle(func(w http.ResponseWriter, r *http.Request) { s.carryOut(w, r, e) })
		}
	}
	return mux
}

// giveAway lets a request have its connection, unless there is something wrong with it.
func (s *Server) giveAway(w http.ResponseWriter, r *http.Request, e *endpoint) {
	_, err := e.checkQuery(r.URL.RawQuery)
	if err == nil {
		err = e.take(s, w, r)
	}
	if err != nil {
		s.writeError(w, err)
	}
}

// answer answers a request that changes nothing.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, e *endpoint) {
	query, err := e.checkQuery(r.URL.RawQuery)
	if err != nil {
		s.writeError(w, err)
		return
	}
	e.get(s, w, r, query)
}

// indexText is a line for each path that can be read.
func indexText() string {
	var b strings.Builder
	b.WriteString("sluice\n\n")
	for _, e := range endpoints {
		if e.get == nil {
			continue
		}
		path, _ := strings.CutSuffix(e.path, "{$}")
		fmt.Fprintf(&b, "%-41s %s\n", path, e.summary)
		for _, p := range e.query {
			fmt.Fprintf(&b, "%-41s %s\n", "    ?"+p.name+"=", p.about)
		}
	}
	return b.String()
}
