package clients

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// heapInUse is the live heap, with nothing left for the collector.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// inNetwork is an address in the numbered network of 64 bits.
func inNetwork(n uint32) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 15: 1})
}

// visit begins a session and ends it, and returns how many were admitted.
func (c *Table) visit(addr netip.Addr, now time.Duration) int {
	if c.Admit(addr, now) != Admitted {
		return 0
	}
	c.Leave(addr)
	return 1
}

// A million clients begin a session each within ten seconds, of IPv4 and IPv6 by turns. Meanwhile 1,000 clients hold
// sessions, 1,000 begin five a second, and 1,000 would begin more than they may.
func TestFlood(t *testing.T) {
	const each = 1000
	before := heapInUse()
	limits := Limits{Sessions: 3, Rate: 10, Burst: 20}
	c := New(limits)
	start := time.Hour
	holding, regular, greedy := addrs(0, each), addrs(each, 2*each), addrs(2*each, 3*each)
	for range limits.Sessions {
		c.expect(t, start, Admitted, holding...)
	}
	end := c.flood(t, start, regular, greedy)
	c.expect(t, end, TooManySessions, holding...)
	stats := c.Stats()
	if want := each * limits.Sessions; stats.Sessions != want || stats.Busy != each || stats.Untracked != 0 {
		t.Errorf("stats %+v, want %d sessions of %d clients", stats, want, each)
	}
	if n := (heapInUse() - before) / DefaultTable; n > 49 {
		t.Errorf("the table takes %d bytes per client", n)
	}
	for range limits.Sessions {
		for _, addr := range holding {
			c.Leave(addr)
		}
	}
	if n := c.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions in the end", n)
	}
	c.check(t)
}

// flood returns when it is over. It checks that the regular are never refused, and
// that the greedy get what they may and no more, although they are among a million.
func (c *Table) flood(t *testing.T, start time.Duration, regular, greedy []netip.Addr) (now time.Duration) {
	const flood, step, perGreedy = 1_000_000, 10 * time.Microsecond, 20 + 10*10
	begun := 0
	for i := range flood {
		now = start + time.Duration(i)*step
		other := ipv4(1<<24 + uint32(i))
		if i%2 == 0 {
			other = inNetwork(uint32(i))
		}
		if c.visit(other, now) == 0 {
			t.Fatalf("%v is refused its first session", other)
		}
		if i%20 == 0 && c.visit(regular[i/20%len(regular)], now) == 0 {
			t.Fatalf("%v is refused", regular[i/20%len(regular)])
		}
		if i%4 == 0 {
			begun += c.visit(greedy[i/4%len(greedy)], now)
		}
	}
	if most := perGreedy * len(greedy); begun > most || begun < most-2*len(greedy) {
		t.Errorf("the greedy began %d sessions, want %d", begun, most)
	}
	return now
}

// There is room for the clients of all sessions in a table a quarter larger.
func TestLargeEnoughTable(t *testing.T) {
	for _, sessions := range []uint32{800, 8000, 52_000} {
		c := New(Limits{Sessions: 1, Table: int(sessions + sessions/4)})
		c.expect(t, 0, Admitted, addrs(0, sessions)...)
	}
}

// The others come faster than their buckets fill: so fast that the table cannot
// hold all that lack something. The greedy lack the most, so they stay.
func TestSuddenFlood(t *testing.T) {
	const flood = 200_000
	limits := Limits{Rate: 1, Burst: 5}
	c := New(limits)
	greedy := addrs(0, 1000)
	now := time.Hour
	for range limits.Burst {
		c.expect(t, now, Uncounted, greedy...)
	}
	for i := range uint32(flood) {
		c.expect(t, now, Uncounted, inNetwork(i))
	}
	c.expect(t, now, RateLimited, greedy...)
	if got, want := c.Stats().Forgotten, uint64(flood+len(greedy)-DefaultTable); got != want {
		t.Errorf("%d forgotten, want %d", got, want)
	}
	if n := c.Stats().Untracked; n != 0 {
		t.Errorf("%d sessions untracked", n)
	}
}

// To be forgotten, a client that used up its burst needs as many others as there are places that have used up theirs.
func TestPriceOfBeingForgotten(t *testing.T) {
	const burst, table = 8, 256
	c := New(Limits{Rate: 1, Burst: burst, Table: table})
	greedy, now, price := ipv4(0), time.Hour, 0
	for range burst {
		c.expect(t, now, Uncounted, greedy)
	}
	spend := func(from, to uint32, sessions int) {
		for _, addr := range addrs(from, to) {
			for range sessions {
				c.expect(t, now, Uncounted, addr)
				price++
			}
		}
	}
	spend(1000, 100_000, 1)
	spend(200_000, 210_000, burst-1)
	if _, ok := c.known(greedy); !ok {
		t.Fatalf("forgotten after %d sessions of others", price)
	}
	price = 0
	for other := uint32(300_000); other < 310_000; other++ {
		now++ // of two that lack the same, the older one goes
		spend(other, other+1, burst)
		if _, ok := c.known(greedy); !ok {
			break
		}
	}
	if price < (table-1)*burst {
		t.Errorf("forgotten after %d sessions, want at least %d", price, (table-1)*burst)
	}
}
