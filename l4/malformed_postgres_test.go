package l4

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/l4/pgwire/pgtest"
	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
)

// yes and no are what sluice answers to a client that asks for encryption.
var (
	yes = say{server, []byte("S")}
	no  = say{server, []byte("N")}
)

// says is a part of a dialogue, of the client.
func says(data ...[]byte) say { return say{client, slices.Concat(data...)} }

var (
	pgByName     = []routeTo{sni("db1", "db1.example.com"), sni("db2", "*.db2.example.com")}
	pgByDatabase = []routeTo{{route.Rule{Database: []string{"app"}}, "db1"}, {route.Rule{User: []string{"bob"}}, "db2"}}
	pgByBoth     = slices.Concat(pgByName, pgByDatabase)
)

// noDatabase is what a client is told that no route takes.
func noDatabase(database, user string) []byte {
	return backendMessage('E', []byte("SFATAL\x00VFATAL\x00C3D000\x00M"+
		fmt.Sprintf("no route for database %q and user %q", database, user)+"\x00\x00"))
}

// hostilePostgres are clients of any listener of Postgres with routes.
func hostilePostgres() map[string]hostile {
	table := map[string]hostile{
		"silence":                     {nil, waits, HelloTimeout, nil},
		"a port check":                {nil, closes, ClientClosed, nil},
		"one byte, then silence":      {fromClient(startup[:1]), waits, HelloTimeout, nil},
		"one byte, then FIN":          {fromClient(startup[:1]), closes, HelloInvalid, nil},
		"cut start-up, then silence":  {fromClient(startup[:20]), waits, HelloTimeout, nil},
		"cut start-up, then FIN":      {fromClient(startup[:20]), closes, HelloInvalid, nil},
		"no GSS, then silence":        {[]say{says(gssRequest), no}, waits, HelloTimeout, nil},
		"no GSS, then FIN":            {[]say{says(gssRequest), no}, closes, ClientClosed, nil},
		"no GSS, then HTTP":           {[]say{says(gssRequest), no, says(pgtest.Bad["HTTP"])}, stays, HelloInvalid, nil},
		"no GSS, then a cut start-up": {[]say{says(gssRequest), no, says(startup[:20])}, closes, HelloInvalid, nil},
		"no GSS, then a bad length":   {[]say{says(gssRequest), no, says(pgtest.Head(10001, version30))}, stays, HelloInvalid, nil},
	}
	for name, data := range pgtest.Bad {
		table[name] = hostile{fromClient(data), stays, HelloInvalid, nil}
	}
	return table
}

// hostileInClear are clients that say who they are, but nobody takes them.
func hostileInClear() map[string]hostile {
	f := func(packet []byte, database, user string) hostile {
		return hostile{fromClient(packet), stays, NoRoute, noDatabase(database, user)}
	}
	return map[string]hostile{
		"a database of no route":   f(startup, "shop", "alice"),
		"no database":              f(packet(version30, []byte("user\x00alice\x00\x00")), "alice", "alice"),
		"protocol 2.0":             f(packet(2<<16, make([]byte, 288)), "", ""),
		"protocol 2.0 with a name": f(packet(2<<16, []byte("app\x00bob\x00"), make([]byte, 280)), "", ""),
		"protocol 4.0":             f(packet(4<<16, []byte("user\x00bob\x00\x00")), "", ""),
		"no user":                  f(packet(version30, []byte("database\x00app\x00\x00")), "", ""),
		"no parameters":            f(packet(version30, []byte{0}), "", ""),
		"nothing":                  f(packet(version30), "", ""),
		"no end":                   f(packet(version30, []byte("user\x00bob\x00database\x00app\x00")), "", ""),
		"more after the end":       f(packet(version30, []byte("user\x00bob\x00\x00database\x00app\x00\x00")), "", ""),
		"the last value counts": f(packet(version30, []byte("database\x00app\x00user\x00x\x00"),
			[]byte("database\x00y\x00\x00")), "y", "x"),
		"a prefix of the name":       f(packet(version30, []byte("user\x00bo\x00database\x00ap\x00\x00")), "ap", "bo"),
		"another case":               f(packet(version30, []byte("user\x00BOB\x00database\x00APP\x00\x00")), "APP", "BOB"),
		"a line end in the database": f(packet(version30, []byte("user\x00x\x00database\x00app\n\x00\x00")), "app\n", "x"),
		"bytes that are no text": f(packet(version30, []byte("user\x00\xff\x1b\x00database\x00\xfe\x00\x00")),
			"\xfe", "\xff\x1b"),
		"a long name": f(packet(version30, []byte("user\x00x\x00database\x00"+strings.Repeat("y", 9900)+"\x00\x00")),
			strings.Repeat("y", 64), "x"),
		"after no GSS": {[]say{says(gssRequest), no, says(startup)}, stays, NoRoute, noShop},
	}
}

