package clients

import (
	"net/netip"
	"testing"
	"time"
)

// known returns how many sessions a client has open, and whether the table has an entry for it.
func (c *Table) known(addr netip.Addr) (sessions int, ok bool) {
	key := KeyOf(addr, c.prefix)
	s, hash := c.place(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.find(key, hash)
	return int(s.entries[slot].sessions), slot != 0
}

// expect admits a session of each client and compares the verdicts.
func (c *Table) expect(t *testing.T, now time.Duration, want Verdict, addrs ...netip.Addr) {
	t.Helper()
	for _, addr := range addrs {
		if got := c.Admit(addr, now); got != want {
			t.Errorf("%v at %v: verdict %d, want %d", addr, now, got, want)
		}
	}
}

// addrs are numbered addresses.
func addrs(from, to uint32) (list []netip.Addr) {
	for n := from; n < to; n++ {
		list = append(list, ipv4(n))
	}
	return list
}

func TestClientSessions(t *testing.T) {
	c := New(Limits{Sessions: 2})
	one, other := ipv4(1), ipv4(2)
	c.expect(t, 0, Admitted, one, one, other)
	c.expect(t, 0, TooManySessions, one)
	c.expect(t, time.Hour, TooManySessions, one)
	c.Leave(one)
	c.expect(t, 0, Admitted, one, other)
	c.expect(t, 0, TooManySessions, one, other)
	if got := c.Stats(); got != (Stats{Table: 65536, Busy: 2, Sessions: 4}) {
		t.Errorf("stats %+v", got)
	}
}

func TestClientRate(t *testing.T) {
	c := New(Limits{Rate: 10, Burst: 3})
	one, other := ipv4(1), ipv4(2)
	now := time.Hour
	c.expect(t, now, Uncounted, one, one, one, other)
	c.expect(t, now, RateLimited, one, one)
	c.expect(t, now+99*time.Millisecond, RateLimited, one)
	c.expect(t, now+100*time.Millisecond, Uncounted, one)
	c.expect(t, now+100*time.Millisecond, RateLimited, one)
	// Refusals cost nothing: two tenths of a second later there are two more.
	c.expect(t, now+300*time.Millisecond, Uncounted, one, one)
	c.expect(t, now+300*time.Millisecond, RateLimited, one)
	// A pause grants the burst and no more.
	c.expect(t, now+time.Hour, Uncounted, one, one, one)
	c.expect(t, now+time.Hour, RateLimited, one)
	if got := c.Stats(); got != (Stats{Table: 65536}) {
		t.Errorf("stats %+v", got)
	}
}

// A session that is refused for the number of sessions does not cost a token, and
// one that is refused for the rate is not counted.
func TestClientSessionsAndRate(t *testing.T) {
	c := New(Limits{Sessions: 1, Rate: 1, Burst: 2})
	one := ipv4(1)
	c.expect(t, 0, Admitted, one)
	c.expect(t, 0, TooManySessions, one, one, one)
	c.Leave(one)
	c.expect(t, 0, Admitted, one)
	c.Leave(one)
	c.expect(t, 0, RateLimited, one, one)
	if n, _ := c.known(one); n != 0 {
		t.Errorf("%d sessions, want 0", n)
	}
}

func TestClientIdentity(t *testing.T) {
	f := func(one, other string, same bool) {
		t.Helper()
		c := New(Limits{Sessions: 1})
		c.expect(t, 0, Admitted, netip.MustParseAddr(one))
		want := Admitted
		if same {
			want = TooManySessions
		}
		c.expect(t, 0, want, netip.MustParseAddr(other))
	}
	f("192.0.2.1", "192.0.2.1", true)
	f("192.0.2.1", "::ffff:192.0.2.1", true)
	f("192.0.2.1", "192.0.2.2", false)
	f("192.0.2.1", "::192.0.2.1", false)
	f("192.0.2.1", "0:0:c000:201::", false)
	f("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true)
	f("2001:db8::1", "2001:db8:0:1::1", false)
	f("2001:db8:0:1::", "2001:db8:0:1:8000::", true)
	f("fe80::1%eth0", "fe80::1%eth1", true)
	f("0.0.0.0", "::", false)
}

// A client on a Unix socket is nobody in particular.
func TestClientWithoutAddress(t *testing.T) {
	c := New(Limits{Sessions: 1, Rate: 1})
	c.expect(t, 0, Uncounted, netip.Addr{}, netip.Addr{}, netip.Addr{})
	if got := c.Stats(); got.Untracked != 0 || got.Busy != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestLeaveTwice(t *testing.T) {
	c := New(Limits{Sessions: 2})
	c.expect(t, 0, Admitted, ipv4(1))
	c.Leave(ipv4(1))
	for _, addr := range []netip.Addr{ipv4(1), ipv4(2)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v left without a session, and nobody noticed", addr)
				}
			}()
			c.Leave(addr)
		}()
	}
	c.expect(t, 0, Admitted, ipv4(1)) // no mutex stays locked
}

