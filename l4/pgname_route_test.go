package l4

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
)

// startupOf is a start-up in clear; an empty database is left out.
func startupOf(user, database string) []byte {
	body := []byte("user\x00" + user + "\x00")
	if database != "" {
		body = append(body, "database\x00"+database+"\x00"...)
	}
	return packet(version30, body, []byte{0})
}

var clearRoutes = []routeTo{
	{route.Rule{Database: []string{"app"}, User: []string{"admin", "root"}}, "admins"},
	{route.Rule{Database: []string{"app", "App"}}, "apps"},
	{route.Rule{User: []string{"admin"}}, "late"},
	sni("named", "*"),
	{route.Rule{Database: []string{"app"}}, "never"},
	{route.Rule{Database: []string{"carol"}}, "own"},
}

var clearCases = []struct{ user, database, pool string }{
	{"admin", "app", "admins"},
	{"root", "app", "admins"},
	{"alice", "app", "apps"},
	{"alice", "App", "apps"},
	{"root", "App", "apps"},
	{"admin", "App", "apps"},
	{"admin", "other", "late"},
	{"admin", "", "late"},
	{"carol", "", "own"},
	{"root", "other", ""},
	{"Admin", "", ""},
	{"alice", "APP", ""},
}

// What asks a client may put before its start-up, and how sluice answers in clearRoutes: it
// would let TLS in, as a route asks for a name.
var clearPrefaces = map[string][]say{
	"plain": nil, "no GSS": {says(gssRequest), no},
}

// The first route that takes a start-up in clear has it; what none takes goes to the pool of
// the listener or is told so.
func TestPgnameByStartup(t *testing.T) {
	for preface, asked := range clearPrefaces {
		for _, fallback := range []string{"", "all"} {
			t.Run(fmt.Sprintf("%s, pool %q", preface, fallback), func(t *testing.T) {
				config := rigConfig{protocol: ProtocolPostgres, send: ProxyV1}
				r := newRoutedRig(t, config, 1, fallback, clearRoutes...)
				for _, c := range clearCases {
					r.startClear(c.user, c.database, c.pool, fallback, asked)
				}
				r.expectUnasked("admins", "apps", "late", "own", "all")
			})
		}
	}
}

func (r *routedRig) startClear(user, database, to, fallback string, asked []say) {
	r.t.Helper()
	c := r.dialNow()
	header, packet := r.headerFor(c, ProxyV1), startupOf(user, database)
	r.play(c, asked)
	r.put(c, slices.Concat(packet, []byte("early")))
	if to == "" {
		to = fallback
	}
	if to == "" {
		if database == "" {
			database = user
		}
		r.expectEnd(NoRoute)
		r.expect(c, noDatabase(database, user))
		r.expectFIN(c)
		return
	}
	ends := r.expectHello(c, r.at[to][0], header, packet)
	r.expectNothing(ends[:]...)
	r.put(ends[server], loginAnswer(cancelKey(1, 4)))
	r.get(c, loginAnswer(cancelKey(1, 4)))
	r.get(ends[server], []byte("early"))
	r.quick(ends)
	r.finish(ends, to, "", len(header)+len(packet)+len("early")+quickBytes, len(loginAnswer(cancelKey(1, 4)))+quickBytes)
}

// Where routes ask for what a start-up in clear says, and the listener has a pool, a client that
// asks for TLS gets it from there. When the server has none, the start-up that follows is
// routed by what it says.
func TestPgnameAfterBackendSaysNo(t *testing.T) {
	f := func(name, user, database, to string, asked ...[]byte) {
		t.Helper()
		for _, send := range []ProxyVersion{ProxyOff, ProxyV2} {
			t.Run(name+", "+send.String(), func(t *testing.T) {
				config := rigConfig{protocol: ProtocolPostgres, send: send}
				r := newRoutedRig(t, config, 1, "all", routeTo{route.Rule{Database: []string{"app"}}, "apps"})
				c := r.dialNow()
				header := r.headerFor(c, send)
				var s conn
				for _, request := range asked {
					r.put(c, request)
					if slices.Equal(request, gssRequest) {
						r.get(c, []byte("N"))
						continue
					}
					s = r.take(r.at["all"][0])
					r.get(s, slices.Concat(header, request))
					r.expectNothing(c)
					r.put(s, []byte("N"))
					r.get(c, []byte("N"))
				}
				r.put(c, startupOf(user, database))
				ends := r.expectHello(c, r.at[to][0], header, startupOf(user, database))
				r.expectFIN(s)
				r.put(ends[server], loginAnswer(cancelKey(1, 4)))
				r.get(c, loginAnswer(cancelKey(1, 4)))
				r.quick(ends)
				reset(c)
				if end := r.expectEnd(ClientReset); end.Pool != to || end.Retries != 0 {
					t.Errorf("ended with %+v, want pool %s", end, to)
				}
				for name, p := range r.pools {
					if active := p.Backends()[0].Stats().Active; active != 0 {
						t.Errorf("%d slots of pool %s are taken", active, name)
					}
				}
			})
		}
	}
	f("routed", "alice", "app", "apps", sslRequest)
	f("routed, GSS first", "alice", "app", "apps", gssRequest, sslRequest)
	f("not routed", "alice", "other", "all", sslRequest)
}

