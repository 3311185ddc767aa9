package pool

import (
	"encoding/json"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// handOver makes a pool of a configuration that goes on where another one was, by what travels as JSON.
func handOver(t *testing.T, from *Pool, c Config) *Pool {
	t.Helper()
	text, err := json.Marshal(from.Account())
	if err != nil {
		t.Fatal(err)
	}
	var a Account
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	p.Assume(a)
	return p
}

func TestAssumeStates(t *testing.T) {
	c := Config{Name: "test", Backends: weights(1, 1, 1, 1, 1, 1)}
	c.Backends[3].Backup, c.Backends[5].Unproven = true, true
	old, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	old.Lookup("a").SetUp(false)
	old.Lookup("b").SetEjected(true)
	old.Lookup("c").SetBackup(true)
	old.Lookup("d").SetUp(false)
	old.Lookup("d").SetUp(true)
	old.Lookup("e").SetAdmin(Drain)
	take(old.Lookup("a"))
	take(old.Lookup("e"))
	take(old.Lookup("e"))
	if old.Lookup("e").Depart(); old.Lookup("e").Active() != 2 {
		t.Fatal("a slot is lost")
	}

	next := c
	next.Backends = append(weights(1, 1, 1, 1, 1, 1), BackendConfig{Name: "g", Address: testAddr(6), Weight: 1})
	next.Backends[3].Backup, next.Backends[4].State = true, Drain
	next.Backends[5].Unproven, next.Backends[6].Down = true, true
	p := handOver(t, old, next)
	for _, b := range old.Backends() {
		want := b.Stats()
		if want.Name == "e" {
			want.Active = 1 // the other one had departed
		}
		if got := p.Lookup(b.Name()).Stats(); got != want {
			t.Errorf("%s:\n%+v, was\n%+v", b.Name(), got, want)
		}
	}
	if !p.Lookup("f").Unproven() || p.Lookup("a").Unproven() {
		t.Error("who is unproven has changed")
	}
	if p.Lookup("g").Stats().Up {
		t.Error("g, which is new, is not to begin up")
	}
	wantPanic(t, "release of what is elsewhere", p.Lookup("a").Release)
}

// What the configuration of the successor says otherwise counts, as it does in an Update.
func TestAssumeOtherConfiguration(t *testing.T) {
	old := newPool(t, LeastConn, weights(1, 1, 1, 1))
	a, b, c, d := old.Lookup("a"), old.Lookup("b"), old.Lookup("c"), old.Lookup("d")
	a.SetBackup(true)
	a.SetUp(false)
	take(b)
	take(c)
	take(d)
	c.SetUp(false)
	replace(t, old, weights(1, 1)...) // c and d leave
	changes := func(b *Backend) uint64 { return b.Stats().Changes }

	next := weights(1, 1, 1, 1)
	next[0].Backup, next[0].State = true, Maint
	next[1].Address = testAddr(9)
	next[3].Down = true
	p := handOver(t, old, Config{Name: "test", Backends: next})
	if s := p.Lookup("a").Stats(); !s.Backup || s.State != Maint || s.Up || s.Changes != changes(a)+1 {
		t.Errorf("a, which is in maintenance now: %+v", s)
	}
	if s := p.Lookup("b").Stats(); !s.Up || s.Active != 0 || s.Changes != 0 {
		t.Errorf("b, which is another server now: %+v", s)
	}
	if s := p.Lookup("c").Stats(); s.Up || s.Active != 1 || s.Changes != changes(c) {
		t.Errorf("c, which was removed and is back: %+v", s)
	}
	if s := p.Lookup("d").Stats(); s.Up || s.Active != 1 || s.Changes != changes(d)+1 {
		t.Errorf("d, which is back and is to begin down: %+v", s)
	}
	if got := names(p.All()); got != "a b c d b" || p.All()[4].Address() != b.Address() || p.All()[4].Active() != 1 {
		t.Errorf("all: %s: the old server of b has a session", got)
	}
	p.All()[4].Expect(0)
	if got := names(p.All()); got != "a b c d" {
		t.Errorf("all: %s", got)
	}
}

// A tier that somebody has set stays, unless the configuration has changed.
func TestAssumeTier(t *testing.T) {
	old := newPool(t, LeastConn, weights(1, 1))
	old.Lookup("a").SetBackup(true)
	old.Lookup("b").SetBackup(true)
	next := weights(1, 1)
	next[1].Backup = true
	p := handOver(t, old, Config{Name: "test", Backends: next})
	if !p.Lookup("a").Backup() || !p.Lookup("b").Backup() {
		t.Error("both were backups")
	}
	p = handOver(t, p, Config{Name: "test", Backends: weights(1, 1)})
	if !p.Lookup("a").Backup() || p.Lookup("b").Backup() {
		t.Error("a was set to be a backup, b was configured so and is not any more")
	}
}

// TestAssumeNames: version 1.0 tells which name an address was found by, and of names that have none. It is the address that
// counts; what has none never had a session.
func TestAssumeNames(t *testing.T) {
	c := Config{Name: "test", Backends: weights(1, 1)}
	old := newPool(t, RoundRobin, c.Backends)
	old.Lookup("a").SetUp(false)
	take(old.Lookup("a"))
	account := old.Account()
	account.Backends[0].Host = "a.example"
	account.Backends[1].Host, account.Backends[1].Lost = "b.example", "no such host"
	account.Backends[1].Address = Address{TCP: netip.AddrPortFrom(netip.Addr{}, 80)}
	p := newPool(t, RoundRobin, c.Backends)
	p.Assume(account)
	if a := p.Lookup("a"); a.Stats().Up || a.Active() != 1 {
		t.Errorf("a: %+v", a.Stats())
	}
	if b := p.Lookup("b"); !b.Usable() || len(p.All()) != 2 {
		t.Errorf("b: %+v, %d backends", b.Stats(), len(p.All()))
	}
}

func TestAssumeSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{Name: "test", Backends: weights(1, 1, 1), SlowStart: slowStart}
		old, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		old.Lookup("c").SetUp(false)
		comeBack(old.Lookup("a"))
		time.Sleep(slowStart / 4)
		next := c
		next.Backends = weights(1, 1, 1, 1)
		p := handOver(t, old, next)
		want := func(when string, shares ...int) {
			t.Helper()
			for i, b := range p.Backends() {
				if got := b.Stats().Share; got != shares[i] {
					t.Errorf("%s: share of %s %d, want %d", when, b.Name(), got, shares[i])
				}
			}
		}
		want("at first", 25, 100, 100, 1) // d is new
		p.Lookup("c").SetUp(true)
		want("c came back", 25, 100, 1, 1)
		time.Sleep(slowStart / 4)
		want("later", 50, 100, 25, 25)
		time.Sleep(slowStart / 2)
		want("in the end", 100, 100, 75, 75)

		p = handOver(t, p, Config{Name: "test", Backends: next.Backends})
		want("without a slow start", 100, 100, 100, 100)
	})
}

