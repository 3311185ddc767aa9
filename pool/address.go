package pool

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where something listens: a TCP address and port, or the path of a Unix socket. The zero Address is
// nowhere. Addresses can be compared with ==.
type Address struct {
	TCP  netip.AddrPort // used when Unix is empty; without an IP it means every address of both families
	Unix string         // socket path; a leading "@" means the abstract namespace
}

// IsUnix reports whether the address is a Unix socket.
func (a Address) IsUnix() bool { return a.Unix != "" }

// MaxUnixPath is the room in bytes for the path of a Unix socket, or its name after the @: see sockaddr_un in unix(7).
const MaxUnixPath = 107

// IsLocal reports whether what listens there is on this machine: a Unix socket or a loopback address.
func (a Address) IsLocal() bool { return a.IsUnix() || a.TCP.Addr().IsLoopback() }

// Network returns the address's network as package net names it: "tcp" or "unix".
func (a Address) Network() string {
	if a.IsUnix() {
		return "unix"
	}
	return "tcp"
}

// String returns the address as it is written in a configuration: "10.0.0.1:80", "[::1]:80", ":80" for every address,
// "unix:/run/x.sock", and "" for the zero Address.
func (a Address) String() string {
	switch {
	case a.IsUnix():
		return "unix:" + a.Unix
	case a.TCP.IsValid():
		return a.TCP.String()
	case a.TCP.Port() != 0:
		return ":" + strconv.Itoa(int(a.TCP.Port()))
	}
	return ""
}

// WithHost returns the address with a host's name in place of an IP that is not known; "" = there is no such name.
func (a Address) WithHost(host string) string {
	if host == "" || a.IsUnix() || a.TCP.Addr().IsValid() {
		return a.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(a.TCP.Port())))
}

// MarshalText returns the address as a report shows it: that of String, but "*:80" for every address.
func (a Address) MarshalText() ([]byte, error) {
	if !a.IsUnix() && !a.TCP.Addr().IsValid() {
		return fmt.Appendf(nil, "*:%d", a.TCP.Port()), nil
	}
	return []byte(a.String()), nil
}

// UnmarshalText sets the address from what MarshalText has written.
func (a *Address) UnmarshalText(text []byte) error {
	if path, ok := strings.CutPrefix(string(text), "unix:"); ok {
		*a = Address{Unix: path}
		return nil
	}
	if port, ok := strings.CutPrefix(string(text), "*:"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		*a = Address{TCP: netip.AddrPortFrom(netip.Addr{}, uint16(n))}
		return err
	}
	at, err := netip.ParseAddrPort(string(text))
	*a = Address{TCP: at}
	return err
}

// SourcesFor returns those of some addresses of this machine from which a connection to a server can be made: they are of
// its family. A Unix socket has none.
func SourcesFor(server Address, sources []netip.Addr) (fit []netip.Addr) {
	if server.IsUnix() {
		return nil
	}
	for _, source := range sources {
		if source.Unmap().Is4() == server.TCP.Addr().Unmap().Is4() {
			fit = append(fit, source)
		}
	}
	return fit
}

// dialable reports whether a connection to the address can be tried at all.
func (a Address) dialable() bool {
	return a.IsUnix() || a.TCP.IsValid() && a.TCP.Port() != 0
}
