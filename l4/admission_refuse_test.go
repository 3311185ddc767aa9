package l4

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/l4/clients"
	"sluice/pool"
	"sluice/sysutil/systest"
)

// dialAs is dial from an address of this machine.
func (r *rig) dialAs(ip string) conn {
	r.t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := from.Dial("tcp", r.address().TCP.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.dialled = append(r.dialled, r.keep(c))
	return r.dialled[len(r.dialled)-1]
}

// expectRefused checks that a connection is reset before it was a session, and that it is
// reported once.
func (r *rig) expectRefused(c conn, want Reason) {
	r.t.Helper()
	before := ended(r.srv.Stats(), "", want)
	end := r.expectEnd(want)
	r.expectReset(c, nil)
	r.turns(3)
	client := c.LocalAddr().(*net.TCPAddr).AddrPort()
	if end.Listener != "test" || end.Pool != "" || end.Backend != "" || end.Client != client || end.ID == 0 ||
		end.Sent+end.Received != 0 || end.Duration != 0 || end.Errno != 0 || end.Retries != 0 {
		r.t.Errorf("reported as %+v, want only the listener, the client %v and the reason", end, client)
	}
	if len(r.ended) != r.checked {
		r.t.Errorf("reported more than once: %+v", r.ended)
	}
	// The loop may have counted it before this looked.
	if n := ended(r.srv.Stats(), "", want); n != before && n != before+1 || n == 0 {
		r.t.Errorf("%d ends with %v are counted, %d before", n, want, before)
	}
	if waits := timeWaits(r.t, r.address().TCP.Port(), client.Port()); len(waits) > 0 {
		r.t.Errorf("TIME_WAIT is left: %+v", waits)
	}
}

// ended is how many sessions have ended with a reason, for a pool.
func ended(stats Stats, pool string, reason Reason) (n uint64) {
	for _, e := range stats.Ended {
		if e.Pool == pool && e.Reason == reason {
			n += e.Count
		}
	}
	return n
}

// timeWaits are the sockets between two ports, the one of 127.0.0.1, that are in TIME_WAIT.
func timeWaits(t testing.TB, a, b uint16) []systest.Socket {
	t.Helper()
	return slices.DeleteFunc(systest.Sockets(t, int(a)), func(s systest.Socket) bool {
		return s.State != systest.TimeWait || s.Near != int(b) && s.Far != int(b)
	})
}

// limited is a listener with limits per client.
func limited(limits clients.Limits) func(*ListenerConfig) {
	return func(l *ListenerConfig) { l.PerClient = limits }
}

// prefixes are networks and addresses, apart by spaces.
func prefixes(words string) (list []netip.Prefix) {
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(word, "/") {
			addr := netip.MustParseAddr(word)
			list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		list = append(list, netip.MustParsePrefix(word))
	}
	return list
}

// withAccess is a listener with lists of who may come in.
func withAccess(allow, deny string) func(*ListenerConfig) {
	return func(l *ListenerConfig) { l.Allow, l.Deny = prefixes(allow), prefixes(deny) }
}

// Whom the lists do not let in is reset after accept, whatever the protocol, and costs no
// session.
func TestDeniedAfterAccept(t *testing.T) {
	f := func(name, allow, deny string, admitted, refused []string) {
		t.Helper()
		for _, protocol := range []Protocol{ProtocolTCP, ProtocolPostgres, ProtocolTLS} {
			t.Run(fmt.Sprint(name, ", ", protocol), func(t *testing.T) {
				r := newRig(t, rigConfig{protocol: protocol, listener: withAccess(allow, deny)})
				for _, ip := range refused {
					r.expectRefused(r.dialAs(ip), Denied)
				}
				if n := r.loop.sessions.size(); n != 0 {
					t.Errorf("there are %d slots for sessions, want none", n)
				}
				for i, ip := range admitted {
					r.dialAs(ip)
					r.until("it is let in", func() bool { return r.srv.Stats().Listeners[0].Sessions == i+1 })
				}
				stats := r.srv.Stats()
				if got := ended(stats, "", Denied); got != uint64(len(refused)) || len(stats.Ended) > 1 {
					t.Errorf("%d are counted as denied, want %d: %+v", got, len(refused), stats.Ended)
				}
				if len(r.ended) != len(refused) {
					t.Errorf("%d ends are reported, want %d", len(r.ended), len(refused))
				}
				if protocol != ProtocolTCP {
					r.expectNobody(r.backend)
				}
			})
		}
	}
	f("nobody is denied", "", "", []string{"127.0.0.1", "127.0.0.2"}, nil)
	f("deny", "", "127.0.0.2", []string{"127.0.0.1", "127.0.0.3"}, []string{"127.0.0.2"})
	f("allow", "127.0.0.2", "", []string{"127.0.0.2"}, []string{"127.0.0.1", "127.0.0.3"})
	f("deny wins", "127.0.0.0/8", "127.0.0.0/30", []string{"127.0.0.4", "127.1.2.3"}, []string{"127.0.0.1", "127.0.0.2"})
	f("everybody is denied", "", "0.0.0.0/0 ::/0", nil, []string{"127.0.0.1", "127.0.0.2"})
	f("only the other family is allowed", "::/0", "", nil, []string{"127.0.0.1"})
}

// A denied connection is refused although its data has come already.
func TestDeniedWithData(t *testing.T) {
	r := newRig(t, rigConfig{listener: withAccess("", "127.0.0.2")})
	c := r.dialAs("127.0.0.2")
	if _, err := c.Write(random(1, 10_000)); err != nil {
		t.Fatal(err)
	}
	r.expectRefused(c, Denied)
	c = r.dialAs("127.0.0.2")
	c.CloseWrite()
	r.expectRefused(c, Denied)
	r.expectNobody(r.backend)
}

// One client has its sessions and no more, others have theirs; a place is free again when a
// session has ended.
func TestClientLimitAfterAccept(t *testing.T) {
	r := newRig(t, rigConfig{listener: limited(clients.Limits{Sessions: 2})})
	open := func(ip string) (ends [2]conn) {
		ends[client] = r.dialAs(ip)
		ends[server] = r.accept()
		r.exchange(ends[client], ends[server], 2)
		return ends
	}
	first := open("127.0.0.1")
	open("127.0.0.1")
	for range 3 {
		r.expectRefused(r.dialAs("127.0.0.1"), ClientLimit)
	}
	open("127.0.0.2")
	open("127.0.0.2")
	r.expectRefused(r.dialAs("127.0.0.2"), ClientLimit)
	r.expectRefused(r.dialAs("127.0.0.1"), ClientLimit)
	stats := r.srv.Stats().Listeners[0]
	if c := stats.Clients; c.Sessions != 4 || c.Busy != 2 || c.Table != clients.DefaultTable ||
		stats.Sessions != 4 || stats.Accepts != 9 {
		t.Errorf("stats %+v, want 4 sessions of 2 clients and 9 accepts", stats)
	}
	r.leave(first)
	open("127.0.0.1")
	r.expectRefused(r.dialAs("127.0.0.1"), ClientLimit)
	if n := r.pool.Backends()[0].Stats().Connects; n != 5 {
		t.Errorf("%d connects to the backend, want 5", n)
	}
}

// Sessions begin as fast as the rate says; who is refused does not push the next one back.
func TestRateLimitedAfterAccept(t *testing.T) {
	r := newRig(t, rigConfig{listener: limited(clients.Limits{Rate: 1, Burst: 2})})
	begin := func(ip string) {
		t.Helper()
		ends := [2]conn{client: r.dialAs(ip)}
		ends[server] = r.accept()
		r.leave(ends)
	}
	begin("127.0.0.1")
	begin("127.0.0.1")
	for range 5 {
		r.expectRefused(r.dialAs("127.0.0.1"), RateLimited)
	}
	begin("127.0.0.2") // another client has a bucket of its own
	r.now += time.Second - time.Millisecond
	r.expectRefused(r.dialAs("127.0.0.1"), RateLimited)
	r.now += time.Millisecond
	begin("127.0.0.1")
	r.expectRefused(r.dialAs("127.0.0.1"), RateLimited)
	if stats := r.srv.Stats().Listeners[0].Clients; stats.Sessions != 0 || stats.Busy != 0 {
		t.Errorf("stats %+v: without a limit of sessions none is counted", stats)
	}
}

// What refuses first does not cost what comes after: a denied connection takes nothing from
// the bucket, and neither does one beyond the limit of sessions.
func TestRefusalsAreIndependent(t *testing.T) {
	r := newRig(t, rigConfig{listener: func(l *ListenerConfig) {
		l.PerClient = clients.Limits{Sessions: 1, Rate: 0.001, Burst: 2}
		l.Deny = prefixes("127.0.0.0/8")
	}})
	for range 3 {
		r.expectRefused(r.dial(), Denied)
	}
	r.setAccess(nil, nil)
	ends := r.pair()
	for range 3 {
		r.expectRefused(r.dial(), ClientLimit)
	}
	r.leave(ends)
	r.leave(r.pair())
	r.expectRefused(r.dial(), RateLimited)
}

// A Unix client has no address to be judged by.
func TestUnixClientsAreNotLimited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front")
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: path}}, listener: func(l *ListenerConfig) {
		l.Deny = prefixes("0.0.0.0/0 ::/0")
		l.PerClient = clients.Limits{Sessions: 1, Rate: 0.001, Burst: 1}
	}})
	for range 3 {
		r.pair()
	}
	stats := r.srv.Stats().Listeners[0]
	if c := stats.Clients; stats.Sessions != 3 || c.Sessions != 0 || c.Untracked != 0 {
		t.Errorf("stats %+v, want 3 sessions that are nobody's", stats)
	}
}

