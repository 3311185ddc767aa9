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

// shopRoutes are routes of every kind, in an order that matters.
var shopRoutes = []routeTo{
	{route.Rule{SNI: []string{"shop.example.com"}, ALPN: []string{"h3", "acme"}}, "acme"},
	sni("shop", "shop.example.com", "Store.Example.Com."),
	sni("one", "*.example.com"),
	sni("never", "late.example.com"), // the wildcard before takes it
	{route.Rule{SNI: []string{"*.example.net"}, ALPN: []string{"h2"}}, "h2"},
	{route.Rule{ALPN: []string{"dot"}}, "dot"},
	sni("any", "*"),
	{route.Rule{ALPN: []string{"h2"}}, "nameless"},
}

// A routeCase is a client, and the pool it comes to; "" = it is refused.
type routeCase struct {
	serverName string
	protocols  []string
	pool       string
}

func (c routeCase) hello() []byte {
	var extensions [][]byte
	if c.serverName != "" {
		extensions = append(extensions, hellotest.ServerNames(hellotest.HostName(c.serverName)))
	}
	if c.protocols != nil {
		extensions = append(extensions, hellotest.ALPN(c.protocols...))
	}
	return hellotest.InRecords(hellotest.Message(extensions...))
}

var routeCases = []routeCase{
	{"shop.example.com", nil, "shop"},
	{"shop.example.com", []string{"h2", "http/1.1"}, "shop"},
	{"shop.example.com", []string{"h2", "acme"}, "acme"},
	{"shop.example.com", []string{"H3"}, "shop"},
	{"SHOP.Example.com", nil, "shop"},
	{"shop.example.com.", nil, "shop"},
	{"store.example.com", nil, "shop"},
	{"late.example.com", nil, "one"},
	{"*.example.com", nil, "one"},
	{"_x.example.com", nil, "one"},
	{"a.b.example.com", nil, "any"},
	{"example.com", nil, "any"},
	{"xshop.example.com.x", nil, "any"},
	{"a.example.net", []string{"h2"}, "h2"},
	{"a.example.net", []string{"http/1.1"}, "any"},
	{"a.example.net", nil, "any"},
	{"localhost", nil, "any"},
	{"localhost", []string{"h2", "dot"}, "dot"},
	{"", []string{"dot"}, "dot"},
	{"192.0.2.1", []string{"dot"}, "dot"},
	{"", []string{"h2"}, "nameless"},
	{"2001:db8::1", []string{"h2"}, "nameless"},
	{"", []string{"http/1.1"}, ""},
	{"", nil, ""},
	{"192.0.2.1", nil, ""},
}

// The first route that takes a client has it, over TLS, Postgres and direct TLS alike; what
// none takes goes to the pool of the listener or is told so.
func TestRouteByHello(t *testing.T) {
	for _, way := range []helloWay{helloWays[1], helloWays[7], helloWays[10]} {
		for _, fallback := range []string{"", "all"} {
			t.Run(fmt.Sprintf("%s, pool %q", way.name, fallback), func(t *testing.T) {
				config := rigConfig{protocol: way.protocol, send: way.send}
				r := &helloRig{newRoutedRig(t, config, 1, fallback, shopRoutes...), way}
				for _, c := range routeCases {
					t.Run(fmt.Sprintf("%s %q", c.serverName, c.protocols), func(t *testing.T) {
						r.t = t
						r.expectRouted(c, fallback)
					})
				}
				r.t = t
				if n := r.pools["never"].Backends()[0].Stats().Connects; n != 0 {
					t.Errorf("%d sessions came to a route behind one that takes them", n)
				}
			})
		}
	}
}