// The backend that said no goes, or is taken away, before the start-up: that is routed all the
// same.
func TestPgnameAfterBackendLeaves(t *testing.T) {
	for name, leave := range map[string]func(r *routedRig, s conn){
		"FIN":        func(r *routedRig, s conn) { s.Close() },
		"reset":      func(r *routedRig, s conn) { reset(s) },
		"redispatch": func(r *routedRig, s conn) { r.down(r.pools["all"].Backends()[0]) },
		"end": func(r *routedRig, s conn) {
			r.pools["all"].Backends()[0].SetUp(false)
			r.endSessions(r.pools["all"].Backends()[0], 0, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := rigConfig{protocol: ProtocolPostgres}
			r := newRoutedRig(t, config, 1, "all", routeTo{route.Rule{Database: []string{"app"}}, "apps"})
			c := r.dialNow()
			r.put(c, sslRequest)
			s := r.take(r.at["all"][0])
			r.get(s, sslRequest)
			r.put(s, []byte("N"))
			r.get(c, []byte("N"))
			leave(r, s)
			r.until("the slot is given back", func() bool { return r.pools["all"].Backends()[0].Stats().Active == 0 })
			r.expectState(stateReadHello)
			r.put(c, startupOf("alice", "app"))
			ends := r.expectHello(c, r.at["apps"][0], startupOf("alice", "app"))
			r.put(ends[server], loginAnswer(cancelKey(1, 4)))
			r.get(c, loginAnswer(cancelKey(1, 4)))
			r.quick(ends)
		})
	}
}

// Without a pool of the listener, sluice says no itself, and routes the start-up.
func TestPgnameToldNo(t *testing.T) {
	r := newRoutedRig(t, rigConfig{protocol: ProtocolPostgres}, 1, "", routeTo{route.Rule{Database: []string{"app"}}, "apps"})
	for _, requests := range [][][]byte{{sslRequest}, {gssRequest}, {gssRequest, sslRequest}, {sslRequest, gssRequest}} {
		for _, together := range []bool{false, true} {
			c := r.dialNow()
			if together {
				r.put(c, slices.Concat(slices.Concat(requests...), startupOf("alice", "app")))
				r.get(c, slices.Repeat([]byte("N"), len(requests)))
			} else {
				for _, request := range requests {
					r.put(c, request)
					r.get(c, []byte("N"))
				}
				r.put(c, startupOf("alice", "app"))
			}
			ends := r.expectHello(c, r.at["apps"][0], startupOf("alice", "app"))
			r.put(ends[server], loginAnswer(cancelKey(1, 4)))
			r.get(c, loginAnswer(cancelKey(1, 4)))
			r.quick(ends)
			sent, received := len(startupOf("alice", "app")), len(loginAnswer(cancelKey(1, 4)))
			r.finish(ends, "apps", "", sent+quickBytes, received+quickBytes)
		}
	}
}

// The answer "no" gives the client the whole time again, but only once each.
func TestPgnameTimeAfterNo(t *testing.T) {
	r := newRoutedRig(t, rigConfig{protocol: ProtocolPostgres, peek: hostilePeek}, 1, "", pgByName...)
	c := r.dialNow()
	r.until("it begins", func() bool { return r.newest() != nil })
	for _, say := range [][2][]byte{{gssRequest, []byte("N")}, {sslRequest, []byte("S")}} {
		r.now += hostilePeek - time.Millisecond
		r.turns(3)
		r.put(c, say[0])
		r.get(c, say[1])
	}
	r.now += hostilePeek - time.Millisecond
	r.turns(3)
	r.put(c, hellotest.InRecords(hellotest.Valid)[:10])
	r.turns(3)
	r.expectState(stateReadHello)
	r.now += time.Millisecond + tick
	r.expectEnd(HelloTimeout)
	r.expect(c, tlshello.AlertInternalError.Record())
	r.expectFIN(c)
}