func TestAssumeTurns(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, LeastConn} {
		for n := range 8 {
			whole := newPool(t, policy, weights(5, 1, 1))
			want := sequence(whole, n) + " " + sequence(whole, 7)
			old := newPool(t, policy, weights(5, 1, 1))
			got := sequence(old, n)
			p := handOver(t, old, Config{Name: "test", Balance: policy, Backends: weights(5, 1, 1)})
			if got += " " + sequence(p, 7); got != want {
				t.Errorf("%v, hand-over after %d: %s, want %s", policy, n, got, want)
			}
		}
	}
	old := newPool(t, RoundRobin, weights(5, 1, 1))
	sequence(old, 1)
	for what, c := range map[string]Config{
		"other weights": {Name: "test", Balance: RoundRobin, Backends: weights(1, 1, 1)},
		"other policy":  {Name: "test", Balance: LeastConn, Backends: weights(5, 1, 1)},
	} {
		p := handOver(t, old, c)
		for _, b := range p.Backends() {
			if b.credit != 0 {
				t.Errorf("%s: %s has a credit of %d", what, b.Name(), b.credit)
			}
		}
	}
	p := handOver(t, old, Config{Name: "test", Balance: RoundRobin, Backends: weights(5, 1)})
	if a, b := p.Lookup("a").credit, p.Lookup("b").credit; a+b != 0 || a == 0 {
		t.Errorf("without c: credits %d and %d, want a sum of 0", a, b)
	}
}

