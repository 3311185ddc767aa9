package proxyheader

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// Outgoing is the header that tells a backend who the client is. What an earlier hop said is passed on: its addresses,
// and with version 2 its TLVs. Without that, the addresses are those of the client's socket.
func Outgoing(version byte, received *proxyproto.Header, peer, local netip.AddrPort) (*proxyproto.Header, error) {
	source, destination := socketAddresses(peer, local)
	if received != nil && namesStream(received) {
		source, destination = received.SourceAddr, received.DestinationAddr
	}
	header := proxyproto.HeaderProxyFromAddrs(version, source, destination)
	if version == 1 {
		return versionOne(header), nil
	}
	if received == nil {
		return header, nil
	}
	tlvs, err := received.TLVs()
	if err != nil {
		return nil, fmt.Errorf("pass on TLVs: %w", err)
	}
	return header, header.SetTLVs(Merge(header, tlvs, nil))
}

// namesStream reports whether a header names the two ends of a TCP or Unix connection.
func namesStream(header *proxyproto.Header) bool {
	_, _, tcp := header.TCPAddrs()
	_, _, local := header.UnixAddrs()
	return !header.Command.IsLocal() && (tcp || local)
}

// versionOne makes a header fit version 1, which knows TCP addresses only: anything else is UNKNOWN (section 2.1).
func versionOne(header *proxyproto.Header) *proxyproto.Header {
	if header.TransportProtocol != proxyproto.TCPv4 && header.TransportProtocol != proxyproto.TCPv6 {
		header.TransportProtocol = proxyproto.UNSPEC
		header.Command = proxyproto.PROXY
	}
	return header
}

// socketAddresses are the two ends of the client's own connection. A client on
// a Unix socket has no name, and what is said of the family of such sockets many
// servers refuse (Dovecot): without addresses the header says LOCAL, or UNKNOWN.
func socketAddresses(peer, local netip.AddrPort) (source, destination net.Addr) {
	if !peer.IsValid() {
		return nil, nil
	}
	return net.TCPAddrFromAddrPort(peer), net.TCPAddrFromAddrPort(local)
}

// Pack returns a header that was received in a form that Parse takes, which means the same: whatever version it came
// in, it is one of version 2, which has room for all that either says.
func Pack(received *proxyproto.Header) ([]byte, error) {
	header := *received
	header.Version = 2
	if header.TransportProtocol == proxyproto.UNSPEC {
		header.Command = proxyproto.LOCAL
	}
	return header.Format()
}
