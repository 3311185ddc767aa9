package l4

import (
	"slices"

	"sluice/pool"
	"sluice/sysutil"
)

// A HandedSocket is a listening socket that one server hands over to another.
type HandedSocket struct {
	Listener string       `json:"listener"`
	Address  pool.Address `json:"address"` // as configured
	Bound    pool.Address `json:"bound"`   // as the kernel has it
	// File is that of a Unix socket which has one, and Owners who may connect to it, as configured.
	File   sysutil.SocketIdentity `json:"file,omitzero"`
	Owners SocketFile             `json:"owners,omitzero"`
	Shared bool                   `json:"shared,omitzero"` // the service manager holds it too, and who waits there is for whom it starts next
	FD     int                    `json:"-"`
}

// Inherited returns the socket as it is in the Config of the server that gets it, by another
// descriptor.
func (h *HandedSocket) Inherited(fd int) InheritedSocket {
	handed := *h
	handed.FD = fd
	return InheritedSocket{Address: h.Address, FD: fd, Handed: &handed}
}

// Sockets returns every socket on which the server listens, and those of the service manager on
// which it does not. They stay open while nothing changes.
func (srv *Server) Sockets() (list []HandedSocket) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, d := range srv.doors() {
		h := HandedSocket{
			Listener: d.listener.name, Address: d.address, Bound: d.bound, Shared: d.shared, FD: d.fd,
		}
		if d.file != nil {
			h.File, h.Owners = d.file.Identity(), d.owners
		}
		list = append(list, h)
	}
	for _, s := range srv.config.Inherited { // a change may want those that nobody has now
		if s.Handed == nil && !isOpen(s.FD, srv.doors()) {
			list = append(list, HandedSocket{Address: s.Address, Bound: s.Address, Shared: true, FD: s.FD})
		}
	}
	return list
}

// listenSocket returns the socket as one of this server. Until Own it is lent.
func (h *HandedSocket) listenSocket() *listenSocket {
	k := &listenSocket{fd: h.FD, address: h.Address, bound: h.Bound, owners: h.Owners, shared: h.Shared, lent: true}
	if h.File != (sysutil.SocketIdentity{}) {
		k.file = sysutil.AdoptUnix(h.FD, h.Address.Unix, h.File)
	}
	return k
}

// Decline closes the sockets that were handed over and that no listener has taken, but for those
// of the service manager, and returns where they are bound: they are for the other server to give
// up, which takes that nobody else holds them.
func (srv *Server) Decline() (list []pool.Address) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	doors := srv.doors()
	srv.config.Inherited = slices.DeleteFunc(srv.config.Inherited, func(s InheritedSocket) bool {
		if s.Handed == nil || s.Handed.Shared || isOpen(s.FD, doors) {
			return false
		}
		sysutil.Close(s.FD)
		list = append(list, s.Handed.Bound)
		return true
	})
	return list
}

// Own makes the sockets that were handed over this server's own: their files are removed when
// it gives them up. The other server has finished, or has died. Those that no listener has are
// closed.
func (srv *Server) Own() {
	srv.changing.Lock()
	defer srv.changing.Unlock()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopped {
		return
	}
	doors := srv.doors()
	srv.config.Inherited = keptAfterOwn(srv.config.Inherited, doors)
	for _, d := range doors {
		if !d.lent {
			continue
		}
		d.lent = false
		if d.wanted != nil {
			srv.changeOwners(d.listener, d.listenSocket, *d.wanted)
			d.wanted = nil
		}
	}
}

// keptAfterOwn returns which inherited sockets a listener may still find: those that the service
// manager holds. The others are ordinary ones from then on, or closed.
func keptAfterOwn(inherited []InheritedSocket, doors []door) (kept []InheritedSocket) {
	for _, s := range inherited {
		switch {
		case s.Handed == nil || s.Handed.Shared:
			kept = append(kept, InheritedSocket{Address: s.Address, FD: s.FD})
		case !isOpen(s.FD, doors):
			sysutil.Close(s.FD)
		}
	}
	return kept
}

// isOpen reports whether a descriptor is one of some sockets.
func isOpen(fd int, doors []door) bool {
	return slices.ContainsFunc(doors, func(d door) bool { return d.fd == fd })
}

// returnLent closes what is lent: the other server has it too, and the files are its own.
func (srv *Server) returnLent() {
	doors := srv.doors()
	for _, s := range srv.config.Inherited {
		if s.Handed != nil && !isOpen(s.FD, doors) {
			sysutil.Close(s.FD)
		}
	}
	for _, d := range doors {
		if d.lent {
			sysutil.Close(d.fd)
		}
	}
	srv.config.Inherited = nil
}