func (r *helloRig) expectRouted(rc routeCase, fallback string) {
	r.t.Helper()
	folded := rc.serverName
	if hello, _, err := new(tlshello.Reader).Read(rc.hello()); err == nil {
		folded = hello.ServerName
	}
	c, header := r.begin()
	r.put(c, rc.hello())
	to := rc.pool
	if to == "" {
		to = fallback
	}
	if to == "" {
		if end := r.expectEnd(NoRoute); end.Pool != "" || end.Backend != "" || end.ServerName != folded {
			r.t.Errorf("ended with %+v, want no pool, name %q", end, folded)
		}
		r.expect(c, tlshello.AlertUnrecognizedName.Record())
		r.expectFIN(c)
		return
	}
	r.at["shop"], r.at[to] = r.at[to], r.at["shop"] // where arrive looks
	ends := r.arrive(c, 0, header, rc.hello())
	r.at["shop"], r.at[to] = r.at[to], r.at["shop"]
	r.answered(ends)
	sent := len(header) + len(r.way.preface) + len(rc.hello()) + quickBytes
	r.finish(ends, to, folded, sent, answerBytes)
}

// waitingHello opens a session whose pool has nobody for it now.
func (r *helloRig) waitingHello(data []byte) (c conn, header []byte) {
	r.t.Helper()
	c, header = r.begin()
	before := r.pools["shop"].Waiting()
	r.put(c, r.opening(data))
	r.until("it waits", func() bool { return r.pools["shop"].Waiting() == before+1 })
	r.expectState(stateWaiting)
	return c, header
}

// A session that waits for a slot keeps its hello, and brings it whole.
func TestRouteQueue(t *testing.T) {
	for _, way := range helloWays {
		t.Run(way.name, func(t *testing.T) {
			r := newHelloRig(t, way, 1, rigConfig{maxConns: 1, queueMax: 9, queueTimeout: time.Minute})
			data := slices.Concat(hellotest.OfSize(t, 20_000), []byte("early"))
			first, firstHeader := r.begin()
			r.put(first, r.opening(data))
			full := r.arrive(first, 0, firstHeader, data)
			r.put(full[server], []byte("answer"))
			r.get(first, []byte("answer"))

			second, header := r.waitingHello(data)
			gone, _ := r.waitingHello(data)
			rude, _ := r.waitingHello(data)
			gone.Close()
			reset(rude)
			for range 2 { // whichever is heard of first
				r.until("a session ends", func() bool { return len(r.ended) > r.checked })
				r.checked++
			}
			reasons := []Reason{r.ended[0].Reason, r.ended[1].Reason}
			slices.Sort(reasons)
			if !slices.Equal(reasons, []Reason{ClientClosed, ClientReset}) {
				t.Errorf("those that left while they waited ended with %v", reasons)
			}
			r.now += 10 * time.Second
			full[client].Close()
			full[server].Close()
			r.expectEnd(ClientClosed)

			ends := r.arrive(second, 0, header, data)
			r.answered(ends)
			reset(second)
			if end := r.expectEnd(ClientReset); end.Waited != 10*time.Second || end.Retries != 0 ||
				end.ServerName != shopName {
				t.Errorf("ended with %+v, want 10s waited", end)
			}
		})
	}
}

// Every backend of the pool fails a session. Where they have said that they speak TLS it waits for
// the next round, and then brings the same again. Others that hang up on a hello would do so again.
func TestRouteQueueAfterFailures(t *testing.T) {
	for _, way := range helloWays {
		t.Run(way.name, func(t *testing.T) {
			r := newHelloRig(t, way, 2, rigConfig{retries: 1, queueMax: 9, queueTimeout: time.Minute})
			hello := hellotest.InRecords(hellotest.Valid)
			c, header := r.begin()
			r.put(c, r.opening(hello))
			for i := range 2 {
				s := r.arrive(c, i, header, hello)[server]
				r.untilAnswering()
				s.Close()
			}
			if way.preface == nil {
				if end := r.expectEnd(ServerReset); end.Retries != 1 || end.Waited != 0 || end.Backend != "shop1" {
					t.Errorf("ended with %+v, want 1 retry and no wait", end)
				}
				r.expect(c, tlshello.AlertInternalError.Record())
				r.expectFIN(c)
				return
			}
			r.until("it waits", func() bool { return r.pools["shop"].Waiting() == 1 })
			r.now += turnaround + tick
			ends := r.arrive(c, 0, header, hello)
			r.answered(ends)
			reset(c)
			if end := r.expectEnd(ClientReset); end.Retries != 2 || end.Waited < turnaround || end.Backend != "shop0" {
				t.Errorf("ended with %+v, want 2 retries", end)
			}
		})
	}
}
