package clients

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// succeed makes a table that takes over from another one, which may have counted time from another moment.
func (c *Table) succeed(t *testing.T, limits Limits, then, now time.Duration) *Table {
	t.Helper()
	a, _ := c.Account(then, 1<<20)
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	next := New(limits)
	if err := next.Assume(a, now); err != nil {
		t.Fatal(err)
	}
	return next
}

func (c *Table) follow(t *testing.T, from *Table) {
	t.Helper()
	if err := c.Apply(from.Changes()); err != nil {
		t.Fatal(err)
	}
}

// What a client has left of its burst, and how many sessions it has, is the same in the next process.
func TestAccount(t *testing.T) {
	limits := Limits{Sessions: 2, Rate: 10, Burst: 3}
	c, one, other, third := New(limits), ipv4(1), ipv4(2), netip.MustParseAddr("2001:db8::1")
	then, now := 5*time.Hour, time.Hour
	c.expect(t, then, Admitted, one, one, other, third)
	c.Leave(third)
	next := c.succeed(t, limits, then, now)
	next.expect(t, now, TooManySessions, one)
	next.expect(t, now, Admitted, other, third, third)
	next.expect(t, now, TooManySessions, other)
	next.Leave(third)
	next.expect(t, now, RateLimited, third)
	next.expect(t, now+100*time.Millisecond, Admitted, third)
	next.check(t)
}

// Sessions that are elsewhere count until they end there, and once when they have come. One that begins there counts too.
func TestSessionsElsewhere(t *testing.T) {
	limits := Limits{Sessions: 2}
	c, one := New(limits), ipv4(1)
	c.expect(t, 0, Admitted, one, one)
	next := c.succeed(t, limits, 0, 0)
	c.Leave(one)
	next.expect(t, 0, TooManySessions, one)
	next.follow(t, c)
	next.expect(t, 0, Admitted, one)
	next.Leave(one)
	c.expect(t, 0, Admitted, one)
	next.follow(t, c)
	next.expect(t, 0, TooManySessions, one)
	c.Depart(one)
	if !next.Arrive(one) {
		t.Error("a session that was expected is not counted")
	}
	next.follow(t, c)
	next.expect(t, 0, TooManySessions, one)
	next.Settle() // the last one has ended with its process
	next.expect(t, 0, Admitted, one)
	if next.Arrive(one) || next.Arrive(netip.Addr{}) {
		t.Error("a session that nobody expects is counted")
	}
	next.Leave(one)
	next.Leave(one)
	if got := next.Stats(); got.Sessions != 0 || got.Busy != 0 {
		t.Errorf("stats %+v", got)
	}
	c.Forget()
	c.Leave(one)
	if changes := c.Changes(); len(changes) > 0 {
		t.Errorf("changes %x that nobody has asked for", changes)
	}
}

// Clients that are other networks in the next process are not counted there; nor are those for whom it has no place, and
// those who have the most to lose are let in first.
func TestAccountDoesNotFit(t *testing.T) {
	c := New(Limits{Sessions: 1, Rate: 1, Burst: 5})
	c.expect(t, 0, Admitted, addrs(1, 4)...)
	c.Leave(ipv4(1))
	other := c.succeed(t, Limits{Sessions: 1, IPv6Prefix: 56}, 0, 0)
	if got := other.Stats(); got.Sessions != 0 {
		t.Errorf("stats with another prefix: %+v", got)
	}
	small := c.succeed(t, Limits{Sessions: 1, Rate: 1, Burst: 5, Table: 1}, 0, 0)
	if got := small.Stats(); got.Sessions != 1 || got.Untracked != 1 {
		t.Errorf("stats of a small table: %+v", got)
	}
	if small.Arrive(ipv4(2)) == small.Arrive(ipv4(3)) {
		t.Error("one of two is counted, and not the other")
	}
	small.check(t)
	if a, n := c.Account(0, 2); n != 2 || len(a.Clients) != 2*accountSize || bytes.Contains(a.Clients, ipv4key(1)) {
		t.Errorf("the two that have the most to lose of three: %d, %x", n, a.Clients)
	}
	for _, err := range []error{c.Assume(Account{Prefix: 64, Clients: make([]byte, 27)}, 0), c.Apply(make([]byte, 21))} {
		if err == nil {
			t.Error("records that are cut short are taken")
		}
	}
}

func ipv4key(n uint32) []byte { return KeyOf(ipv4(n), 64).append(nil) }

// Whatever happens during a hand-over, the next table counts all sessions in the end, and each process those that it has.
func TestHandOverAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		limits := Limits{Sessions: 4, Table: 12}
		c := New(limits)
		var here, there []netip.Addr // sessions that are counted
		var next *Table
		begin := func(c *Table, list *[]netip.Addr) {
			if addr := ipv4(random.Uint32N(15)); c.Admit(addr, 0) == Admitted {
				*list = append(*list, addr)
			}
		}
		end := func(list *[]netip.Addr) netip.Addr {
			i := random.IntN(len(*list))
			addr := (*list)[i]
			*list = append((*list)[:i], (*list)[i+1:]...)
			return addr
		}
		for range 30 {
			begin(c, &here)
		}
		next = c.succeed(t, limits, 0, 0)
		for step := 0; step < 200 || len(here) > 0; step++ {
			switch n := random.IntN(6); {
			case n == 0 && step < 200:
				begin(c, &here)
			case n == 1:
				begin(next, &there)
			case n == 2 && len(here) > 0:
				c.Leave(end(&here))
			case n == 3 && len(there) > 0:
				next.Leave(end(&there))
			case n >= 4 && len(here) > 0:
				addr := end(&here)
				c.Depart(addr)
				if next.Arrive(addr) {
					there = append(there, addr)
				}
			}
			if random.IntN(3) == 0 {
				next.follow(t, c)
			}
		}
		next.follow(t, c)
		next.check(t)
		c.check(t)
		if a, b := c.Stats().Sessions, next.Stats().Sessions; a != 0 || b < len(there) {
			t.Fatalf("seed %d: %d sessions in the first table, %d in the second, which has %d", seed, a, b, len(there))
		}
		next.Settle()
		if n := next.Stats().Sessions; n != len(there) {
			t.Fatalf("seed %d: %d sessions in the second table, which has %d", seed, n, len(there))
		}
		for _, addr := range there {
			next.Leave(addr)
		}
		next.check(t)
	}
}