func TestAssumeLeader(t *testing.T) {
	c := Config{Name: "test", Balance: First, NoFailback: true, Backends: weights(1, 1, 1)}
	make := func() *Pool {
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want := func(when string, p *Pool, want string) {
		t.Helper()
		if got := reserve(p); got != want {
			t.Errorf("%s: a session goes to %s, want %s", when, got, want)
		}
	}
	old := make()
	comeBack(old.Lookup("a")) // b has taken over
	p := handOver(t, old, c)
	want("b leads", p, "b")
	p.Lookup("b").SetUp(false)
	want("b is down", p, "a")

	p = handOver(t, old, Config{Name: "test", Balance: First, Backends: weights(1, 1, 1)})
	want("with failback", p, "a")

	less := c
	less.Backends = []BackendConfig{c.Backends[0], c.Backends[2]}
	less.Backends[0].State = Drain
	p = handOver(t, old, less)
	p.Lookup("a").SetAdmin(Ready)
	want("b is removed and c has taken over", p, "c")

	old = newPool(t, First, weights(1, 1, 1))
	old.Lookup("a").SetUp(false)
	take(old.Lookup("b"))
	p = handOver(t, old, c)
	p.Lookup("a").SetUp(true)
	want("b has a session when failback ends", p, "b")
}

func TestAddCounters(t *testing.T) {
	p := newPool(t, LeastConn, weights(1, 1))
	a := p.Lookup("a")
	count := func(b *Backend, n int) {
		for i := range n {
			b.Dialed(DialResult(i % int(numDialResults)))
			b.Obstructed(Obstacles()[i%len(Obstacles())])
			b.AddTraffic(0, 3, 5)
		}
	}
	count(a, 13)
	one := a.Stats()
	text, err := json.Marshal(p.Counters())
	if err != nil {
		t.Fatal(err)
	}
	var counters []BackendCounters
	if err := json.Unmarshal(text, &counters); err != nil {
		t.Fatal(err)
	}
	next := newPool(t, LeastConn, weights(1))
	next.AddCounters(counters)
	if got := next.Lookup("a").Stats(); got != one {
		t.Errorf("stats\n%+v, want\n%+v", got, one)
	}
	count(next.Lookup("a"), 13)
	next.AddCounters(counters) // what was counted there since
	got, want := next.Lookup("a").Stats(), one
	want.Connects, want.Received, want.Sent = 3*one.Connects, 3*one.Received, 3*one.Sent
	for i := range want.ConnectFailures {
		want.ConnectFailures[i] *= 3
	}
	for i := range want.Obstacles {
		want.Obstacles[i] *= 3
	}
	if got != want {
		t.Errorf("stats\n%+v, want\n%+v", got, want)
	}
}

// Carried counters have other writers than the event loops, which must not lose anything by them.
func TestAddCountersWhileCounting(t *testing.T) {
	const n = 2000
	p := newPool(t, LeastConn, weights(1))
	a := p.Lookup("a")
	done := make(chan bool)
	go func() {
		defer close(done)
		for range n {
			a.AddTraffic(0, 1, 1)
			a.Dialed(DialOK)
		}
	}()
	for range n {
		p.AddCounters([]BackendCounters{{Name: "a", Address: a.Address(), Received: 1, Sent: 1, Dials: map[string]uint64{"ok": 1}}})
	}
	<-done
	if s := a.Stats(); s.Received != 2*n || s.Sent != 2*n || s.Connects != 2*n {
		t.Errorf("received %d, sent %d, connects %d, want %d each", s.Received, s.Sent, s.Connects, 2*n)
	}
}
