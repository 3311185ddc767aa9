package l4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/l4/clients"
	"sluice/pool"
	"sluice/sysutil/systest"
)

// update puts listeners in force.
func (r *rig) update(listeners ...ListenerConfig) {
	r.t.Helper()
	p, err := r.srv.Prepare(Update{Listeners: listeners, MaxSessions: int(r.srv.places.limit.Load())})
	if err != nil {
		r.t.Fatal(err)
	}
	r.commit(p)
}

// commit puts an update in force before the loop does anything else.
func (r *rig) commit(p *Prepared) {
	r.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Commit()
	}()
	last := p.next[len(p.next)-1]
	if !systest.Wait(patient, func() bool { return last.listener.rules.Load() == last.rules }) {
		r.t.Fatal("an update is not in force")
	}
	r.while("commit", func() error { <-done; return nil })
}

// setAccess changes who may come in through the rig's listener.
func (r *rig) setAccess(allow, deny []netip.Prefix) {
	r.t.Helper()
	next := r.config(0)
	next.Allow, next.Deny = allow, deny
	r.update(next)
}

// denying is the listener of a server with other clients that may not come in.
func denying(srv *Server, networks string) ListenerConfig {
	next := srv.listeners()[0].rules.Load().config
	next.Deny = prefixes(networks)
	return next
}

// config is what the rig's listener of some place is made from.
func (r *rig) config(i int) ListenerConfig { return r.srv.listeners()[i].rules.Load().config }

// dialTo opens a client connection to an address.
func (r *rig) dialTo(a pool.Address) conn {
	r.t.Helper()
	c, err := dialAt(a)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.keep(c)
}

// A listener that is gone stays for its sessions, and is the same if it comes back meanwhile.
func TestLeavingListener(t *testing.T) {
	r := newRig(t, rigConfig{})
	was := r.config(0)
	other := was
	other.Name, other.Bind = "other", []pool.Address{anyPort, anyPort}
	ends := r.pair()
	r.update(other)
	stats := r.srv.Stats().Listeners
	if len(stats) != 2 || stats[0].Name != "other" || stats[0].Leaving || stats[1].Name != "test" || !stats[1].Leaving || stats[1].Sessions != 1 {
		t.Errorf("%+v, want one that leaves, with a session", stats)
	}
	if stats[1].Addresses[0] != stats[0].Addresses[0] {
		t.Errorf("%v: the first should be that of the other one before", stats[0].Addresses)
	}
	r.exchange(ends[client], ends[server], 3)
	r.update(was, other)
	stats = r.srv.Stats().Listeners
	if len(stats) != 2 || stats[0].Name != "test" || stats[0].Leaving || stats[0].Accepts != 1 || stats[0].Sessions != 1 {
		t.Errorf("%+v, want that which was there, with its session", stats)
	}
	r.update(other)
	r.leave(ends)
	if stats := r.srv.Stats().Listeners; len(stats) != 1 {
		t.Errorf("%+v: it should have left", stats)
	}
	r.update(was, other)
	if stats := r.srv.Stats().Listeners; stats[0].Accepts != 0 {
		t.Errorf("%+v, want a new one", stats[0])
	}
}

// A server may have no listener for a while: its sessions go on, and it serves again with the next one.
func TestNoListener(t *testing.T) {
	r := newRig(t, rigConfig{})
	was, at := r.config(0), r.address()
	ends := r.pair()
	p, err := r.srv.Prepare(Update{})
	if err != nil {
		t.Fatal(err)
	}
	r.while("commit", func() error { p.Commit(); return nil })
	if c, err := dialAt(at); err == nil {
		c.Close()
		t.Error("connects are accepted where no listener is left")
	}
	r.exchange(ends[client], ends[server], 3)
	r.leave(ends)
	if stats := r.srv.Stats().Listeners; len(stats) != 0 {
		t.Errorf("%+v: it should have left", stats)
	}
	r.update(was)
	r.leave(r.pair())
}

// A session goes on as it began, whatever becomes of the rules of its listener.
func TestSessionsKeepRules(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	was := r.config(0)
	next := was
	next.IdleTimeout = time.Minute
	next.Target.Pool = newPool(t, 1, 0, refusing(t))
	r.update(next)
	if s := r.srv.Stats().Listeners[0]; s.Sessions != 1 || s.Outdated != 1 {
		t.Errorf("%+v, want one outdated session", s)
	}
	r.now += time.Hour
	r.settle()
	r.exchange(ends[client], ends[server], 3)
	r.dial()
	r.expectEnd(ConnectRefused)
	r.update(was)
	second := r.pair()
	if s := r.srv.Stats().Listeners[0]; s.Sessions != 2 || s.Outdated != 1 {
		t.Errorf("%+v, want one outdated session of two", s)
	}
	r.exchange(second[client], second[server], 3)
	r.update(was)
	if s := r.srv.Stats().Listeners[0]; s.Outdated != 1 {
		t.Errorf("%+v: nothing has changed", s)
	}
}

