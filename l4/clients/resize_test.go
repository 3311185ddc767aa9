package clients

import (
	"net/netip"
	"testing"
	"time"
)

// A client that had a large burst under other limits has no more to wait for than one that
// has just used up that of the new ones.
func TestSlowerRate(t *testing.T) {
	addr, now := netip.MustParseAddr("192.0.2.1"), time.Hour
	c := New(Limits{Rate: 1, Burst: 1000})
	for range 1000 {
		c.Admit(addr, now)
	}
	c.SetLimits(Limits{Rate: 1, Burst: 2})
	f := func(want Verdict) {
		t.Helper()
		if got := c.Admit(addr, now); got != want {
			t.Errorf("after %v: verdict %d, want %d", now-time.Hour, got, want)
		}
	}
	f(RateLimited)
	now += time.Second
	f(Uncounted)
	f(RateLimited)
	c.SetLimits(Limits{Sessions: 1})
	f(Admitted)
	f(TooManySessions)
	c.SetLimits(Limits{Rate: 1, Burst: 1})
	f(Uncounted)
	f(RateLimited)
	c.Leave(addr)
	c.check(t)
}

// A table of another size knows whom it knew, as far as there is room, and everybody who has
// sessions.
func TestResize(t *testing.T) {
	c := New(Limits{Sessions: 2, Table: 4096})
	const clients = 3000
	for n := range uint32(clients) {
		c.Admit(ipv4(n), time.Hour)
		if n%2 == 0 {
			c.Leave(ipv4(n))
		}
	}
	for _, size := range []int{100_000, 2048, 8, 4096} {
		c.SetLimits(Limits{Sessions: 2, Table: size})
		c.check(t)
		stats := c.Stats()
		if stats.Busy != clients/2 || stats.Sessions != clients/2 || stats.Table < max(size-len(c.shards), stats.Busy) {
			t.Errorf("size %d: %+v, want %d with sessions", size, stats, clients/2)
		}
	}
	for n := uint32(1); n < clients; n += 2 {
		c.Leave(ipv4(n))
	}
	c.check(t)
}
