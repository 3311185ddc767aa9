package l4

import (
	"cmp"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"sluice/l4/clients"
	"sluice/pool"
)

// sent returns what another process gets of a value.
func sent[T any](t *testing.T, value T) (there T) {
	t.Helper()
	if err := json.Unmarshal(must(json.Marshal(value)), &there); err != nil {
		t.Fatal(err)
	}
	return there
}

// handedListener is a listener that some tests hand over, at a limit.
func handedListener(p *pool.Pool, sessions int) ListenerConfig {
	return ListenerConfig{Name: "test", Bind: []pool.Address{anyPort}, MaxSessions: sessions, Target: Target{Pool: p}}
}

// succeed starts a server that takes over from one that departs, and accepts.
func succeed(t *testing.T, d *Departure, c Config) *Server {
	t.Helper()
	c.Loops, c.Hold, c.Inherited, c.Logger = cmp.Or(c.Loops, 2), true, handed(t, d.srv), slog.New(slog.NewTextHandler(io.Discard, nil))
	second := must(New(c))
	if err := second.Assume(sent(t, d.Account())); err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	if err := second.Accept(); err != nil {
		t.Fatal(err)
	}
	return second
}

// Sessions that the first server still has count against the limits of the second, of the listener and of all of them, and
// in what it says of itself. Each that ends makes room, also when the second one's sockets rest.
func TestSessionsElsewhereCount(t *testing.T) {
	for _, limit := range []string{"listener", "process", "backend"} {
		t.Run(limit, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			address := tcpAddress(backend.Addr())
			config := handedListener(newQueuePool(t, 2, 0, 9, address), 0)
			first := startServer(t, 2, config.Target.Pool, config, nil)
			var open []net.Conn
			for range 2 {
				open = append(open, dialEcho(t, first))
			}
			next := handedListener(newQueuePool(t, 2, 0, 9, address), 0)
			c := Config{}
			switch limit {
			case "listener":
				next.MaxSessions = 2
			case "process":
				c.MaxSessions = 2
			case "backend":
				next.Target.Pool = newQueuePool(t, 2, 2, 9, address)
			}
			c.Listeners = []ListenerConfig{next}
			d := depart(t, first)
			waits := dialAddress(t, first.Stats().Listeners[0].Addresses[0])
			second := succeed(t, d, c)
			stats := func() ListenerStats { return second.Stats().Listeners[0] }
			own := 0 // sessions that the second one has
			if limit == "backend" {
				eventually(t, "it waits for a slot", func() bool { return next.Target.Pool.Stats().Waiting == 1 })
				own = 1
			} else {
				eventually(t, "it rests at the limit", func() bool { return stats().Resting && stats().AtLimit })
			}
			if s := stats(); s.Sessions != 2+own || s.Elsewhere != 2 || second.Stats().Elsewhere != 2 {
				t.Errorf("%d sessions, %d and %d elsewhere", s.Sessions, s.Elsewhere, second.Stats().Elsewhere)
			}
			open[0].Close()
			eventually(t, "the session ends", func() bool { return d.Left() == 1 })
			if err := second.Expect(sent(t, d.Remaining())); err != nil {
				t.Fatal(err)
			}
			exchange(t, waits, "second")
			if s := stats(); s.Sessions != 2 || s.Elsewhere != 1 || s.AtLimit != (limit != "backend") {
				t.Errorf("%d sessions, %d elsewhere, at limit: %v", s.Sessions, s.Elsewhere, s.AtLimit)
			}
			if n := next.Target.Pool.Backends()[0].Active(); n != 2 {
				t.Errorf("the backend has %d sessions", n)
			}
			open[1].Close()
			waits.Close()
			d.Finish()
			if err := first.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := second.Expect(Remaining{}); err != nil {
				t.Fatal(err)
			}
			second.Own()
			eventually(t, "nothing is left", func() bool {
				return stats().Sessions == 0 && second.places.taken.Load() == 0 && next.Target.Pool.Backends()[0].Active() == 0
			})
			shutDown(t, second)
		})
	}
}

