package l4

import (
	"fmt"
	"net/netip"

	"sluice/l4/clients"
	"sluice/sysutil"
)

// A client is refused as soon as its real address is known: right after accept, or
// after the PROXY header. It then costs no backend connection, and after accept not
// even a session.

// SetAccess replaces the lists of who may come in through a listener. Sessions that
// are open stay. The error says that there is no such listener.
func (srv *Server) SetAccess(listener string, allow, deny []netip.Prefix) error {
	for _, ls := range srv.listeners {
		if ls.config.Name == listener {
			ls.setAccess(allow, deny)
			return nil
		}
	}
	return fmt.Errorf("listener %q: there is none", listener)
}

func (ls *listener) setAccess(allow, deny []netip.Prefix) {
	if len(allow)+len(deny) == 0 {
		ls.access.Store(nil)
		return
	}
	ls.access.Store(clients.NewAccess(allow, deny))
}

// admit decides on a new session of a client. counted: it is one of the client's
// sessions, until it leaves. A reason means that it is refused.
func (l *loop) admit(ls *listener, addr netip.Addr) (counted bool, reason Reason) {
	if a := ls.access.Load(); a != nil && !a.Permits(addr) {
		return false, Denied
	}
	if ls.clients == nil {
		return false, noReason
	}
	switch ls.clients.Admit(addr, l.now) {
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
		l.server.config.OnEnd(End{ID: l.nextID(), Listener: ls.config.Name, Client: peer, Local: local, Reason: reason})
	}
}