// Who has connected to an address that goes is served there like everybody before.
func TestBacklogOfAddressThatGoes(t *testing.T) {
	f := func(name string, bind pool.Address) {
		t.Run(name, func(t *testing.T) {
			const waiting = 100
			r := newRig(t, rigConfig{bind: []pool.Address{bind, anyPort}, maxSessions: 2})
			was := r.config(0)
			at := r.address()
			if bind.TCP.Addr().IsUnspecified() {
				at.TCP = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.TCP.Port())
			}
			var conns []conn
			for range waiting {
				c := r.dialTo(at)
				must(c.Write([]byte("ping")))
				conns = append(conns, c)
			}
			next := was
			next.Bind = was.Bind[1:]
			p := must(r.srv.Prepare(Update{Listeners: []ListenerConfig{next}, MaxSessions: 2}))
			r.commit(p)
			if c, err := dialAt(at); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the address is still there: %v, %v", c, err)
			}
			for range conns {
				s := r.accept()
				r.expect(s, []byte("ping"))
				r.write(s, []byte("pong"))
				s.Close()
			}
			for _, c := range conns {
				r.expect(c, []byte("pong"))
				c.Close()
			}
			r.until("all sessions have ended", func() bool { return len(r.ended) == waiting })
			for _, end := range r.ended {
				if end.Reason != ServerClosed {
					t.Errorf("a session ended with %v", end.Reason)
				}
			}
			r.pair()
		})
	}
	f("tcp", freePorts(t, 1)[0])
	f("far", pool.Address{TCP: netip.MustParseAddrPort("0.0.0.0:0")})
	f("unix", pool.Address{Unix: filepath.Join(t.TempDir(), "front")})
}

// More sessions are let in at once when there may be more, and fewer when there may be fewer.
func TestLimitsChange(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 1})
	one, own := r.config(0), r.config(0)
	own.MaxSessions = 3
	put := func(most int, l ListenerConfig) {
		p := must(r.srv.Prepare(Update{Listeners: []ListenerConfig{l}, MaxSessions: most}))
		r.commit(p)
	}
	for range 6 {
		r.dial()
	}
	first := r.accept()
	r.until("it rests", func() bool { return r.srv.Stats().Listeners[0].AtLimit && r.srv.Stats().Listeners[0].Resting })
	put(2, one) // the clock stands: no rest ends by itself
	second := r.accept()
	put(0, own)
	r.accept()
	r.settle()
	if s := r.srv.Stats(); s.MaxSessions != 0 || s.Listeners[0].MaxSessions != 3 || s.Listeners[0].Sessions != 3 || !s.Listeners[0].AtLimit {
		t.Errorf("%+v, want 3 sessions, at the limit of the listener", s)
	}
	put(0, one)
	for range 3 {
		r.accept()
	}
	r.expectPlaces(6)
	put(5, one)
	r.leave([2]conn{r.dialled[0], first})
	r.leave([2]conn{r.dialled[1], second})
	r.dial()
	r.dial()
	r.accept()
	r.until("it rests again", func() bool { return r.srv.Stats().Listeners[0].AtLimit && r.srv.Stats().Listeners[0].Resting })
	r.expectPlaces(5)
}

// What a client has open counts on under other limits, and gone ones are forgotten under none.
func TestClientLimitsChange(t *testing.T) {
	r := newRig(t, rigConfig{listener: func(l *ListenerConfig) { l.PerClient = clients.Limits{Sessions: 2} }})
	was := r.config(0)
	ends := r.pair()
	with := func(l clients.Limits) {
		next := was
		next.PerClient = l
		r.update(next)
	}
	refused := func() {
		t.Helper()
		r.dial()
		r.expectEnd(ClientLimit)
	}
	with(clients.Limits{Sessions: 1, Table: 100_000})
	refused()
	with(clients.Limits{})
	r.pair()
	r.pair() // nobody counts these two
	with(clients.Limits{Sessions: 3})
	r.pair()
	r.pair()
	refused()
	with(clients.Limits{Sessions: 1, IPv6Prefix: 128}) // these clients are others
	r.pair()
	refused()
	r.leave(ends)
}

// The address in a PROXY header is that to which the client has come, whatever addresses its
// listener has had before.
func TestLocalAddressAfterUpdate(t *testing.T) {
	r := newRig(t, rigConfig{send: ProxyV1, bind: freePorts(t, 1)})
	more := freePorts(t, 2)
	come := func(a pool.Address) {
		t.Helper()
		c := r.dialTo(a)
		s := r.accept()
		from, to := tcpAddress(c.LocalAddr()).TCP, tcpAddress(c.RemoteAddr()).TCP
		r.expect(s, fmt.Appendf(nil, "PROXY TCP4 %s %s %d %d\r\n", from.Addr(), to.Addr(), from.Port(), to.Port()))
	}
	was, next := r.config(0), r.config(0)
	come(was.Bind[0])
	next.Bind = more[:1]
	r.update(next)
	come(more[0])
	next.Bind = more
	r.update(next)
	come(more[1])
	other := was
	other.Name, other.Bind = "other", more[1:]
	r.update(was, other)
	come(was.Bind[0])
	come(more[1])
	other.Bind, was.Bind = was.Bind, other.Bind
	r.update(was, other)
	come(was.Bind[0])
	come(other.Bind[0])
}

