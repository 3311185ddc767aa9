package sysutil

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// reach connects to an address and returns whom the listener sees.
func reach(t *testing.T, listener int, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	sa := TCPSockaddr(to)
	c, errno := Connect(&sa)
	if errno != 0 {
		t.Fatalf("connect to %v: %v", to, errno)
	}
	defer Close(c)
	await(t, listener, unix.POLLIN)
	fd, peer, errno := Accept(listener)
	if errno != 0 {
		t.Fatalf("accept from %v: %v", to, errno)
	}
	defer Close(fd)
	if local := localAddr(t, fd); local != to {
		t.Errorf("the accepted connection is to %v, want %v", local, to)
	}
	return peer
}

func at(ip string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port)
}

// An address without an IP takes both families; a peer of IPv4 looks like one.
func TestListenOnEverything(t *testing.T) {
	checkFiles(t)
	fd, err := ListenTCP(netip.AddrPortFrom(netip.Addr{}, 0))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, fd)
	port := localAddr(t, fd).Port()
	if peer := reach(t, fd, at("127.0.0.1", port)); !peer.Addr().Is4() {
		t.Errorf("peer %v, want an IPv4 address", peer)
	}
	if peer := reach(t, fd, at("::1", port)); peer.Addr() != netip.IPv6Loopback() {
		t.Errorf("peer %v, want ::1", peer)
	}
}

// "0.0.0.0" and "::" are two sockets that can have the same port.
func TestListenSideBySide(t *testing.T) {
	checkFiles(t)
	four := closing(t, listenAny(t, "0.0.0.0:0"))
	port := localAddr(t, four).Port()
	six, err := ListenTCP(at("::", port))
	if err != nil {
		t.Fatalf("[::]:%d beside 0.0.0.0:%d: %v", port, port, err)
	}
	closing(t, six)
	reach(t, four, at("127.0.0.1", port))
	reach(t, six, at("::1", port))
}

func TestListenTaken(t *testing.T) {
	checkFiles(t)
	fd := closing(t, listenAny(t, "127.0.0.1:0"))
	local := localAddr(t, fd)
	if _, err := ListenTCP(local); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener on %v: %v, want EADDRINUSE", local, err)
	}
	everything := netip.AddrPortFrom(netip.Addr{}, local.Port())
	if _, err := ListenTCP(everything); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("every address of a port that is taken: %v, want EADDRINUSE", err)
	}
	if _, err := ListenTCP(at("203.0.113.1", 0)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("an address of another machine: %v, want EADDRNOTAVAIL", err)
	}
}

