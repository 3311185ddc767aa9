package sysutil

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/sysutil/systest"
)

// inherited opens a socket as another program does: blocking, and kept by what is started from here.
func inherited(t *testing.T, family, kind int, sa unix.Sockaddr, listens bool) int {
	t.Helper()
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(fd) })
	if sa != nil {
		if err := unix.Bind(fd, sa); err != nil {
			t.Fatal(err)
		}
	}
	if listens {
		if err := unix.Listen(fd, 5); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

func TestAdoptListener(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "s")
	any6 := inherited(t, unix.AF_INET6, unix.SOCK_STREAM, &unix.SockaddrInet6{}, true)
	for _, c := range []struct {
		what    string
		fd      int
		address string // without its port, as a configuration has it
		path    string
	}{
		{"IPv4", inherited(t, unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, true), "127.0.0.1:", ""},
		{"every IPv4", inherited(t, unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{}, true), "0.0.0.0:", ""},
		{"IPv6", inherited(t, unix.AF_INET6, unix.SOCK_STREAM, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, true), "[::1]:", ""},
		{"both families", any6, "invalid AddrPort", ""},
		{"path", inherited(t, unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: path}, true), "", path},
		{"abstract", inherited(t, unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: "@sluice " + path}, true), "", "@sluice " + path},
	} {
		address, path, err := AdoptListener(c.fd)
		if err != nil || path != c.path || c.path == "" && !strings.HasPrefix(address.String(), c.address) {
			t.Errorf("%s: got %v %q %v", c.what, address, path, err)
		}
		if c.path == "" && address.Port() == 0 {
			t.Errorf("%s: no port in %v", c.what, address)
		}
		checkFlags(t, c.what, c.fd)
	}
}

// checkFlags checks what every descriptor here has.
func checkFlags(t *testing.T, what string, fd int) {
	t.Helper()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("%s: descriptor flags %x %v", what, flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("%s: status flags %x %v", what, flags, err)
	}
}

// "::" alone is the other family only where the socket says so, as for ListenTCP.
func TestAdoptListenerOfIPv6Only(t *testing.T) {
	checkFiles(t)
	fd, err := ListenTCP(netip.MustParseAddrPort("[::]:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	if address, _, err := AdoptListener(fd); err != nil || address.Addr() != netip.IPv6Unspecified() {
		t.Errorf("got %v %v", address, err)
	}
}

// Every interface that is up has a link-local address, where IPv6 is on; its zone is what tells it from the others'.
func TestAdoptListenerWithZone(t *testing.T) {
	checkFiles(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if name := zoneName(lo.Index); name != "lo" {
		t.Errorf("interface %d is %q", lo.Index, name)
	}
	if name := zoneName(1 << 30); name != "1073741824" {
		t.Errorf("an interface that is not there is %q", name)
	}
}

func TestAdoptListenerRefuses(t *testing.T) {
	checkFiles(t)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	local := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	for _, c := range []struct {
		fd   int
		want string
	}{
		{1 << 20, "fcntl F_SETFD: bad file descriptor"},
		{int(file.Fd()), "it is not a socket"},
		{inherited(t, unix.AF_INET, unix.SOCK_DGRAM, local, false), "it is not a stream socket"},
		{inherited(t, unix.AF_INET, unix.SOCK_STREAM, local, false), "it does not listen"},
	} {
		if _, _, err := AdoptListener(c.fd); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// The clock is the one that /proc/uptime shows, which also has no time of day.
func TestMonotonic(t *testing.T) {
	before := Monotonic()
	began := time.Now()
	systest.Wait(patient, func() bool { return time.Since(began) > 2*time.Millisecond })
	if passed := Monotonic() - before; passed < 2*time.Millisecond {
		t.Errorf("%v passed on a clock while 2ms did on another", passed)
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	whole, _, _ := strings.Cut(string(text), ".")
	uptime, err := time.ParseDuration(whole + "s")
	if err != nil {
		t.Fatal(err)
	}
	if off := Monotonic() - uptime; off > time.Hour { // the machine's sleep counts there only
		t.Errorf("the clock says %v, /proc/uptime %v", Monotonic(), uptime)
	}
}
