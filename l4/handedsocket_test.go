package l4

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/pool"
	"sluice/sysutil"
)

// handed returns a server's sockets as another process gets them.
func handed(t *testing.T, from *Server) (list []InheritedSocket) {
	t.Helper()
	for _, h := range from.Sockets() {
		fd := must(sysutil.Duplicate(h.FD))
		var there HandedSocket
		if err := json.Unmarshal(must(json.Marshal(h)), &there); err != nil {
			t.Fatal(err)
		}
		list = append(list, there.Inherited(fd))
	}
	return list
}

// successor starts a server that gets another one's sockets and does not accept yet.
func successor(t *testing.T, from *Server, listeners ...ListenerConfig) *Server {
	t.Helper()
	srv := must(New(Config{
		Loops: 2, Hold: true, Listeners: listeners, Inherited: handed(t, from), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}))
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return srv
}

// handOver lets the second server accept in place of the first.
func handOver(t *testing.T, d *Departure, second *Server) {
	t.Helper()
	d.Finish()
	if err := second.Accept(); err != nil {
		t.Fatal(err)
	}
	second.Own()
}

func accepted(srv *Server) (n uint64) {
	for _, l := range srv.Stats().Listeners {
		n += l.Accepts
	}
	return n
}

// Who connects from the moment that a server departs on is served by its successor, also who does before there is one.
func TestHandOver(t *testing.T) {
	for name, address := range departing(t) {
		t.Run(name, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			config := ListenerConfig{Name: "test", Bind: []pool.Address{address}}
			config.Target.Pool = newPool(t, 2, 0, tcpAddress(backend.Addr()))
			first := startServer(t, 2, config.Target.Pool, config, nil)
			bound := first.Stats().Listeners[0].Addresses[0]
			open := dialAddress(t, bound)
			exchange(t, open, "first")
			d := depart(t, first)
			var waiting []net.Conn
			wait := func() {
				for range 10 {
					waiting = append(waiting, dialAddress(t, bound))
				}
			}
			wait()
			second := successor(t, first, config)
			wait()
			if list := second.Decline(); len(list) > 0 {
				t.Fatalf("not taken: %v", list)
			}
			handOver(t, d, second)
			wait()
			d.Abandon() // too late
			for _, c := range waiting {
				exchange(t, c, "second")
				c.Close()
			}
			if a, b := accepted(first), accepted(second); a != 1 || b != 30 {
				t.Errorf("the first server has accepted %d, the second %d", a, b)
			}
			exchange(t, open, "still first")
			open.Close()
			if err := first.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			c := dialAddress(t, bound) // the first one has not taken the address away
			exchange(t, c, "second")
			c.Close()
			shutDown(t, second)
			if _, err := os.Stat(address.Unix); address.IsUnix() && !isAbstract(address) && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket's file after all: %v", err)
			}
		})
	}
}

// A successor that fails before the sockets are its own takes nothing away, however far it has come: the first server
// serves who has waited.
func TestSuccessorFails(t *testing.T) {
	fails := map[string]func(*Server, Update) error{
		"prepared": func(srv *Server, u Update) error {
			p, err := srv.Prepare(u)
			if err == nil {
				p.Abandon()
				srv.Close()
			}
			return err
		},
		"committed": func(srv *Server, u Update) error {
			p, err := srv.Prepare(u)
			if err == nil {
				p.Commit()
				srv.Close()
			}
			return err
		},
		"started": func(srv *Server, u Update) error {
			p, err := srv.Prepare(u)
			if err != nil {
				return err
			}
			p.Commit()
			return errors.Join(srv.Start(), srv.Shutdown(t.Context()))
		},
	}
	for name, address := range departing(t) {
		backend := newEcho(t)
		defer backend.stop()
		config := ListenerConfig{Name: "test", Bind: []pool.Address{address}}
		config.Target.Pool = newPool(t, 2, 0, tcpAddress(backend.Addr()))
		first := startServer(t, 2, config.Target.Pool, config, nil)
		bound := first.Stats().Listeners[0].Addresses[0]
		for how, fail := range fails {
			t.Run(name+" "+how, func(t *testing.T) {
				d := depart(t, first)
				c := dialAddress(t, bound)
				second := must(New(Config{Loops: 2, Hold: true, Inherited: handed(t, first)}))
				if err := fail(second, Update{Listeners: []ListenerConfig{config}}); err != nil {
					t.Fatal(err)
				}
				d.Abandon()
				exchange(t, c, "first")
				c.Close()
			})
		}
		shutDown(t, first)
	}
}

// Sockets that the successor does not take are given up: who has connected there is served. When the hand-over fails
// after all, they are bound again.
func TestRetire(t *testing.T) {
	for name, gone := range departing(t) {
		t.Run(name, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			config := ListenerConfig{Name: "test", Bind: []pool.Address{anyPort, gone}}
			config.Target.Pool = newPool(t, 2, 0, tcpAddress(backend.Addr()))
			first := startServer(t, 2, config.Target.Pool, config, nil)
			bound := first.Stats().Listeners[0].Addresses[1]
			fewer := config
			fewer.Bind = config.Bind[:1]
			for _, succeeds := range []bool{false, true} {
				d := depart(t, first)
				waits := dialAddress(t, bound)
				second := successor(t, first, fewer)
				untaken := second.Decline()
				if len(untaken) != 1 || untaken[0] != bound {
					t.Fatalf("not taken: %v", untaken)
				}
				d.Retire(untaken)
				exchange(t, waits, "first")
				if c, err := net.Dial(bound.Network(), strings.TrimPrefix(bound.String(), "unix:")); err == nil {
					c.Close()
					t.Error("an address that was given up takes connections")
				}
				if !succeeds {
					d.Abandon()
					shutDown(t, second)
					exchange(t, dialAddress(t, bound), "first again")
					continue
				}
				handOver(t, d, second)
				left := dialAddress(t, second.Stats().Listeners[0].Addresses[0])
				exchange(t, left, "second")
				left.Close()
				shutDown(t, second)
			}
			shutDown(t, first)
		})
	}
}

