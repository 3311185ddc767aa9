package l4

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// inherit opens a listening socket as a service manager does, which keeps it.
func inherit(t *testing.T, address pool.Address) InheritedSocket {
	t.Helper()
	if address.IsUnix() {
		s, err := sysutil.ListenUnix(address.Unix, SocketFile{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.RemoveFile()
			sysutil.Close(s.FD)
		})
		return InheritedSocket{Address: address, FD: s.FD}
	}
	fd, err := sysutil.ListenTCP(address.TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sysutil.Close(fd) })
	address.TCP, _ = sysutil.LocalAddr(fd)
	return InheritedSocket{Address: address, FD: fd}
}

// startInheriting starts a server with a listener at each socket.
func startInheriting(t *testing.T, p *pool.Pool, sockets ...InheritedSocket) *Server {
	t.Helper()
	config := Config{Loops: 2, Inherited: sockets, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, s := range sockets {
		config.Listeners = append(config.Listeners, inheritingListener(p, s.Address))
	}
	srv, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return srv
}

func inheritingListener(p *pool.Pool, address pool.Address) ListenerConfig {
	return ListenerConfig{Name: address.String(), Bind: []pool.Address{address}, Target: Target{Pool: p}}
}

// exchange sends text to the echo and gets it back.
func exchange(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q %v, want %q", got, err, text)
	}
}

func dialAddress(t *testing.T, address pool.Address) net.Conn {
	t.Helper()
	network, at := "tcp", address.TCP.String()
	if address.IsUnix() {
		network, at = "unix", address.Unix
	}
	c, err := net.DialTimeout(network, at, patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Sockets that are inherited are served; when the server ends they stay open, and who connects then or waits there is
// served by the next one.
func TestInheritedSockets(t *testing.T) {
	e := newEcho(t)
	defer e.stop()
	p := newPool(t, 2, 0, tcpAddress(e.Addr()))
	sockets := []InheritedSocket{
		inherit(t, pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:0")}),
		inherit(t, pool.Address{Unix: filepath.Join(t.TempDir(), "s")}),
	}
	first := startInheriting(t, p, sockets...)
	for _, s := range sockets {
		c := dialAddress(t, s.Address)
		exchange(t, c, "first")
		c.Close()
	}
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var waiting []net.Conn
	for _, s := range sockets {
		waiting = append(waiting, dialAddress(t, s.Address))
	}
	second := startInheriting(t, p, sockets...)
	for _, c := range waiting {
		exchange(t, c, "second")
		c.Close()
	}
	shutDown(t, second)
}

// A listener that goes gives its inherited socket up, and one that comes finds it: nobody else could bind the address.
func TestInheritedSocketComesBack(t *testing.T) {
	e := newEcho(t)
	defer e.stop()
	p := newPool(t, 2, 0, tcpAddress(e.Addr()))
	here, there := inherit(t, pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:0")}),
		inherit(t, pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:0")})
	srv := startInheriting(t, p, here, there)
	change := func(addresses ...pool.Address) {
		t.Helper()
		var u Update
		for _, a := range addresses {
			u.Listeners = append(u.Listeners, inheritingListener(p, a))
		}
		prepared, err := srv.Prepare(u)
		if err != nil {
			t.Fatal(err)
		}
		prepared.Commit()
	}
	change(there.Address)
	waits := dialAddress(t, here.Address)
	change(here.Address, there.Address)
	exchange(t, waits, "after it came back")
	change(here.Address)
	change(here.Address, there.Address)
	c := dialAddress(t, there.Address)
	exchange(t, c, "there")
	c.Close()
	waits.Close()
	shutDown(t, srv)
}