// New clients take the places of those whose bucket is full, then of those whose
// bucket is full the soonest, and never of those with a session.
func TestForgetting(t *testing.T) {
	c := New(Limits{Sessions: 5, Rate: 1, Burst: 5, Table: 4})
	busy, soon, late, idle := ipv4(1), ipv4(2), ipv4(3), ipv4(4)
	visit := func(now time.Duration, list ...netip.Addr) {
		t.Helper()
		c.expect(t, now, Admitted, list...)
		for _, addr := range list {
			c.Leave(addr)
		}
	}
	know := func(list ...netip.Addr) {
		t.Helper()
		for _, addr := range list {
			if _, ok := c.known(addr); !ok {
				t.Errorf("%v is forgotten", addr)
			}
		}
	}
	now := 100 * time.Second
	visit(now-10*time.Second, idle)
	c.expect(t, now-20*time.Second, Admitted, busy) // its bucket was full long ago
	visit(now, soon, soon, late, late, late)
	know(busy, soon, late, idle)

	visit(now, ipv4(5), ipv4(5), ipv4(5), ipv4(5), ipv4(5)) // for idle, of whom nothing was known
	know(busy, soon, late, ipv4(5))
	if n := c.Stats().Forgotten; n != 0 {
		t.Errorf("%d forgotten, want none", n)
	}
	visit(now, ipv4(6), ipv4(6), ipv4(6), ipv4(6)) // for soon, who lacked 2
	know(busy, late, ipv4(5), ipv4(6))
	if n := c.Stats().Forgotten; n != 1 {
		t.Errorf("%d forgotten, want 1", n)
	}
	visit(now+4*time.Second, ipv4(7)) // for late, whose bucket is full by then
	know(busy, ipv4(5), ipv4(6), ipv4(7))
	if n := c.Stats().Forgotten; n != 1 {
		t.Errorf("%d forgotten, want 1", n)
	}
}

// A table full of clients with sessions lets others in uncounted, counts that, and keeps what it has. An uncounted
// session does not leave, also when its client has got a place since.
func TestFullTable(t *testing.T) {
	c := New(Limits{Sessions: 2, Table: 4})
	c.expect(t, 0, Admitted, addrs(0, 4)...)
	c.expect(t, 0, Uncounted, ipv4(9), ipv4(9), ipv4(9))
	c.expect(t, 0, Admitted, ipv4(3))
	c.expect(t, 0, TooManySessions, ipv4(3))
	if got, want := c.Stats(), (Stats{Table: 4, Busy: 4, Sessions: 5, Untracked: 3}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	c.Leave(ipv4(0))
	c.expect(t, 0, Admitted, ipv4(9), ipv4(9))
	c.expect(t, 0, TooManySessions, ipv4(9))
	c.expect(t, 0, Uncounted, ipv4(0))
	for _, n := range []uint32{9, 9, 3, 3, 2, 1} {
		c.Leave(ipv4(n))
	}
	if got, want := c.Stats(), (Stats{Table: 4, Untracked: 4}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

// Tables of any size have about that many places, and never more.
func TestTableSizes(t *testing.T) {
	for _, n := range []int{1, 2, 3, 255, 512, 1000, 5000, 65536, 100_000} {
		c := New(Limits{Sessions: 1, Table: n})
		if got := c.Stats().Table; got > n || got < n-n/200 {
			t.Errorf("table of %d: %d places", n, got)
		}
		c.expect(t, 0, Admitted, ipv4(1))
		c.check(t)
	}
	if got := New(Limits{}).Stats().Table; got != DefaultTable {
		t.Errorf("%d places by default", got)
	}
}

// How much of an IPv6 address is one client; of IPv4 it is always the whole address.
func TestClientPrefix(t *testing.T) {
	f := func(prefix int, one, other string, same bool) {
		t.Helper()
		c := New(Limits{Sessions: 1, IPv6Prefix: prefix})
		a, b := netip.MustParseAddr(one), netip.MustParseAddr(other)
		c.expect(t, 0, Admitted, a)
		want := Admitted
		if same {
			want = TooManySessions
		}
		c.expect(t, 0, want, b)
		c.Leave(a)
		if !same {
			c.Leave(b)
		}
		if got := c.Stats(); got.Sessions != 0 {
			t.Errorf("/%d: %d sessions in the end", prefix, got.Sessions)
		}
	}
	f(0, "2001:db8::1", "2001:db8::2", true)
	f(0, "2001:db8:0:1::1", "2001:db8::1", false)
	f(64, "2001:db8::1", "2001:db8::ffff:0:0:1", true)
	f(128, "2001:db8::1", "2001:db8::2", false)
	f(128, "2001:db8::1", "2001:db8::1", true)
	f(127, "2001:db8::2", "2001:db8::3", true)
	f(127, "2001:db8::1", "2001:db8::2", false)
	f(65, "2001:db8::1", "2001:db8::8000:0:0:1", false)
	f(48, "2001:db8:0:1::1", "2001:db8:0:2::1", true)
	f(48, "2001:db8:1::1", "2001:db8:2::1", false)
	f(1, "2001:db8::1", "3001::1", true)
	f(32, "192.0.2.1", "192.0.2.2", false)
	f(1, "192.0.2.1", "192.0.2.2", false)
	f(128, "192.0.2.1", "::ffff:192.0.2.1", true)
	f(128, "0.0.0.1", "::1", false)
}
