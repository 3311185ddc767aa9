package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var noClient netip.Addr

// testAddr is an address on loopback; nothing is ever sent there.
func testAddr(i int) Address {
	return Address{TCP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(10000+i))}
}

// weights returns backends a, b, c ... of these weights, without limits.
func weights(ws ...int) []BackendConfig {
	var bs []BackendConfig
	for i, w := range ws {
		bs = append(bs, BackendConfig{Name: backendName(i), Address: testAddr(i), Weight: w})
	}
	return bs
}

func backendName(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return fmt.Sprintf("b%d", i)
}

// position returns where a backend stands in its pool; -1 = it was removed.
func position(b *Backend) int { return slices.Index(b.pool.Backends(), b) }

func newPool(t testing.TB, policy Policy, backends []BackendConfig) *Pool {
	t.Helper()
	p, err := New(Config{Name: "test", Balance: policy, Backends: backends})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reserve takes a slot and returns the backend's name, or the error's text.
func reserve(p *Pool, tried ...*Backend) string {
	b, err := p.Reserve(noClient, tried)
	if err != nil {
		return err.Error()
	}
	return b.Name()
}

// sequence takes n slots, which are held, and returns the names.
func sequence(p *Pool, n int) string {
	var names []string
	for range n {
		names = append(names, reserve(p))
	}
	return strings.Join(names, " ")
}

func allPolicies(t *testing.T, f func(t *testing.T, policy Policy)) {
	for _, word := range Policies() {
		var policy Policy
		if err := policy.UnmarshalText([]byte(word)); err != nil {
			t.Fatal(err)
		}
		t.Run(word, func(t *testing.T) { f(t, policy) })
	}
}

func TestNewErrors(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		c := Config{Name: "web", Backends: weights(1, 1)}
		change(&c)
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: error %v, want one with %q", err, want)
		}
	}
	f(func(c *Config) { c.Balance = 9 }, `new pool "web": unknown balance policy Policy(9)`)
	f(func(c *Config) { c.Backends[1].Name = "a" }, `backend 1 "a": name is already taken`)
	f(func(c *Config) { c.Backends[1].Name = "" }, `backend 1 "": name is empty`)
	f(func(c *Config) { c.Backends[0].Weight = -1 }, "weight -1: want 0 to 256")
	f(func(c *Config) { c.Backends[0].Weight = 257 }, "weight 257: want 0 to 256")
	f(func(c *Config) { c.Backends[0].MaxConns = -1 }, "max_conns -1: want 0 (no limit) or more")
	f(func(c *Config) { c.Backends[0].Address = Address{} }, `address ""`)
	f(func(c *Config) { c.Backends[0].Address.TCP = netip.MustParseAddrPort("127.0.0.1:0") }, `address "127.0.0.1:0"`)
	f(func(c *Config) { c.QueueMax = -1 }, "queue max -1: want 0 (nobody waits) or more")
	f(func(c *Config) { c.SlowStart = -time.Second }, "slow_start -1s: want 0s (none) or more")
	f(func(c *Config) { c.Backends[0].State = 7 }, "unknown state AdminState(7)")
}

func TestNewReportsEveryProblem(t *testing.T) {
	c := Config{Name: "web", Backends: weights(300, 1)}
	c.Backends[1].Name, c.Backends[1].MaxConns = "", -5
	_, err := New(c)
	if err == nil {
		t.Fatal("New: no error")
	}
	for _, want := range []string{"weight 300", "name is empty", "max_conns -5"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New: error %q, want it to name %q too", err, want)
		}
	}
}

func TestAccessors(t *testing.T) {
	p := newPool(t, First, weights(1, 7))
	if p.Name() != "test" || p.Policy() != First || len(p.Backends()) != 2 {
		t.Errorf("pool is %q %v with %d backends", p.Name(), p.Policy(), len(p.Backends()))
	}
	b := p.Lookup("b")
	if b == nil || b != p.Backends()[1] || b.Pool() != p || position(b) != 1 || b.Weight() != 7 ||
		b.Address() != testAddr(1) || b.Backup() || b.Admin() != Ready || !b.Usable() {
		t.Errorf("Lookup(b) = %+v", b)
	}
	if p.Lookup("x") != nil {
		t.Error("Lookup(x) found a backend")
	}
}

func TestEmptyPool(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := newPool(t, policy, nil)
		if _, err := p.Reserve(noClient, nil); !errors.Is(err, ErrNoBackend) {
			t.Errorf("Reserve: %v, want ErrNoBackend", err)
		}
	})
}

