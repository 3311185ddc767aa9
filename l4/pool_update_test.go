package l4

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"sluice/pool"
)

// updateRig is a rig whose pool begins with the first backends of some, each with room for so many.
func updateRig(t *testing.T, c rigConfig, first, all int) (r *rig, listeners []net.Listener, backends []pool.BackendConfig) {
	t.Helper()
	listeners, addresses := listenMany(t, all)
	for _, b := range newQueuePool(t, 1, c.maxConns, 0, addresses...).Backends() {
		backends = append(backends, b.Config())
	}
	c.backends = addresses[:first]
	return newRig(t, c), listeners, backends
}

// replace gives the pool other backends.
func replace(p *pool.Pool, backends ...pool.BackendConfig) pool.Change {
	return must(p.Update(pool.Config{
		Name: p.Name(), Balance: p.Policy(), Shards: p.Shards(), QueueMax: p.QueueMax(), Backends: backends,
	}))
}

// Sessions stay where they are, and new ones go to the backends that the pool has by then.
func TestBackendsComeAndGo(t *testing.T) {
	r, listeners, b := updateRig(t, rigConfig{}, 2, 3)
	old := [2]conn{client: r.dial()}
	old[server] = r.acceptFrom(listeners[0])
	replace(r.pool, b[1], b[2])
	second := [2]conn{client: r.dial()}
	second[server] = r.acceptFrom(listeners[1])
	r.pool.Lookup(b[1].Name).SetUp(false)
	third := [2]conn{client: r.dial()}
	third[server] = r.acceptFrom(listeners[2])
	for _, ends := range [][2]conn{old, second, third} {
		r.exchange(ends[client], ends[server], 2)
		r.exchange(ends[server], ends[client], 2)
	}
	if n := len(r.pool.All()); n != 3 {
		t.Errorf("the pool knows %d backends, want 3", n)
	}
	r.leave(old)
	if n := len(r.pool.All()); n != 2 {
		t.Errorf("the pool knows %d backends, want 2: the last session of the first has ended", n)
	}
}

// A session that waits, because all are full or because it has failed on all, goes to a backend that comes.
func TestWaitingSessionGoesToTheNewBackend(t *testing.T) {
	f := func(name string, fill func(r *rig, l net.Listener)) {
		t.Run(name, func(t *testing.T) {
			r, listeners, b := updateRig(t, rigConfig{maxConns: 1, queueMax: 1}, 1, 2)
			fill(r, listeners[0])
			c := r.dial()
			r.until("it waits", func() bool { return r.pool.Waiting() == 1 })
			replace(r.pool, b...)
			r.exchange(c, r.acceptFrom(listeners[1]), 2)
		})
	}
	f("full", func(r *rig, l net.Listener) { r.exchange(r.dial(), r.acceptFrom(l), 1) })
	f("refused", func(r *rig, l net.Listener) { l.Close() })
}

// A slot that was granted before its backend was removed is good for a session.
func TestGrantedBeforeTheRemoval(t *testing.T) {
	r, listeners, b := updateRig(t, rigConfig{maxConns: 1, queueMax: 1}, 1, 2)
	taken := must(r.pool.Reserve(netip.Addr{}, nil))
	c := r.dial()
	r.until("it waits", func() bool { return r.pool.Waiting() == 1 })
	taken.Release()
	replace(r.pool, b[1])
	r.exchange(c, r.acceptFrom(listeners[0]), 2)
	if all := r.pool.All(); len(all) != 2 || all[1] != taken {
		t.Error("the pool has forgotten a backend with a session")
	}
}

// A backend that was removed is asked to cancel what its sessions do.
func TestCancelAtRemovedBackend(t *testing.T) {
	f := func(name string, begin func(r *rig, listeners []net.Listener, key []byte) [2]conn) {
		t.Run(name, func(t *testing.T) {
			r, listeners := cancelRig(t, rigConfig{}, 3)
			key := cancelKey(1, 4)
			ends := begin(r, listeners, key)
			replace(r.pool, r.pool.Backends()[0].Config(), r.pool.Backends()[2].Config())
			c := r.dial()
			r.write(c, cancelRequest(key))
			r.expectCancel(listeners[1], cancelRequest(key)).Close()
			r.expectFIN(c)
			r.expectEnd(ServerClosed)
			r.expectNobody(listeners[0])
			r.expectNobody(listeners[2])
			r.leave(ends)
		})
	}
	f("in clear", func(r *rig, listeners []net.Listener, key []byte) [2]conn { return r.loginAt(listeners, 1, key) })
	f("encrypted", func(r *rig, listeners []net.Listener, _ []byte) [2]conn { return r.sealedAt(listeners, 1, "") })
}

