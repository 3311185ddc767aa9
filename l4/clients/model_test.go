package clients

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// check holds the table against what must be true of it between any two calls.
func (c *Table) check(t *testing.T) {
	t.Helper()
	for i := range c.shards {
		s := &c.shards[i]
		sessions := 0
		for slot := uint32(1); slot <= s.used; slot++ {
			e := &s.entries[slot]
			sessions += int(e.sessions)
			if s.find(e.key, e.hash) != slot {
				t.Errorf("slot %d is not found by its key", slot)
			}
			if e.sessions < 0 || (e.sessions == 0) != (e.place != 0) {
				t.Errorf("slot %d has %d sessions and place %d", slot, e.sessions, e.place)
			}
		}
		for place := uint32(1); place < uint32(len(s.idle)); place++ {
			if s.entries[s.idle[place]].place != place || place > 1 && s.before(s.idle[place], s.idle[place/2]) {
				t.Errorf("idle is not in order at %d", place)
			}
		}
		if sessions != s.sessions || s.entries[0] != (entry{}) {
			t.Errorf("%d sessions are open and %d counted; none is %v", sessions, s.sessions, s.entries[0])
		}
	}
}

// A naiveTable follows the rules without any order in its memory.
type naiveTable struct {
	limits  Limits
	bucket  Bucket
	clients map[netip.Addr]*naiveClient
	stats   Stats
}

type naiveClient struct {
	credit
	sessions int
}

// full is when the bucket of a client is full.
func (n *naiveTable) full(c *naiveClient) time.Duration { return c.at + n.bucket.depth - c.left }

func (n *naiveTable) Admit(addr netip.Addr, now time.Duration) Verdict {
	c := n.clients[addr]
	if c == nil {
		if len(n.clients) >= n.limits.Table && !n.forget(now) {
			n.stats.Untracked++
			return Uncounted
		}
		c = &naiveClient{credit: credit{n.bucket.depth, now}}
		n.clients[addr] = c
	}
	if n.limits.Sessions > 0 && c.sessions >= n.limits.Sessions {
		return TooManySessions
	}
	left := c.refilled(n.bucket, now)
	if left < n.bucket.cost {
		return RateLimited
	}
	c.credit = credit{left - n.bucket.cost, now}
	if n.limits.Sessions == 0 {
		return Uncounted
	}
	c.sessions++
	return Admitted
}

// forget drops the client that loses the least.
func (n *naiveTable) forget(now time.Duration) bool {
	var least netip.Addr
	for addr, c := range n.clients {
		if c.sessions == 0 && (!least.IsValid() || n.full(c) < n.full(n.clients[least])) {
			least = addr
		}
	}
	if !least.IsValid() {
		return false
	}
	if n.full(n.clients[least]) > now {
		n.stats.Forgotten++
	}
	delete(n.clients, least)
	return true
}

// setLimits changes limits as Table.SetLimits does. With the same rate no bucket changes.
func (n *naiveTable) setLimits(limits Limits, now time.Duration) {
	n.limits = limits
	for len(n.clients) > limits.Table && n.forget(now) {
	}
	busy := 0
	for _, c := range n.clients {
		if c.sessions > 0 {
			busy++
		}
	}
	n.limits.Table = max(limits.Table, busy)
}

// Random clients come and go, limits change, and the table agrees with the naive one on every verdict, every count, and
// on who is forgotten. Time never stands still, so that no two buckets are full at the same time.
func TestClientsAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		limits := Limits{Sessions: rnd.IntN(5), Table: 1 + rnd.IntN(40)}
		if rnd.IntN(4) > 0 {
			limits.Rate, limits.Burst = 1+rnd.Float64()*20, 1+rnd.IntN(10)
		}
		if err := limits.Check(); err != nil {
			t.Fatal(err)
		}
		p := &play{
			T: t, rnd: rnd, now: time.Hour, c: New(limits),
			n: &naiveTable{limits: limits, bucket: limits.Bucket(), clients: map[netip.Addr]*naiveClient{}},
		}
		for range 4000 {
			p.act()
		}
		p.compare()
		if t.Failed() {
			t.Fatalf("seed %d, %+v", seed, limits)
		}
	}
}

// play is one run of a table and its model.
type play struct {
	*testing.T
	rnd  *rand.Rand
	now  time.Duration
	c    *Table
	n    *naiveTable
	open []netip.Addr // sessions that must leave
}

func (p *play) act() {
	p.now += 1 + time.Duration(p.rnd.ExpFloat64()*float64(5*time.Millisecond))
	if p.rnd.IntN(200) == 0 {
		limits := p.n.limits
		limits.Sessions, limits.Table = p.rnd.IntN(5), 1+p.rnd.IntN(40)
		p.c.SetLimits(limits)
		p.n.setLimits(limits, p.c.shards[0].now)
		p.compare()
		return
	}
	if k := len(p.open); k > 0 && p.rnd.IntN(5) < 2 {
		i := p.rnd.IntN(k)
		p.c.Leave(p.open[i])
		p.n.clients[p.open[i]].sessions--
		p.open[i] = p.open[k-1]
		p.open = p.open[:k-1]
		return
	}
	addr := ipv4(uint32(p.rnd.IntN(1 + p.rnd.IntN(2*p.n.limits.Table)))) // some come more often
	got, want := p.c.Admit(addr, p.now), p.n.Admit(addr, p.now)
	if got != want {
		p.Fatalf("%v: verdict %d, want %d", addr, got, want)
	}
	if got == Admitted {
		p.open = append(p.open, addr)
	}
	if p.rnd.IntN(50) == 0 {
		p.compare()
	}
}

func (p *play) compare() {
	p.Helper()
	p.c.check(p.T)
	want := p.n.stats
	want.Table, want.Sessions = p.n.limits.Table, len(p.open)
	for addr, client := range p.n.clients {
		if n, ok := p.c.known(addr); !ok || n != client.sessions {
			p.Errorf("%v: %d sessions, known %v, want %d", addr, n, ok, client.sessions)
		}
		if client.sessions > 0 {
			want.Busy++
		}
	}
	if got := p.c.Stats(); got != want {
		p.Errorf("stats %+v, want %+v", got, want)
	}
}