func TestStatesTakeBackendsOut(t *testing.T) {
	out := map[string]func(*Backend){
		"drain":    func(b *Backend) { b.SetAdmin(Drain) },
		"maint":    func(b *Backend) { b.SetAdmin(Maint) },
		"down":     func(b *Backend) { b.SetUp(false) },
		"ejected":  func(b *Backend) { b.SetEjected(true) },
		"weight 0": func(b *Backend) { _ = b.SetWeight(0) },
	}
	in := func(b *Backend) {
		b.SetAdmin(Ready)
		b.SetUp(true)
		b.SetEjected(false)
		_ = b.SetWeight(1)
	}
	allPolicies(t, func(t *testing.T, policy Policy) {
		for name, takeOut := range out {
			p := newPool(t, policy, weights(1, 1))
			a, b := p.Backends()[0], p.Backends()[1]
			takeOut(a)
			if a.Usable() || a.Stats().Usable || p.Usable() != 1 {
				t.Errorf("%s: a usable %v, %d usable in all, want false and 1", name, a.Usable(), p.Usable())
			}
			if got := sequence(p, 4); got != "b b b b" {
				t.Errorf("%s: picked %s, want only b", name, got)
			}
			takeOut(b)
			if got := reserve(p); got != ErrNoBackend.Error() {
				t.Errorf("%s: both out, but got %s", name, got)
			}
			in(a)
			if got := sequence(p, 2); got != "a a" {
				t.Errorf("%s: a is back, but picked %s", name, got)
			}
		}
	})
}

func TestConfiguredStateAndWeight(t *testing.T) {
	bs := weights(0, 1, 1)
	bs[1].State = Drain
	p := newPool(t, RoundRobin, bs)
	if got := sequence(p, 2); got != "c c" {
		t.Errorf("picked %s, want c c: a has weight 0, b drains", got)
	}
}

func TestSetReportsChange(t *testing.T) {
	b := newPool(t, LeastConn, weights(1)).Backends()[0]
	f := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: changed %v, want %v", what, got, want)
		}
	}
	f("up at the start", b.SetUp(true), false)
	f("down", b.SetUp(false), true)
	f("down again", b.SetUp(false), false)
	f("up", b.SetUp(true), true)
	f("not ejected at the start", b.SetEjected(false), false)
	f("ejected", b.SetEjected(true), true)
	f("ejected again", b.SetEjected(true), false)
}

func TestSetRejects(t *testing.T) {
	b := newPool(t, LeastConn, weights(3)).Backends()[0]
	if err := b.SetWeight(257); err == nil || err.Error() != `set backend "a": weight 257: want 0 to 256` {
		t.Errorf("SetWeight(257): %v", err)
	}
	if err := b.SetMaxConns(-1); err == nil {
		t.Error("SetMaxConns(-1): no error")
	}
	if s := b.Stats(); s.Weight != 3 || s.MaxConns != 0 {
		t.Errorf("after refused changes weight %d, max_conns %d, want 3 and 0", s.Weight, s.MaxConns)
	}
}

func TestFull(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		bs := weights(1, 1)
		bs[0].MaxConns, bs[1].MaxConns = 2, 1
		p := newPool(t, policy, bs)
		sequence(p, 3)
		a, b := p.Backends()[0], p.Backends()[1]
		if a.Stats().Active != 2 || b.Stats().Active != 1 {
			t.Errorf("active %d and %d, want 2 and 1", a.Stats().Active, b.Stats().Active)
		}
		if got := reserve(p); got != ErrFull.Error() {
			t.Errorf("all full, but got %s", got)
		}
		a.Release()
		if got := reserve(p); got != "a" {
			t.Errorf("a has room, but got %s", got)
		}
		if err := b.SetMaxConns(2); err != nil {
			t.Fatal(err)
		}
		if got := reserve(p); got != "b" {
			t.Errorf("b got room, but got %s", got)
		}
	})
}

func TestLowerLimitKeepsConnections(t *testing.T) {
	p := newPool(t, LeastConn, weights(1))
	b := p.Backends()[0]
	sequence(p, 3)
	if err := b.SetMaxConns(1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.Release()
		if got := reserve(p); got != ErrFull.Error() {
			t.Errorf("at %d of 1 got %s", b.Stats().Active, got)
		}
	}
	b.Release()
	if got := reserve(p); got != "a" {
		t.Errorf("below the limit got %s", got)
	}
}