// Backends that a session has failed on and that are gone since take nothing from those it can try.
func TestUntried(t *testing.T) {
	p := newPool(t, 1, 0, numbered(1), numbered(2), numbered(3), numbered(4))
	b := slices.Clone(p.Backends())
	s := &session{target: &target{config: Target{Pool: p}}, opening: new(opening)}
	f := func(what string, limit, want int, tried ...*pool.Backend) {
		t.Helper()
		s.opening.waiter.Tried = tried
		if got := s.untried(limit); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	f("all", 9, 4)
	f("as many as may be", 3, 3)
	f("one has failed", 3, 3, b[0])
	f("two have failed", 9, 2, b[0], b[3])
	f("all have failed", 9, 1, b...)
	replace(p, b[2].Config(), b[3].Config())
	f("two are gone", 9, 2, b[0], b[1])
	f("one of them has failed", 9, 1, b[0], b[1], b[2])
	replace(p)
	f("none is left", 9, 1)
}

// What is known of connecting to a backend stays while others come and go, and goes with it.
func TestDialTargetsFollowTheSet(t *testing.T) {
	p := newPool(t, 1, 0, numbered(1), numbered(2))
	to := &target{config: Target{Pool: p}, own: new(ownPorts)}
	a, b := p.Backends()[0], p.Backends()[1]
	first, second := to.dial(a), to.dial(b)
	if to.dial(a) != first || to.dial(b) != second || first == second {
		t.Fatal("a dialTarget was made anew")
	}
	kept := b.Config()
	replace(p, kept)
	if to.dial(b) != second {
		t.Error("that of a backend that stays was made anew")
	}
	if got := to.dial(a).to.AddrPort(); got != a.Address().TCP {
		t.Errorf("one that was removed is at %v, want %v", got, a.Address())
	}
	gone := weak.Make(a)
	a = nil
	for deadline := time.Now().Add(patient); gone.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("a backend that was removed is kept")
		}
	}
	replace(p, pool.BackendConfig{Name: "c", Address: numbered(3), Weight: 1}, kept)
	for _, b := range p.Backends() {
		if got := to.dial(b).to.AddrPort(); got != b.Address().TCP {
			t.Errorf("%s is at %v, want %v", b.Name(), got, b.Address())
		}
	}
	if to.dial(b) != second {
		t.Error("that of a backend that stays was made anew")
	}
}

// Loops dial while the set changes: each is told where its own backend is.
func TestDialWhileTheSetChanges(t *testing.T) {
	p := newPool(t, 1, 0, numbered(1), numbered(2), numbered(3))
	to := &target{config: Target{Pool: p}, own: new(ownPorts)}
	var loops sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		loops.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				b := must(p.Reserve(netip.Addr{}, nil))
				if got := to.dial(b).to.AddrPort(); got != b.Address().TCP {
					t.Errorf("%s is at %v, want %v", b.Name(), got, b.Address())
				}
				b.Release()
			}
		})
	}
	for i := range 50 {
		at := pool.BackendConfig{Name: "b0", Address: numbered(10 + i%5), Weight: 1}
		replace(p, at, pool.BackendConfig{Name: "b1", Address: numbered(20 + i%3), Weight: 1})
		runtime.Gosched()
	}
	close(stop)
	loops.Wait()
}

// A session that something is in the way of goes on to try a backend that was removed from its
// pool, and says so no more often than of any other.
func TestObstacleAtRemovedBackend(t *testing.T) {
	full, other := newFullSocket(t), listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{backends: []pool.Address{full.address}, connect: time.Minute})
	c := r.dial()
	r.untilPutOff()
	b := newPool(t, 1, 0, full.address, tcpAddress(other.Addr())).Backends()[1].Config()
	replace(r.pool, b)
	r.pool.Lookup(b.Name).SetUp(false)
	before := r.pool.All()[1].Stats().Obstacles[pool.BacklogFull]
	r.until("it is tried again and again", func() bool {
		r.now += 100 * time.Millisecond
		return r.pool.All()[1].Stats().Obstacles[pool.BacklogFull] == before+10
	})
	if n := strings.Count(r.logs.String(), "the backlog of a backend is full"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, r.logs.String())
	}
	full.empty()
	r.now += 2 * longestPause
	r.exchange(c, r.acceptFrom(full), 2)
}

// numbered is an address on loopback that nobody connects to.
func numbered(n int) pool.Address {
	return pool.Address{TCP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(20000+n))}
}
