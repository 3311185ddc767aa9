package sysutil

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTCPSockaddr(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		sa := TCPSockaddr(netip.MustParseAddrPort(address))
		if got := sa.AddrPort().String(); got != want {
			t.Errorf("%s comes back as %s, want %s", address, got, want)
		}
		if !sa.isInternet() {
			t.Errorf("%s is of family %d", address, sa.family())
		}
	}
	f("0.0.0.0:0", "0.0.0.0:0")
	f("127.0.0.1:80", "127.0.0.1:80")
	f("255.255.255.255:65535", "255.255.255.255:65535")
	f("1.2.3.4:258", "1.2.3.4:258") // 0x0102: the order of the bytes shows
	f("[::]:0", "[::]:0")
	f("[::1]:443", "[::1]:443")
	f("[2001:db8:1:2:3:4:5:6]:65535", "[2001:db8:1:2:3:4:5:6]:65535")
	f("[::ffff:1.2.3.4]:80", "1.2.3.4:80")
	f("[fe80::1%eth0]:80", "[fe80::1]:80")
}

func TestUnixSockaddr(t *testing.T) {
	f := func(path string, ok bool) {
		t.Helper()
		sa, err := UnixSockaddr(path)
		if (err == nil) != ok {
			t.Errorf("UnixSockaddr of %d bytes: %v", len(path), err)
		}
		if err == nil && (sa.family() != unix.AF_UNIX || sa.isInternet() || sa.AddrPort().IsValid()) {
			t.Errorf("UnixSockaddr of %d bytes is %+v", len(path), sa)
		}
	}
	f("", false)
	f("a", true)
	f(strings.Repeat("x", 107), true)
	f(strings.Repeat("x", 108), false)
}

func TestZeroSockaddr(t *testing.T) {
	var sa Sockaddr
	if sa.AddrPort().IsValid() || sa.family() != 0 || sa.isInternet() {
		t.Errorf("the zero Sockaddr is an address: %+v", sa)
	}
}