// The successor's owners and mode of a socket's file count as soon as the socket is its own. After that it is like any
// other: given up, its file goes, and it is bound again.
func TestOwn(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	p := newPool(t, 2, 0, tcpAddress(backend.Addr()))
	path := filepath.Join(t.TempDir(), "s")
	config := ListenerConfig{Name: "test", Bind: []pool.Address{{Unix: path}}, Socket: SocketFile{Mode: 0o666}, Target: Target{Pool: p}}
	first := startServer(t, 2, p, config, nil)
	mode := func() os.FileMode { return must(os.Stat(path)).Mode().Perm() }
	config.Socket.Mode = 0o600
	d := depart(t, first)
	second := successor(t, first, config)
	if mode() != 0o666 {
		t.Errorf("mode %o while the socket is the first server's", mode())
	}
	handOver(t, d, second)
	if mode() != 0o600 {
		t.Errorf("mode %o when it is the second one's", mode())
	}
	config.Socket.Mode = 0o640
	change := func(c ListenerConfig) { must(second.Prepare(Update{Listeners: []ListenerConfig{c}})).Commit() }
	change(config)
	if mode() != 0o640 {
		t.Errorf("mode %o after a change", mode())
	}
	elsewhere := config
	elsewhere.Bind = []pool.Address{{Unix: path + "2"}}
	change(elsewhere)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a socket that was given up: %v", err)
	}
	change(config)
	c := dialAddress(t, config.Bind[0])
	exchange(t, c, "bound anew")
	c.Close()
	shutDown(t, second)
	shutDown(t, first)
}

// A socket of the service manager stays its own through a hand-over: it is never closed, and a change may give it up and
// take it again, also one that the first server did not use.
func TestHandOverOfInherited(t *testing.T) {
	backend := newEcho(t)
	defer backend.stop()
	p := newPool(t, 2, 0, tcpAddress(backend.Addr()))
	used, spare := inherit(t, anyPort), inherit(t, anyPort)
	first := must(New(Config{
		Loops: 2, Inherited: []InheritedSocket{used, spare}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Listeners: []ListenerConfig{inheritingListener(p, used.Address)},
	}))
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	d := depart(t, first)
	second := successor(t, first, inheritingListener(p, used.Address))
	if list := second.Decline(); len(list) > 0 {
		t.Errorf("not taken: %v", list)
	}
	handOver(t, d, second)
	for _, s := range []InheritedSocket{spare, used} {
		must(second.Prepare(Update{Listeners: []ListenerConfig{inheritingListener(p, s.Address)}})).Commit()
		c := dialAddress(t, s.Address)
		exchange(t, c, "second")
		c.Close()
	}
	third := successor(t, second, inheritingListener(p, used.Address))
	shutDown(t, third)
	for _, h := range second.Sockets() {
		defer sysutil.Close(h.FD) // the process would end
	}
	shutDown(t, second)
	shutDown(t, first)
	c := dialAddress(t, used.Address) // waits for whom the service manager starts next
	last := startInheriting(t, p, used)
	exchange(t, c, "last")
	c.Close()
	shutDown(t, last)
}

// A server that is told to stop while it departs leaves its sockets to the hand-over: when that fails, it serves who waits
// and closes them.
func TestStopWhileDeparting(t *testing.T) {
	for name, address := range departing(t) {
		t.Run(name, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{Bind: []pool.Address{address}}, nil)
			bound := srv.Stats().Listeners[0].Addresses[0]
			d := depart(t, srv)
			c := dialAddress(t, bound)
			if err := srv.StopAccepting(t.Context()); err != nil {
				t.Fatal(err)
			}
			late := dialAddress(t, bound)
			d.Abandon()
			for _, c := range []net.Conn{c, late} {
				exchange(t, c, "served")
				c.Close()
			}
			if c, err := net.Dial(bound.Network(), strings.TrimPrefix(bound.String(), "unix:")); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("connect: %v %v", c, err)
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A socket of the first server that keeps the second one from binding an address is named.
func TestHandedSocketInTheWay(t *testing.T) {
	p := newPool(t, 2, 0, pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:1")})
	bind := func(a pool.Address) []ListenerConfig {
		return []ListenerConfig{{Name: "test", Bind: []pool.Address{a}, Target: Target{Pool: p}}}
	}
	first := must(New(Config{Loops: 1, Listeners: bind(pool.Address{TCP: netip.MustParseAddrPort("0.0.0.0:0")})}))
	defer first.Close()
	second := must(New(Config{Loops: 1, Inherited: handed(t, first)}))
	defer second.Close()
	port := first.Sockets()[0].Bound.TCP.Port()
	_, err := second.Prepare(Update{Listeners: bind(pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)})})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "the process before this one listens at 0.0.0.0:") {
		t.Errorf("error %v", err)
	}
}
