package l4

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"

	"sluice/pool"
	"sluice/sysutil"
)

// sendFirst sends the PROXY header, together with what the client has already
// sent, in one segment. Nothing waits for the client: a server that speaks
// first gets its header at once. It reports whether the session is still open.
func (l *loop) sendFirst(s *session) (open bool) {
	h, src := &s.halves[client], &s.ends[client]
	n, err := l.writeHeader(s)
	if err != nil {
		l.log.Error("build PROXY header", "session", s.id, "client", s.client, "error", err)
		l.end(s, ConnectFailed, 0)
		return false
	}
	if n == 0 && h.held == nil {
		return true
	}
	if h.held != nil {
		n += copy(l.scratch[n:], h.held)
		l.buffers.put(h.held)
		h.held = nil
	}
	if src.ready&readable != 0 && !h.eof {
		got, errno := receive(h, src, l.scratch[n:])
		if errno != 0 {
			l.end(s, ClientReset, errno)
			return false
		}
		n += got
	}
	if errno := l.deliver(h, &s.ends[server], l.scratch[:n]); errno != 0 {
		l.salvage(s, server)
		l.end(s, ServerReset, errno)
		return false
	}
	s.backend.AddTraffic(l.index, 0, h.bytes)
	return true
}

// writeHeader puts the header for s at the start of the scratch buffer and
// returns its length; 0 when the pool wants none.
func (l *loop) writeHeader(s *session) (int, error) {
	version := s.target.config.SendProxy
	if version == ProxyOff {
		return 0, nil
	}
	var received *proxyproto.Header
	if s.opening != nil {
		received = s.opening.header
	}
	header, err := outgoingHeader(version, received, s.client, l.localAddress(s))
	if err != nil {
		return 0, err
	}
	raw, err := header.Format()
	if err != nil {
		return 0, err
	}
	return copy(l.scratch, raw), nil
}

// localAddress is the address the client connected to. A socket bound to one
// address has no other; a wildcard is asked for.
func (l *loop) localAddress(s *session) pool.Address {
	if bound := s.listener.bound; len(bound) == 1 &&
		(bound[0].IsUnix() || bound[0].TCP.Addr().IsValid() && !bound[0].TCP.Addr().IsUnspecified()) {
		return bound[0]
	}
	local, errno := sysutil.LocalAddr(int(s.ends[client].fd))
	if errno != 0 || !local.IsValid() {
		return pool.Address{}
	}
	return pool.Address{TCP: local}
}

// outgoingHeader is the header that tells a backend who the client is. What
// an earlier hop said is passed on: its addresses, and with version 2 its
// TLVs. Without that, the addresses are those of the client's socket.
func outgoingHeader(version ProxyVersion, received *proxyproto.Header, peer netip.AddrPort, local pool.Address) (*proxyproto.Header, error) {
	source, destination := socketAddresses(peer, local)
	if received != nil && namesStream(received) {
		source, destination = received.SourceAddr, received.DestinationAddr
	}
	header := proxyproto.HeaderProxyFromAddrs(byte(version), source, destination)
	if version == ProxyV1 {
		return versionOne(header), nil
	}
	if received == nil {
		return header, nil
	}
	tlvs, err := received.TLVs()
	if err != nil {
		return nil, fmt.Errorf("pass on TLVs: %w", err)
	}
	return header, header.SetTLVs(tlvs)
}

// namesStream reports whether a header names the two ends of a TCP or Unix
// connection.
func namesStream(header *proxyproto.Header) bool {
	_, _, tcp := header.TCPAddrs()
	_, _, local := header.UnixAddrs()
	return !header.Command.IsLocal() && (tcp || local)
}

// versionOne makes a header fit version 1, which knows TCP addresses only:
// anything else is UNKNOWN (section 2.1).
func versionOne(header *proxyproto.Header) *proxyproto.Header {
	if header.TransportProtocol != proxyproto.TCPv4 && header.TransportProtocol != proxyproto.TCPv6 {
		header.TransportProtocol = proxyproto.UNSPEC
		header.Command = proxyproto.PROXY
	}
	return header
}

// socketAddresses are the two ends of the client's own connection. A client on
// a Unix socket has no name of its own.
func socketAddresses(peer netip.AddrPort, local pool.Address) (source, destination net.Addr) {
	if !peer.IsValid() {
		return &net.UnixAddr{Net: "unix"}, &net.UnixAddr{Net: "unix", Name: local.Unix}
	}
	return net.TCPAddrFromAddrPort(peer), net.TCPAddrFromAddrPort(local.TCP)
}