func TestTried(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := newPool(t, policy, weights(1, 1, 1))
		a, b, c := p.Backends()[0], p.Backends()[1], p.Backends()[2]
		for range 10 {
			if got := reserve(p, a, c); got != "b" {
				t.Fatalf("tried a and c, but got %s", got)
			}
		}
		if got := reserve(p, a, b, c); got != ErrNoBackend.Error() {
			t.Errorf("tried all, but got %s", got)
		}
		if err := b.SetMaxConns(1); err != nil {
			t.Fatal(err)
		}
		if got := reserve(p, a, c); got != ErrFull.Error() {
			t.Errorf("tried a and c, b full, but got %s", got)
		}
		b.SetUp(false)
		if got := reserve(p, a, c); got != ErrNoBackend.Error() {
			t.Errorf("tried a and c, b down, but got %s", got)
		}
		if got := reserve(p); got != "a" && got != "c" {
			t.Errorf("the next session was refused what another tried: got %s", got)
		}
	})
}

func TestTriedOfAnotherPool(t *testing.T) {
	here, there := newPool(t, First, weights(1)), newPool(t, First, weights(1))
	var both sync.WaitGroup // a mark on the other pool's backend would be a race, and would bar it at times
	both.Go(func() {
		for range 1000 {
			if got := reserve(here, there.Backends()...); got != "a" {
				t.Errorf("here got %s", got)
			}
		}
	})
	both.Go(func() {
		for range 1000 {
			if got := reserve(there); got != "a" {
				t.Errorf("there got %s", got)
			}
		}
	})
	both.Wait()
}

func TestBackups(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		bs := weights(1, 1, 1)
		bs[0].Backup = true
		bs[1].MaxConns = 1
		p := newPool(t, policy, bs)
		backup, b, c := p.Backends()[0], p.Backends()[1], p.Backends()[2]
		c.SetUp(false)
		if got := reserve(p); got != "b" {
			t.Errorf("b is usable, but got %s", got)
		}
		if got := reserve(p); got != ErrFull.Error() {
			t.Errorf("a full first tier must not spill over, but got %s", got)
		}
		b.Release()
		if got := reserve(p, b); got != ErrNoBackend.Error() {
			t.Errorf("a first tier that was tried must not spill over, but got %s", got)
		}
		b.SetAdmin(Drain)
		if got := reserve(p); got != "a" {
			t.Errorf("only the backup is usable, but got %s", got)
		}
		if p.Usable() != 1 || !backup.Backup() {
			t.Errorf("%d usable, backup %v, want 1 and true", p.Usable(), backup.Backup())
		}
		c.SetUp(true)
		if got := reserve(p); got != "c" {
			t.Errorf("c is back, but got %s", got)
		}
	})
}

func TestReleaseTwicePanics(t *testing.T) {
	p := newPool(t, LeastConn, weights(1))
	reserve(p)
	b := p.Backends()[0]
	b.Release()
	defer func() {
		if r := recover(); r != "pool: release backend test/a: no slot is taken" {
			t.Errorf("Release: panic %v", r)
		}
		if got := reserve(p); got != "a" {
			t.Errorf("the pool is unusable after the panic: got %s", got)
		}
	}()
	b.Release()
}

func TestReserveDoesNotAllocate(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := newPool(t, policy, weights(1, 2, 3, 4))
		tried := []*Backend{p.Backends()[0]}
		client := netip.MustParseAddr("192.0.2.7")
		n := testing.AllocsPerRun(1000, func() {
			b, err := p.Reserve(client, tried)
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		})
		if n != 0 {
			t.Errorf("Reserve allocates %v times", n)
		}
	})
}

func BenchmarkReserve(b *testing.B) {
	for _, backends := range []int{3, 100} {
		for _, word := range Policies() {
			var policy Policy
			if err := policy.UnmarshalText([]byte(word)); err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/backends=%d", word, backends), func(b *testing.B) {
				p := newPool(b, policy, weights(ones(backends)...))
				client := netip.MustParseAddr("192.0.2.7")
				b.ReportAllocs()
				for b.Loop() {
					backend, err := p.Reserve(client, nil)
					if err != nil {
						b.Fatal(err)
					}
					backend.Release()
				}
			})
		}
	}
}

// ones returns n weights of 1.
func ones(n int) []int {
	ws := make([]int, n)
	for i := range ws {
		ws[i] = 1
	}
	return ws
}
