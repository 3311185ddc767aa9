package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
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

// visiting is l4.Server.VisitSessions for these sessions.
func visiting(all []l4.SessionStats) func(context.Context, func([]l4.SessionStats) error) error {
	return func(ctx context.Context, visit func([]l4.SessionStats) error) error {
		for some := range slices.Chunk(all, 3) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := visit(some); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestSessions(t *testing.T) {
	o := options(newPool(t, "shop", "a", "b"))
	o.Visit = visiting(someSessions())
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
	f("", true, 2, 1, 3, 4)
	f("?limit=4", true, 2, 1, 3, 4)
	f("?limit=3", false, 2, 1, 3)
	f("?limit=1&listener=web", false, 2)
	f("?listener=web", true, 2, 1, 3)
	f("?pool=mail", true, 4)
	f("?backend=a", true, 2, 4)
	f("?backend=a&listener=web", true, 2)
	f("?client=192.0.2.1", true, 2)
	f("?client=192.0.2.0/24", true, 2, 1)
	f("?client=::ffff:192.0.2.2", true, 1)
	f("?client=::ffff:192.0.2.0/120", true, 2, 1)
	f("?client=2001:db8::/32", true, 3)
	f("?listener=nobody", true)
	f("?older=1s", true, 2, 1, 3)
	f("?older=2500ms&backend=b", true, 1)
	f("?idle=1ms", true, 2)
	f("?state=connecting", true, 4)
}

func TestSessionFields(t *testing.T) {
	o := options(newPool(t, "shop", "a"))
	o.Visit = visiting(someSessions()[:1])
	_, tcp, _ := serve(t, o)
	_, body := tcp.do("GET", "/api/v1/sessions")
	expectJSON(t, "a session", body, `{"sessions": [{
		"id": 2, "listener": "web", "pool": "shop", "backend": "a", "state": "relaying",
		"client": "192.0.2.1:1000", "server_name": "shop.example.com", "unique_id": "u-2", "age_seconds": 2.5,
		"idle_seconds": 0.001, "received_bytes": 10, "sent_bytes": 20}], "complete": true}`)
	o.Visit = visiting(someSessions()[3:])
	_, tcp, _ = serve(t, o)
	_, body = tcp.do("GET", "/api/v1/sessions")
	expectJSON(t, "a session without names", body, `{"sessions": [{
		"id": 4, "listener": "local", "pool": "mail", "backend": "a", "state": "connecting", "client": "unix",
		"age_seconds": 0.001, "idle_seconds": 0, "received_bytes": 0, "sent_bytes": 0}], "complete": true}`)
}

// TestSessionsAreAStream: a hundred thousand are not held as one answer. The client has read some while others are not
// even looked at, and one that leaves ends it.
func TestSessionsAreAStream(t *testing.T) {
	o := options(newPool(t, "shop", "a"))
	read, ended := make(chan struct{}), make(chan error, 1)
	o.Visit = func(ctx context.Context, visit func([]l4.SessionStats) error) error {
		some := make([]l4.SessionStats, 256)
		err := visit(some)
		<-read // would never be, were the answer sent as a whole
		for err == nil {
			err = visit(some)
		}
		ended <- err
		return err
	}
	_, _, socket := serve(t, o)
	c, err := net.Dial("unix", socket.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /api/v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 10<<10)); err != nil {
		t.Fatal(err)
	}
	close(read)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || errors.Is(err, errEnough) {
		t.Errorf("the list ended with %v", err)
	}
}

// TestSessionsOfAnEndedServer: what there is is told, and that there may be more.
func TestSessionsOfAnEndedServer(t *testing.T) {
	o := options(newPool(t, "shop", "a"))
	o.Visit = func(_ context.Context, visit func([]l4.SessionStats) error) error {
		return cmp.Or(visit([]l4.SessionStats{{ID: 7}}), l4.ErrEnded)
	}
	_, tcp, _ := serve(t, o)
	_, body := tcp.do("GET", "/api/v1/sessions")
	var got Sessions
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Complete || len(got.Sessions) != 1 {
		t.Errorf("%v, %s", err, body)
	}
}

func TestSessionQueryIsStrict(t *testing.T) {
	_, tcp, _ := serve(t, options(newPool(t, "shop", "a")))
	f := func(query, want string) {
		t.Helper()
		answer, text := tcp.do("GET", "/api/v1/sessions?"+query)
		var got Failure
		if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != 400 || got.Error != want {
			t.Errorf("%s: %s %q, want 400 %q", query, answer.Status, text, want)
		}
	}
	f("limit=0", `limit="0": want a number, 1 or more`)
	f("limit=x", `limit="x": want a number, 1 or more`)
	f("limit=", `limit: want a value`)
	f("pool=a&pool=b", "pool: want one value")
	f("pool=", "pool: want a value")
	f("client=example.com", `client="example.com": want an address, or a network such as 192.0.2.0/24`)
	f("idle=5", `idle="5": want a time such as 30s, 10m or 2h`)
	f("older=-5s", `older="-5s": want a time such as 30s, 10m or 2h`)
	f("ilde=5s", `unknown parameter "ilde": want limit, listener, pool, backend, client, state, idle or older`)
	f("pool=%zz", `invalid URL escape "%zz"`)
}

// TestSessionsOneAtATime: a client that asks often must not stop the event loops often.
func TestSessionsOneAtATime(t *testing.T) {
	o := options(newPool(t, "shop", "a"))
	var asking, asked atomic.Int32
	o.Visit = func(context.Context, func([]l4.SessionStats) error) error {
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
