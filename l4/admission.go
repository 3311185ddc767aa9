package l4

import (
	"net/netip"

	"sluice/l4/clients"
	"sluice/sysutil"
)

// A client is refused as soon as its real address is known: right after accept, or
// after the PROXY header. It then costs no backend connection, and after accept not
// even a session.

// admit decides on a new session of a client. counted: it is one of the client's
// sessions, until it leaves. A reason means that it is refused.
func (l *loop) admit(r *rules, addr netip.Addr) (counted bool, reason Reason) {
	if r.access != nil && !r.access.Permits(addr) {
		return false, Denied
	}
	if r.clients == nil {
		return false, noReason
	}
	switch r.clients.Admit(addr, l.now) {
	case clients.Admitted:
		return true, noReason
	case clients.RateLimited:
		return false, RateLimited
	case clients.TooManySessions:
		return false, ClientLimit
	}
	return false, noReason
}

// refuse ends a connection that never becomes a session: it is reset, which leaves
// no TIME_WAIT.
func (l *loop) refuse(ls *listener, fd int, peer netip.AddrPort, reason Reason) {
	local := l.cameTo(fd, reason)
	sysutil.Reset(fd)
	ls.unrouted[reason].Add(1)
	if l.server.config.OnEnd != nil {
		l.server.config.OnEnd(End{ID: l.nextID(), Listener: ls.name, Client: peer, Local: local, Reason: reason})
	}
}
