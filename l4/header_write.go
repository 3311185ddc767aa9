package l4

import (
	"net/netip"
	"syscall"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader"
	"sluice/sysutil"
)

// sendFirst sends the PROXY header, together with what the client has already
// sent, in one segment. Nothing waits for the client: a server that speaks
// first gets its header at once.
func (l *loop) sendFirst(s *session) state {
	h, dst, n := &s.halves[client], &s.ends[server], 0
	if dst.ready&introduced == 0 { // one that has refused to encrypt has had its header
		var err error
		if n, err = l.putHeader(s); err != nil {
			return l.end(s, ConnectFailed, 0)
		}
		dst.header, dst.ready = uint16(n), dst.ready|introduced
	}
	first, errno := l.addFirst(s, n)
	if errno != 0 {
		return l.end(s, ClientReset, errno)
	}
	before := h.bytes
	errno = l.deliver(h, dst, first)
	l.count(s, client, h.bytes-before)
	switch {
	case errno == 0:
		return l.sentFirst(s)
	case s.packet() != nil:
		return l.unanswered(s, ServerReset, errno)
	}
	l.salvage(s, server)
	return l.end(s, ServerReset, errno)
}

// sentFirst goes on to wait for the answer to the client's first packet, where its protocol
// has one.
func (l *loop) sentFirst(s *session) state {
	s.active = l.now
	if s.packet() == nil {
		return l.startRelay(s)
	}
	s.opening.sent, s.opening.lone = l.now, false // however long the step before has taken
	return stateAnswering
}

// putHeader puts the PROXY header at the start of the scratch buffer and returns
// its length. An error is one of ours, and has been logged.
func (l *loop) putHeader(s *session) (n int, err error) {
	if n, err = l.writeHeader(s); err != nil {
		l.log.Error("build PROXY header", "session", s.id, "client", s.client, "error", err)
	}
	return n, err
}

// addFirst adds the client's first bytes to the n bytes of scratch: its first
// packet and nothing else (see readHello), or whatever it has sent.
func (l *loop) addFirst(s *session, n int) ([]byte, syscall.Errno) {
	h, src := &s.halves[client], &s.ends[client]
	first := l.scratch[:n]
	if packet := s.packet(); packet != nil {
		return append(first, packet...), 0 // a very long ClientHello needs more room than scratch has
	}
	if h.held != nil {
		first = append(first, h.held...)
		l.buffers.put(h.held)
		h.held = nil
	}
	if src.ready&readable == 0 || h.eof || len(first) >= len(l.scratch) {
		return first, 0
	}
	got, errno := receive(h, src, l.scratch[len(first):])
	return l.scratch[:len(first)+got], errno
}

// packet is the client's first packet; nil when its protocol has none.
func (s *session) packet() []byte {
	if s.opening == nil {
		return nil
	}
	return s.opening.packet
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
	header, err := proxyheader.Outgoing(byte(version), received, s.client, l.localAddress(s))
	if err == nil && len(s.target.config.TLVs) > 0 {
		err = l.addTLVs(s, header)
	}
	if err != nil {
		return 0, err
	}
	raw, err := header.Format()
	if err != nil {
		return 0, err
	}
	if s.target.tlvs[TLVCRC32C] {
		proxyheader.Sign(raw)
	}
	return copy(l.scratch, raw), nil
}

// localAddress is the address the client connected to; of a Unix socket it is invalid. A
// socket bound to one address has no other; a wildcard is asked for.
func (l *loop) localAddress(s *session) netip.AddrPort {
	if sole := s.rules.listener.sole.Load(); sole != nil &&
		(sole.IsUnix() || sole.TCP.Addr().IsValid() && !sole.TCP.Addr().IsUnspecified()) {
		return sole.TCP
	}
	local, _ := sysutil.LocalAddr(int(s.ends[client].fd)) // invalid, too, if that fails
	return local
}