// hostileSecured are clients of a listener that answers SSLRequest with yes.
func hostileSecured() map[string]hostile {
	f := func(data ...[]byte) hostile {
		return hostile{[]say{says(sslRequest), yes, says(data...)}, stays, HelloInvalid, nil}
	}
	start := []say{says(sslRequest), yes}
	table := map[string]hostile{
		"a byte behind SSLRequest":     {fromClient(slices.Concat(sslRequest, []byte{22})), stays, HelloInvalid, nil},
		"a hello behind SSLRequest":    {fromClient(slices.Concat(sslRequest, hellotest.Valid)), stays, HelloInvalid, nil},
		"a start-up behind SSLRequest": {fromClient(slices.Concat(sslRequest, startup)), stays, HelloInvalid, nil},
		"SSLRequest twice at once":     {fromClient(slices.Concat(sslRequest, sslRequest)), stays, HelloInvalid, nil},
		"SSLRequest, in parts, and more": {fromClient(sslRequest[:3], slices.Concat(sslRequest[3:], startup)), stays,
			HelloInvalid, nil},
		"SSLRequest twice":              f(sslRequest),
		"SSLRequest, HTTP":              f(pgtest.Bad["HTTP"]),
		"SSLRequest, start-up":          f(startup),
		"SSLRequest, GSSENCRequest":     f(gssRequest),
		"SSLRequest, CancelRequest":     f(cancelRequest(cancelKey(1, 4))),
		"SSLRequest, zeros":             f(make([]byte, 100)),
		"SSLRequest, silence":           {start, waits, HelloTimeout, nil},
		"SSLRequest, FIN":               {start, closes, ClientClosed, nil},
		"SSLRequest, cut hello":         {slices.Concat(start, fromClient(hellotest.Start)), waits, HelloTimeout, tooLate},
		"SSLRequest, cut hello and FIN": {slices.Concat(start, fromClient(hellotest.Start)), closes, HelloInvalid, nil},
		"SSLRequest, one byte of hello": {slices.Concat(start, fromClient([]byte{22})), waits, HelloTimeout, tooLate},
		"SSLRequest, name of no route":  {slices.Concat(start, fromClient(helloFor("a.example"))), stays, NoRoute, noName},
		"SSLRequest, no name": {slices.Concat(start, fromClient(hellotest.InRecords(hellotest.Message()))), stays,
			NoRoute, noName},
		"no GSS, SSLRequest, silence": {[]say{says(gssRequest), no, says(sslRequest), yes}, waits, HelloTimeout, nil},
		"no GSS, SSLRequest, and more": {[]say{says(gssRequest), no, says(sslRequest, []byte{22})}, stays,
			HelloInvalid, nil},
		"no GSS, SSLRequest, no route": {slices.Concat([]say{says(gssRequest), no}, start, fromClient(helloFor("a.example"))),
			stays,
			NoRoute, noName},
		"direct TLS, name of no route": {fromClient(helloFor("a.example", "postgresql")), stays, NoRoute, noName},
		"direct TLS, no name":          {fromClient(hellotest.InRecords(hellotest.Message(hellotest.ALPN("postgresql")))), stays, NoRoute, noName},
		"no GSS, direct TLS, no route": {[]say{says(gssRequest), no, says(helloFor("a.example"))}, stays, NoRoute, noName},
		"direct TLS, cut, then FIN":    {fromClient(hellotest.Start), closes, HelloInvalid, nil},
	}
	for name, bad := range hellotest.Bad {
		h := f(plain(bad))
		h.word = alertFor(bad)
		table["SSLRequest, "+name] = h
	}
	return table
}

// hostileDirect are clients that begin with TLS, and not well.
func hostileDirect() map[string]hostile {
	table := map[string]hostile{
		"one byte, then silence":  {fromClient([]byte{22}), waits, HelloTimeout, tooLate},
		"cut hello, then silence": {fromClient(hellotest.Start), waits, HelloTimeout, tooLate},
	}
	for name, bad := range hellotest.Bad {
		if bad.Data[0] == tlshello.RecordHandshake {
			table[name] = hostile{fromClient(plain(bad)), stays, HelloInvalid, alertFor(bad)}
		}
	}
	return table
}

// A listener of Postgres refuses what is malformed, whether or not it has a pool of its
// own: there is nobody who could take it.
func TestMalformedPostgres(t *testing.T) {
	f := func(name, fallback string, routes []routeTo, tables ...map[string]hostile) {
		t.Helper()
		t.Run(name+", pool: "+fallback, func(t *testing.T) {
			for _, table := range tables {
				hostilePlays(t, func(t *testing.T) *routedRig {
					return newRoutedRig(t, rigConfig{protocol: ProtocolPostgres, peek: hostilePeek}, 1, fallback, routes...)
				}, table)
			}
		})
	}
	f("by name", "", pgByName, hostilePostgres(), hostileInClear(), hostileSecured())
	f("by database", "", pgByDatabase, hostilePostgres(), hostileInClear(), hostileToldNo())
	f("by both", "", pgByBoth, hostilePostgres(), hostileInClear(), hostileSecured())
	f("by database", "all", pgByDatabase, hostilePostgres())
	secured := hostileSecured()
	for name, h := range secured {
		if h.reason == NoRoute {
			delete(secured, name)
		}
	}
	f("by name", "all", pgByName, hostilePostgres(), secured)
	f("by both", "all", pgByBoth, hostilePostgres(), secured)
}