// A connection that is refused gives its descriptor back at once, as many as come.
func TestRefusedFlood(t *testing.T) {
	const n = 500
	r := newRig(t, rigConfig{listener: limited(clients.Limits{Sessions: 1}), maxSessions: 2})
	kept := r.pair()
	for range n / 20 {
		var batch []conn
		for range 20 {
			batch = append(batch, r.dial())
		}
		for range batch {
			r.expectEnd(ClientLimit)
		}
		for _, c := range batch {
			c.Close()
		}
		r.dialled = r.dialled[:1]
	}
	stats := r.srv.Stats()
	listener := stats.Listeners[0]
	if got := ended(stats, "", ClientLimit); got != n || listener.Accepts != n+1 || listener.Sessions != 1 {
		t.Errorf("%d refused of %+v, want %d", got, listener, n)
	}
	ids := map[uint64]bool{}
	for _, e := range r.ended {
		ids[e.ID] = true
	}
	if len(ids) != n || len(r.ended) != n {
		t.Errorf("%d reports with %d numbers, want %d", len(r.ended), len(ids), n)
	}
	r.exchange(kept[client], kept[server], 3)
	if n := r.srv.places.taken.Load(); n != 1 {
		t.Errorf("%d places are taken, want 1", n)
	}
}

// IPv4 clients of a socket for both families are what they are.
func TestRefusedOnWildcard(t *testing.T) {
	r := newRig(t, rigConfig{
		bind:     []pool.Address{{TCP: netip.AddrPortFrom(netip.Addr{}, 0)}},
		listener: withAccess("", "127.0.0.0/8"),
	})
	port := r.address().TCP.Port()
	c := r.keep(must(net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))))
	r.expectEnd(Denied)
	r.expectReset(c, nil)
	c = r.keep(must(net.Dial("tcp", fmt.Sprint("[::1]:", port))))
	r.exchange(c, r.accept(), 2)
	r.setAccess(nil, prefixes("::/0"))
	c = r.keep(must(net.Dial("tcp", fmt.Sprint("[::1]:", port))))
	r.expectEnd(Denied)
	r.expectReset(c, nil)
	c = r.keep(must(net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))))
	r.exchange(c, r.accept(), 2)
}
