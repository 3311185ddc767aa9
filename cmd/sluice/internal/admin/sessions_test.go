package admin

import (
	"encoding/json"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/l4"
)

// someSessions are open sessions in no order.
func someSessions() []l4.SessionStats {
	return []l4.SessionStats{
		{
			ID: 2, Listener: "web", Pool: "shop", Backend: "a", State: "relaying",
			Client: netip.MustParseAddrPort("192.0.2.1:1000"), ServerName: "shop.example.com", UniqueID: "u-2",
			Age: 2500 * time.Millisecond, Idle: 1234567 * time.Nanosecond, Received: 10, Sent: 20,
		},
		{ID: 1, Listener: "web", Pool: "shop", Backend: "b", State: "relaying",
			Client: netip.MustParseAddrPort("192.0.2.2:1000"), Age: time.Hour},
		{ID: 3, Listener: "web", State: "read_hello", Client: netip.MustParseAddrPort("[2001:db8::1]:1000"), Age: time.Second},
		{ID: 4, Listener: "local", Pool: "mail", Backend: "a", State: "connecting", Age: time.Millisecond},
	}
}

// atMost is l4.Server.Sessions for these sessions.
func atMost(all []l4.SessionStats) func(int) []l4.SessionStats {
	return func(limit int) []l4.SessionStats { return slices.Clone(all[:min(limit, len(all))]) }
}

func TestSessions(t *testing.T) {
	o := options(newPool(t, "shop", "a", "b"))
	o.Sessions = atMost(someSessions())
	_, tcp, socket := serve(t, o)
	f := func(query string, complete bool, want ...uint64) {
		t.Helper()
		for _, c := range []*client{tcp, socket} {
			answer, body := c.do("GET", "/api/v1/sessions"+query)
			var got Sessions
			if err := json.Unmarshal([]byte(body), &got); err != nil || answer.StatusCode != 200 || got.Sessions == nil {
				t.Fatalf("%s: %s, %v\n%s", query, answer.Status, err, body)
			}
			var ids []uint64
			for _, s := range got.Sessions {
				ids = append(ids, s.ID)
			}
			if !slices.Equal(ids, want) || got.Complete != complete {
				t.Errorf("%q: sessions %v, complete: %t; want %v, %t", query, ids, got.Complete, want, complete)
			}
		}
	}
	f("", true, 1, 2, 3, 4) // the oldest first
	f("?limit=4", true, 1, 2, 3, 4)
	f("?limit=1&listener=web", false, 1)
	f("?listener=web", true, 1, 2, 3)
	f("?pool=mail", true, 4)
	f("?backend=a", true, 2, 4)
	f("?backend=a&listener=web", true, 2)
	f("?client=192.0.2.1", true, 2)
	f("?client=192.0.2.0/24", true, 1, 2)
	f("?client=::ffff:192.0.2.2", true, 1)
	f("?client=::ffff:192.0.2.0/120", true, 1, 2)
	f("?client=2001:db8::/32", true, 3)
	f("?listener=nobody", true)
}

func TestSessionFields(t *testing.T) {
	o := options(newPool(t, "shop", "a"))
	o.Sessions = atMost(someSessions()[:1])
	_, tcp, _ := serve(t, o)
	_, body := tcp.do("GET", "/api/v1/sessions")
	expectJSON(t, "a session", body, `{"sessions": [{
		"id": 2, "listener": "web", "pool": "shop", "backend": "a", "state": "relaying",
		"client": "192.0.2.1:1000", "server_name": "shop.example.com", "unique_id": "u-2", "age_seconds": 2.5,
		"idle_seconds": 0.001, "received_bytes": 10, "sent_bytes": 20}], "complete": true}`)
	o.Sessions = atMost(someSessions()[3:])
	_, tcp, _ = serve(t, o)
	_, body = tcp.do("GET", "/api/v1/sessions")
	expectJSON(t, "a session without names", body, `{"sessions": [{
		"id": 4, "listener": "local", "pool": "mail", "backend": "a", "state": "connecting", "client": "unix",
		"age_seconds": 0.001, "idle_seconds": 0, "received_bytes": 0, "sent_bytes": 0}], "complete": true}`)
}

// TestSessionsAreBounded: however many are open, one answer asks for, and has, only so many.
func TestSessionsAreBounded(t *testing.T) {
	many := make([]l4.SessionStats, maxScanned+1)
	for i := range many {
		many[i] = l4.SessionStats{ID: uint64(i), Listener: "web"}
	}
	f := func(q sessionQuery, scan, want int) {
		t.Helper()
		asked := 0
		answer := q.answer(func(limit int) []l4.SessionStats {
			asked = limit
			return atMost(many)(limit)
		})
		if asked != scan || len(answer.Sessions) != want || answer.Complete {
			t.Errorf("%+v: %d asked for, %d sessions, complete: %t; want %d, %d, false", q, asked, len(answer.Sessions),
				answer.Complete, scan, want)
		}
	}
	f(sessionQuery{limit: defaultSessions}, defaultSessions+1, defaultSessions)
	f(sessionQuery{limit: maxSessions}, maxSessions+1, maxSessions)
	f(sessionQuery{limit: 5, listener: "web"}, maxScanned, 5)
	f(sessionQuery{limit: 5, listener: "other"}, maxScanned, 0) // there may be some among the rest
}

func TestSessionQueryIsStrict(t *testing.T) {
	_, tcp, _ := serve(t, options(newPool(t, "shop", "a")))
	f := func(query, want string) {
		t.Helper()
		if answer, got := tcp.do("GET", "/api/v1/sessions?"+query); answer.StatusCode != 400 || got != want+"\n" {
			t.Errorf("%s: %s %q, want 400 %q", query, answer.Status, got, want)
		}
	}
	f("limit=0", `limit="0": want a number from 1 to 10000`)
	f("limit=10001", `limit="10001": want a number from 1 to 10000`)
	f("limit=x", `limit="x": want a number from 1 to 10000`)
	f("limit=", `limit="": want a number from 1 to 10000`)
	f("pool=a&pool=b", "pool: want one value")
	f("pool=", "pool: want one value")
	f("client=example.com", `client="example.com": want an address, or a network such as 192.0.2.0/24`)
	f("idle=5", `unknown parameter "idle": want limit, listener, pool, backend or client`)
}

// TestSessionsOneAtATime: a client that asks often must not stop the event loops often.
func TestSessionsOneAtATime(t *testing.T) {
	o := options(newPool(t, "shop", "a"))
	var asking, asked atomic.Int32
	o.Sessions = func(int) []l4.SessionStats {
		if n := asking.Add(1); n > 1 {
			t.Errorf("%d at a time", n)
		}
		runtime.Gosched()
		asking.Add(-1)
		asked.Add(1)
		return nil
	}
	_, tcp, _ := serve(t, o)
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() { tcp.do("GET", "/api/v1/sessions") })
	}
	clients.Wait()
	if n := asked.Load(); n != 16 {
		t.Errorf("%d of 16 requests asked", n)
	}
}