// hostileToldNo are clients of a listener that answers SSLRequest with no, as it cannot know
// where to go before it has seen a start-up.
func hostileToldNo() map[string]hostile {
	start := []say{says(sslRequest), no}
	return map[string]hostile{
		"SSLRequest, silence":     {start, waits, HelloTimeout, nil},
		"SSLRequest, FIN":         {start, closes, ClientClosed, nil},
		"SSLRequest, HTTP":        {slices.Concat(start, fromClient(pgtest.Bad["HTTP"])), stays, HelloInvalid, nil},
		"SSLRequest, start-up":    {slices.Concat(start, fromClient(startup)), stays, NoRoute, noShop},
		"SSLRequest and start-up": {[]say{says(sslRequest, startup), no}, stays, NoRoute, noShop},
		"GSS, SSLRequest, start-up": {[]say{says(gssRequest), no, says(sslRequest), no, says(startup)}, stays,
			NoRoute, noShop},
		"direct TLS":                 {fromClient(helloFor("a.example")), stays, NoRoute, nil},
		"direct TLS, two bytes":      {fromClient([]byte{22, 3}), stays, NoRoute, nil},
		"direct TLS, one byte, FIN":  {fromClient([]byte{22}), closes, HelloInvalid, nil},
		"direct TLS, one byte, wait": {fromClient([]byte{22}), waits, HelloTimeout, nil},
	}
}

// A client that begins with TLS where routes ask for names understands an alert.
func TestMalformedDirectTLS(t *testing.T) {
	for _, fallback := range []string{"", "all"} {
		hostilePlays(t, func(t *testing.T) *routedRig {
			return newRoutedRig(t, rigConfig{protocol: ProtocolPostgres, peek: hostilePeek}, 1, fallback, pgByName...)
		}, hostileDirect())
	}
}

// What no route takes goes to the pool of the listener as it came, and what is malformed in it
// is for the server to say.
func TestUnroutedPostgresToPool(t *testing.T) {
	r := newRoutedRig(t, rigConfig{protocol: ProtocolPostgres, send: ProxyV2}, 1, "all", pgByBoth...)
	for name, h := range hostileInClear() {
		t.Run(name, func(t *testing.T) {
			r.t = t
			c := r.dialNow()
			r.play(c, h.dialogue)
			packet := h.dialogue[len(h.dialogue)-1].data
			header := r.headerFor(c, ProxyV2)
			ends := r.expectHello(c, r.at["all"][0], header, packet)
			r.put(ends[server], fatal("28P01"))
			r.get(c, fatal("28P01"))
			r.quick(ends)
			r.finish(ends, "all", "", len(header)+len(packet)+quickBytes, len(fatal("28P01"))+quickBytes)
		})
	}
	r.t = t
	r.expectUnasked("all")
}

// A question is answered once. A client that asks again and again would keep its place for
// ever, and its loop busy.
func TestMalformedAsksAgain(t *testing.T) {
	f := func(name string, routes []routeTo, requests ...[]byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRoutedRig(t, rigConfig{protocol: ProtocolPostgres}, 1, "", routes...)
			c := r.dialNow()
			r.put(c, slices.Concat(requests...))
			r.settle()
			if len(r.ended) == 0 {
				t.Fatalf("%d requests were answered, and the session is open", len(requests))
			}
			r.expectEnd(HelloInvalid)
			if data, _ := r.rest(c); len(data) >= len(requests) {
				t.Errorf("%d of %d requests were answered", len(data), len(requests))
			}
		})
	}
	f("GSSENCRequest", pgByName, gssRequest, gssRequest)
	f("SSLRequest", pgByDatabase, sslRequest, sslRequest)
	f("GSSENCRequest, SSLRequest", pgByDatabase, gssRequest, sslRequest, gssRequest)
	f("many", pgByDatabase, slices.Repeat([][]byte{sslRequest, gssRequest}, 5000)...)
}

// A client that was told that there is no TLS, and begins it all the same, is refused, though there
// is a route for everybody: that answer was for it.
func TestMalformedTLSAfterNo(t *testing.T) {
	routes := []routeTo{{route.Rule{Database: []string{"app"}}, "apps"}, {route.Rule{}, "rest"}}
	r := newRoutedRig(t, rigConfig{protocol: ProtocolPostgres}, 1, "", routes...)
	c := r.dialNow()
	r.put(c, sslRequest)
	r.get(c, []byte("N"))
	r.put(c, helloFor("a.example"))
	r.settle()
	r.expectUnasked()
	if len(r.ended) == 0 {
		t.Fatal("the session is open")
	}
	r.expectEnd(HelloInvalid)
	r.expectReset(c, nil)
}