// What each client has open and what is left of its burst counts in the second server, until its sessions in the first
// one have ended.
func TestClientsElsewhere(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	config := handedListener(newPool(t, 2, 0, tcpAddress(backend.Addr())), 0)
	config.PerClient = clients.Limits{Sessions: 2}
	first := startServer(t, 2, config.Target.Pool, config, nil)
	open := []net.Conn{dialEcho(t, first), dialEcho(t, first)}
	d := depart(t, first)
	second := succeed(t, d, Config{Listeners: []ListenerConfig{config}})
	at := pool.Address{TCP: second.Stats().Listeners[0].Addresses[0].TCP}
	knock := func() { // it may be reset before the connect returns
		if c, err := net.Dial("tcp", at.TCP.String()); err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	refused := func() uint64 {
		for _, e := range second.Stats().Ended {
			if e.Reason == ClientLimit {
				return e.Count
			}
		}
		return 0
	}
	knock()
	eventually(t, "a third session is refused", func() bool { return refused() == 1 })
	open[0].Close()
	eventually(t, "one ends", func() bool { return d.Left() == 1 })
	if err := second.Expect(sent(t, d.Remaining())); err != nil {
		t.Fatal(err)
	}
	third := dialAddress(t, at)
	exchange(t, third, "second")
	knock()
	eventually(t, "one more is refused", func() bool { return refused() == 2 })
	third.Close()
	open[1].Close()
	eventually(t, "the last one ends", func() bool { return d.Left() == 0 })
	if err := second.Expect(sent(t, d.Remaining())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody has a session", func() bool { return second.Stats().Listeners[0].Clients.Sessions == 0 })
	d.Finish()
	second.Own()
	shutDown(t, first)
	shutDown(t, second)
}

// No session of the second server has the ID of one of the first, whatever the numbers of their loops, and both name
// them alike to backends.
func TestIDsAfterHandOver(t *testing.T) {
	for loops := 1; loops <= 5; loops++ {
		first := must(New(Config{Loops: 3}))
		largest := uint64(0)
		for i, l := range first.loops {
			for range 10 * (i + 1) {
				largest = max(largest, l.nextID())
			}
		}
		d := depart(t, first)
		account := sent(t, d.Account())
		second := must(New(Config{Loops: loops}))
		if err := second.Assume(account); err != nil {
			t.Fatal(err)
		}
		for _, l := range second.loops {
			if id := l.nextID(); id <= largest || id > largest+2*uint64(loops) {
				t.Errorf("%d loops: a session has ID %d after one of %d", loops, id, largest)
			}
		}
		if first.uniqueIDs != second.uniqueIDs {
			t.Errorf("unique IDs begin with %x and %x", first.uniqueIDs, second.uniqueIDs)
		}
		for _, bad := range []string{"", "12", "zz00000000000000"} {
			account.UniqueIDs = bad
			if err := second.Assume(account); err == nil {
				t.Errorf("unique ID %q is taken", bad)
			}
		}
		d.Finish()
		first.Close()
		second.Close()
	}
}

// What strangers and clients may send of cancel requests is what they might in the first server.
func TestCancelLimitsAfterHandOver(t *testing.T) {
	config := handedListener(newPool(t, 2, 0, pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:1")}), 0)
	config.Protocol = ProtocolPostgres
	first := must(New(Config{Loops: 2, Listeners: []ListenerConfig{config}}))
	defer first.Close()
	limits := first.listeners()[0].rules.Load().cancels
	client := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }
	for n := range strangerBurst {
		limits.admit(client(n/cancelBurst), true, first.clock())
	}
	d := depart(t, first)
	defer d.Abandon()
	second := must(New(Config{Loops: 2, Listeners: []ListenerConfig{config}, Inherited: handed(t, first)}))
	defer second.Close()
	if err := second.Assume(sent(t, d.Account())); err != nil {
		t.Fatal(err)
	}
	limits = second.listeners()[0].rules.Load().cancels
	if debt := limits.debt(second.clock()); debt <= 0 || debt > strangerBurst*1e9/strangerRate {
		t.Errorf("strangers wait for %v", debt)
	}
	account, n := limits.clients.Account(second.clock(), 10)
	if n != 2 {
		t.Errorf("%d clients have sent cancel requests (%x), want 2", n, account.Clients)
	}
}

// No sum goes backwards when a server goes on where another one has stopped, also when the sums come in two parts; what
// the second one has no place for is dropped.
func TestCountersAfterHandOver(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	config := handedListener(newPool(t, 2, 0, tcpAddress(backend.Addr())), 0)
	config.PerClient = clients.Limits{Sessions: 4}
	first := startServer(t, 2, config.Target.Pool, config, nil)
	for range 3 {
		dialEcho(t, first).Close()
	}
	open := dialEcho(t, first)
	eventually(t, "three have ended", func() bool { return first.sessionCount() == 1 })
	d := depart(t, first)
	second := succeed(t, d, Config{Listeners: []ListenerConfig{config}})
	dialEcho(t, second).Close()
	eventually(t, "one has ended", func() bool { return second.sessionCount() == 0 && endedTotal(second.Stats()) == 1 })
	first.listeners()[0].rules.Load().clients.AddCounters(7, 8)
	counters := sent(t, first.Counters())
	counters.Listeners = append(counters.Listeners, ListenerCounters{Name: "gone", Accepts: 99})
	counters.Listeners[0].Pools = append(counters.Listeners[0].Pools, TargetCounters{Pool: "gone", Retries: 99})
	counters.Listeners[0].Ended = map[string]uint64{"unheard_of": 99}
	second.AddCounters(counters)
	check := func(accepts, ended uint64) {
		t.Helper()
		stats := second.Stats()
		l := stats.Listeners[0]
		if len(stats.Listeners) != 1 || l.Accepts != accepts || endedTotal(stats) != ended || l.Clients.Forgotten != 7 || l.Clients.Untracked != 8 {
			t.Errorf("%+v, %+v, want %d accepted and %d ended", stats.Listeners, stats.Ended, accepts, ended)
		}
	}
	check(5, 4)
	d.Finish()
	open.Close()
	eventually(t, "the last one has ended", func() bool { return d.Left() == 0 })
	second.AddCounters(sent(t, first.Counters()))
	check(5, 5)
	second.Own()
	shutDown(t, first)
	shutDown(t, second)
}

// A batch that is under way is not left here, but for what comes back of it.
func TestRemainingWithoutBatch(t *testing.T) {
	config := handedListener(newPool(t, 2, 0, pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:1")}), 0)
	srv := must(New(Config{Loops: 2, Listeners: []ListenerConfig{config}}))
	defer srv.Close()
	rules, b := srv.listeners()[0].rules.Load(), config.Target.Pool.Backends()[0]
	d := depart(t, srv)
	defer d.Abandon()
	rules.sessions.Add(3)
	for range 3 {
		b.Arrive()
		defer b.Release()
	}
	d.batch = &Batch{sessions: []*frozen{{session: session{rules: rules}}, {session: session{rules: rules, backend: b}}}}
	check := func(r Remaining, sessions, active int) {
		t.Helper()
		if len(r.Listeners) != 1 || len(r.Backends) != 1 || r.Listeners[0].Sessions != sessions || r.Backends[0].Active != active {
			t.Errorf("%+v, want %d sessions, %d slots", r, sessions, active)
		}
	}
	check(d.Remaining(), 1, 2)
	check(d.Remaining(0), 2, 2)
	check(d.Remaining(1), 2, 3)
	d.batch.sessions = nil
	check(d.Remaining(), 3, 3)
}
