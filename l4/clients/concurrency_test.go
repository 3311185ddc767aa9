package clients

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Many loops admit and end sessions of the same clients, among many others that
// come once, while limits change and statistics are read.
func TestClientsConcurrently(t *testing.T) {
	const loops, limit, table = 16, 5, 8192
	f := func(name string, othersStay bool, want Stats) {
		t.Helper()
		p := &crowd{T: t, c: New(Limits{Sessions: limit, Table: table}), limit: limit, othersStay: othersStay}
		var all, readers sync.WaitGroup
		stop := make(chan struct{})
		readers.Go(func() { readStats(p.c, stop) })
		for loop := range uint32(loops) {
			all.Go(func() { p.act(loop) })
		}
		all.Wait()
		close(stop)
		readers.Wait()
		p.c.check(t)
		for n := range p.held {
			if sessions, _ := p.c.known(ipv4(uint32(n))); sessions != 0 {
				t.Errorf("%s: client %d has %d sessions in the end", name, n, sessions)
			}
		}
		stats := p.c.Stats()
		stats.Forgotten, stats.Untracked = 0, min(stats.Untracked, 1) // as chance has it
		if stats != want {
			t.Errorf("%s: stats %+v, want %+v", name, stats, want)
		}
	}
	f("others leave", false, Stats{Table: table})
	f("others stay", true, Stats{Table: table, Busy: table, Sessions: table, Untracked: 1})
}

// A crowd is 100 clients on many loops.
type crowd struct {
	*testing.T
	c          *Table
	limit      int64
	othersStay bool
	// held counts the sessions of a client from after admit to before leave, so it
	// may lag behind the table but never passes the limit.
	held [100]atomic.Int64
}

// act is what one loop does.
func (p *crowd) act(loop uint32) {
	rnd := rand.New(rand.NewPCG(uint64(loop), 1))
	var open []int
	leave := func(i int) {
		p.held[open[i]].Add(-1)
		p.c.Leave(ipv4(uint32(open[i])))
		open[i] = open[len(open)-1]
		open = open[:len(open)-1]
	}
	for i := range uint32(2000) {
		n := rnd.IntN(1 + rnd.IntN(len(p.held))) // some come more often
		if p.c.Admit(ipv4(uint32(n)), time.Hour) == Admitted {
			open = append(open, n)
			if k := p.held[n].Add(1); k > p.limit {
				p.Errorf("client %d has %d sessions", n, k)
			}
		}
		for len(open) > 0 && rnd.IntN(3) > 0 {
			leave(rnd.IntN(len(open)))
		}
		if other := inNetwork(loop<<16 | i); p.c.Admit(other, time.Hour) == Admitted && !p.othersStay {
			p.c.Leave(other)
		}
	}
	for len(open) > 0 {
		leave(0)
	}
}

// readStats reads statistics until stop is closed.
func readStats(c *Table, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		c.Stats()
	}
}

// Loops read their clocks at different times, so the table sees time go back and forth by a little. A client still
// begins no more sessions than its burst and the rate allow from the first of all times to the last.
func TestRateOfManyLoops(t *testing.T) {
	const loops, clients, skew, length = 8, 20, 50 * time.Millisecond, 2 * time.Second
	limits := Limits{Sessions: 1 << 20, Rate: 100, Burst: 10}
	c := New(limits)
	var begun [clients]atomic.Int64
	var all sync.WaitGroup
	for loop := range loops {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(loop), 1))
			for elapsed := time.Duration(0); elapsed < length; elapsed += time.Millisecond {
				now := time.Hour + elapsed + time.Duration(rnd.Int64N(int64(skew)))
				for range clients {
					n := rnd.IntN(clients)
					if c.Admit(ipv4(uint32(n)), now) == Admitted {
						begun[n].Add(1)
						c.Leave(ipv4(uint32(n)))
					}
				}
			}
		})
	}
	all.Wait()
	c.check(t)
	for n := range begun {
		// Loops that run apart from each other lose some of what is allowed.
		most := int64(limits.Burst) + int64(limits.Rate*(length+skew).Seconds())
		if got := begun[n].Load(); got > most || got < int64(limits.Burst) {
			t.Errorf("client %d began %d sessions, want at most %d", n, got, most)
		}
	}
}

func TestClientsAllocateNothing(t *testing.T) {
	f := func(name string, limits Limits, addr func(i uint32) netip.Addr) {
		t.Helper()
		c, i := New(limits), uint32(0)
		if n := testing.AllocsPerRun(5000, func() {
			i++
			if a := addr(i); c.Admit(a, time.Duration(i)*time.Millisecond) == Admitted {
				c.Leave(a)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per session, want none", name, n)
		}
	}
	f("one client", Limits{Sessions: 2, Rate: 10}, func(uint32) netip.Addr { return ipv4(1) })
	f("new clients", Limits{Sessions: 2, Rate: 10}, ipv4)
	f("new networks, small table", Limits{Sessions: 2, Rate: 10, Table: 100}, inNetwork)
	f("a rate alone", Limits{Rate: 10, Table: 100}, func(i uint32) netip.Addr { return ipv4(i % 150) })
}

// BenchmarkClients is a session that is admitted and leaves.
func BenchmarkClients(b *testing.B) {
	const step = 100 * time.Microsecond
	limits := Limits{Sessions: 100, Rate: 50, Burst: 100}
	f := func(name string, addr func(i uint32) netip.Addr) {
		b.Run(name, func(b *testing.B) {
			c, now := New(limits), time.Hour
			b.ReportAllocs()
			for i := uint32(0); b.Loop(); i++ {
				now += step
				if a := addr(i); c.Admit(a, now) == Admitted {
					c.Leave(a)
				}
			}
		})
	}
	f("one", func(uint32) netip.Addr { return ipv4(1) })
	f("1000", func(i uint32) netip.Addr { return ipv4(i % 1000) })
	f("50000", func(i uint32) netip.Addr { return ipv4(i * 7919 % 50000) })
	f("flood", ipv4)
	f("flood IPv6", inNetwork)
	b.Run("flood parallel", func(b *testing.B) {
		c := New(limits)
		var loops atomic.Uint32
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			now := time.Hour
			for i := loops.Add(1) << 24; pb.Next(); i++ {
				now += step
				if a := ipv4(i); c.Admit(a, now) == Admitted {
					c.Leave(a)
				}
			}
		})
	})
}