// A port can be bound again while connections of the old process linger.
func TestListenAgain(t *testing.T) {
	checkFiles(t)
	fd := listenAny(t, "127.0.0.1:0")
	local := localAddr(t, fd)
	sa := TCPSockaddr(local)
	c, errno := Connect(&sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	await(t, fd, unix.POLLIN)
	accepted, _, errno := Accept(fd)
	if errno != 0 {
		t.Fatal(errno)
	}
	Close(accepted) // the first FIN: TIME_WAIT is on this side
	await(t, c, unix.POLLIN)
	Close(c)
	Close(fd)
	again, err := ListenTCP(local)
	if err != nil {
		t.Fatalf("bind again: %v", err)
	}
	closing(t, again)
}

func TestListenUnix(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, SocketFile{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v, want EADDRINUSE", err)
	}
	sa, _ := UnixSockaddr(path)
	c, errno := Connect(&sa)
	if errno != 0 {
		t.Fatalf("connect, after the second listener was refused: %v", errno)
	}
	closing(t, c)
	for { // the probe of the second listener comes first
		accepted, peer, errno := Accept(fd)
		if errno == syscall.EAGAIN {
			break
		}
		if errno != 0 || peer.IsValid() {
			t.Fatalf("Accept: %v, %v; want no address", peer, errno)
		}
		if local := localAddr(t, accepted); local.IsValid() {
			t.Errorf("local address %v, want none", local)
		}
		Close(accepted)
	}
	Close(fd) // the file stays, as after a crash
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	again, err := listenUnix(path)
	if err != nil {
		t.Fatalf("a stale socket was not replaced: %v", err)
	}
	closing(t, again)
	if c, errno := Connect(&sa); errno != 0 {
		t.Errorf("connect after the replacement: %v", errno)
	} else {
		Close(c)
	}
}

// A live server with a full queue is alive.
func TestListenUnixBusy(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, _ := UnixSockaddr(path)
	for {
		c, errno := Connect(&sa)
		if errno == syscall.EAGAIN {
			break
		}
		if errno != 0 {
			t.Fatal(errno)
		}
		closing(t, c)
	}
	if _, err := ListenUnix(path, SocketFile{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a listener beside a busy one: %v, want EADDRINUSE", err)
	}
}

// Only a socket is ever removed, and never what a link points to.
func TestListenUnixOnOtherFiles(t *testing.T) {
	checkFiles(t)
	dir := t.TempDir()
	f := func(name string, create func(path string) error) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := create(path); err != nil {
			t.Fatal(err)
		}
		if _, err := ListenUnix(path, SocketFile{}); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("%s: %v, want an error that says what is there", name, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	f("file", func(path string) error { return os.WriteFile(path, []byte("data"), 0o600) })
	f("directory", func(path string) error { return os.Mkdir(path, 0o700) })
	f("link", func(path string) error { return os.Symlink(filepath.Join(dir, "file"), path) })
	if _, err := ListenUnix(filepath.Join(dir, "none", "socket"), SocketFile{}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no directory: %v, want ENOENT", err)
	}
}

// A leading @ means the abstract namespace, as for package net.
func TestAbstractUnix(t *testing.T) {
	checkFiles(t)
	t.Chdir(t.TempDir())
	name := fmt.Sprintf("@sluice-test-%d", os.Getpid())
	fd, err := listenUnix(name)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, fd)
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Errorf("a file was made for an abstract name: %v", err)
	}
	sa, _ := UnixSockaddr(name)
	c, errno := Connect(&sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	Close(c)
	if _, err := ListenUnix(name, SocketFile{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v, want EADDRINUSE", err)
	}
}

// TestFreebind binds addresses of documentation, which no machine has, of both families.
func TestFreebind(t *testing.T) {
	for _, address := range []string{"203.0.113.1", "2001:db8::1"} {
		ap := at(address, 0)
		if fd, err := ListenTCP(ap); err == nil {
			Close(fd)
			t.Errorf("%v is bound without", ap)
		}
		fd, err := ListenFreebind(ap)
		if err != nil {
			t.Errorf("%v: %v", ap, err)
			continue
		}
		if local, errno := LocalAddr(fd); errno != 0 || local.Addr() != ap.Addr() {
			t.Errorf("%v is bound to %v", ap, local)
		}
		Close(fd)
	}
}

// TestZone connects by the link-local address of an interface, by its name and by its number.
func TestZone(t *testing.T) {
	if _, err := ListenTCP(at("fe80::1%nothere0", 0)); err == nil || err.Error() != "no interface nothere0 on this machine" {
		t.Errorf("error %v", err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, zone := range []string{"lo", strconv.Itoa(lo.Index)} {
		sa := TCPSockaddr(at("fe80::1%"+zone, 80))
		if got := binary.NativeEndian.Uint32(sa.raw[24:28]); got != uint32(lo.Index) {
			t.Errorf("zone %s is interface %d, want %d", zone, got, lo.Index)
		}
	}
	addrs, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range addrs {
		own, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range own {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || !prefix.Addr().IsLinkLocalUnicast() || !prefix.Addr().Is6() {
				continue
			}
			fd, err := ListenTCP(netip.AddrPortFrom(prefix.Addr().WithZone(i.Name), 0))
			if err != nil {
				t.Errorf("%v on %s: %v", prefix.Addr(), i.Name, err)
				continue
			}
			local, _ := LocalAddr(fd)
			sa := TCPSockaddr(netip.AddrPortFrom(prefix.Addr().WithZone(i.Name), local.Port()))
			client, errno := Connect(&sa)
			if errno != 0 {
				t.Errorf("%v: connect: %v", local, errno)
			} else {
				Close(client)
			}
			Close(fd)
		}
	}
}