// The file of a Unix socket gets other owners, and one that was removed is made again.
func TestSocketFilesAfterUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front")
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: path}}})
	mode := func() os.FileMode { return must(os.Lstat(path)).Mode().Perm() }
	born := mode()
	was, next := r.config(0), r.config(0)
	next.Socket.Mode = 0o611
	r.update(next)
	if mode() != 0o611 {
		t.Errorf("mode %v, want 0611", mode())
	}
	r.pair()
	r.update(was)
	if mode() != born {
		t.Errorf("mode %v, want %v", mode(), born)
	}
	must(0, os.Remove(path))
	other := next
	other.Name = "other"
	r.update(was)
	r.pair()
	must(0, os.Remove(path))
	must(0, os.WriteFile(path, nil, 0o600))
	if _, err := r.srv.Prepare(Update{Listeners: []ListenerConfig{other}}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("Prepare: %v", err)
	}
	must(0, os.Remove(path))
	held := r.srv.doors()[0]
	r.update(was)
	if r.srv.doors()[0].listenSocket == held.listenSocket {
		t.Error("a socket was kept that nobody can connect to")
	}
	r.pair()
}

// A server that has stopped accepting changes no more.
func TestUpdateAfterStop(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{}, nil)
	c := dialEcho(t, srv)
	defer c.Close()
	was := srv.listeners()[0].rules.Load().config
	more := was
	more.Name, more.Bind = "more", freePorts(t, 1)
	p := must(srv.Prepare(Update{Listeners: []ListenerConfig{was, more}}))
	if err := srv.StopAccepting(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, a := range []pool.Address{more.Bind[0], srv.Stats().Listeners[0].Addresses[0]} {
		if a == more.Bind[0] {
			p.Commit()
		}
		if _, err := dialAt(a); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want a refusal", a, err)
		}
	}
	if _, err := srv.Prepare(Update{Listeners: []ListenerConfig{was}}); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("Prepare: %v", err)
	}
	talk(t, c)
	if s := srv.Stats().Listeners[0]; !s.Leaving || s.Sessions != 1 {
		t.Errorf("%+v, want one that leaves with a session", s)
	}
	shutDown(t, srv)
}

// A server may begin with nothing, and may be changed before it is started.
func TestUpdateBeforeStart(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	srv := must(New(Config{Loops: 2}))
	target := Target{Pool: newPool(t, 2, 0, tcpAddress(backend.Addr()))}
	ports := freePorts(t, 2)
	put(t, srv, ListenerConfig{Name: "a", Target: target, Bind: ports})
	put(t, srv, ListenerConfig{Name: "b", Target: target, Bind: ports[1:]})
	if _, err := dialAt(ports[0]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("an address that is gone: %v", err)
	}
	must(0, srv.Start())
	c := must(dialAt(ports[1]))
	defer c.Close()
	talk(t, c)
	shutDown(t, srv)
}

// Updates, statistics and the end of the server may come at any time.
func TestUpdateRaces(t *testing.T) {
	backend := newEcho(t)
	for range 3 {
		srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{}, nil)
		at, was := srv.testAddress(), srv.listeners()[0].rules.Load().config
		other := was
		other.Name, other.PerClient = "other", clients.Limits{Sessions: 1000}
		var all sync.WaitGroup
		var over atomic.Bool
		repeat := func(f func()) {
			all.Go(func() {
				for !over.Load() {
					f()
				}
			})
		}
		var commits atomic.Int64
		for _, l := range []ListenerConfig{was, other} {
			repeat(func() {
				p, err := srv.Prepare(Update{Listeners: []ListenerConfig{l}, MaxSessions: 1000})
				switch {
				case err != nil:
					over.Store(true)
				case commits.Add(1)%5 == 0:
					p.Abandon()
				default:
					p.Commit()
				}
			})
		}
		repeat(func() { srv.Stats() })
		for range 2 {
			repeat(func() {
				if c, err := net.Dial("tcp", at); err == nil {
					c.Write([]byte("ping"))
					c.Read(make([]byte, 4))
					c.Close()
				}
			})
		}
		eventually(t, "some updates", func() bool { return commits.Load() > 20 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		srv.Shutdown(ctx)
		all.Wait()
		if n := srv.sessionCount(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		for _, ls := range srv.set.Load().all() {
			if n, _ := ls.sessionCount(); n != 0 || ls.places.taken.Load() != 0 {
				t.Errorf("%s: %d sessions and %d places are left", ls.name, n, ls.places.taken.Load())
			}
		}
	}
	backend.stop()
}
