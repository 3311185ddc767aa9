package l4

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"sluice/pool"
	"sluice/sysutil"
)

// A listenSocket is a listening socket, which all loops share. It is known by the address
// that the configuration gives it, whichever listener that is part of.
type listenSocket struct {
	fd      int
	address pool.Address        // as configured
	bound   pool.Address        // as the kernel has it: port 0 is resolved
	file    *sysutil.UnixSocket // nil = it has none
	owners  SocketFile          // of the file
	shared  bool                // with the process that has opened it, see InheritedSocket
	lent    bool                // by the server that hands it over, until Own
	wanted  *SocketFile         // what owners are to be once it is lent no more; nil = as they are
}

// A door is a listening socket and the listener to which its connections belong.
type door struct {
	*listenSocket
	listener *listener
}

// openSocket binds an address and listens there.
func openSocket(address pool.Address, config *ListenerConfig) (*listenSocket, error) {
	k := &listenSocket{address: address, bound: address}
	if !address.IsUnix() {
		return k, k.listenTCP(config.Freebind)
	}
	k.owners = fileOf(address, config)
	s, err := sysutil.ListenUnix(address.Unix, k.owners)
	if err != nil {
		return nil, err
	}
	if k.fd = s.FD; !isAbstract(address) {
		k.file = s
	}
	return k, nil
}

// isAbstract reports whether a Unix address has no file: see unix(7).
func isAbstract(a pool.Address) bool { return a.Unix[0] == '@' }

// fileOf says who may connect to the file of a Unix address; in the abstract namespace
// there is none.
func fileOf(address pool.Address, config *ListenerConfig) SocketFile {
	if isAbstract(address) {
		return SocketFile{}
	}
	return config.Socket
}

func (k *listenSocket) listenTCP(free bool) (err error) {
	open := sysutil.ListenTCP
	if free {
		open = sysutil.ListenFreebind
	}
	at := k.address.TCP
	if k.fd, err = open(at); err != nil {
		return err
	}
	local, errno := sysutil.LocalAddr(k.fd)
	if errno != 0 {
		sysutil.Close(k.fd)
		return os.NewSyscallError("getsockname", errno)
	}
	if !at.Addr().IsValid() { // every address: keep it said that way
		local = netip.AddrPortFrom(netip.Addr{}, local.Port())
	}
	k.bound.TCP = netip.AddrPortFrom(local.Addr().WithZone(at.Addr().Zone()), local.Port())
	return nil
}

// splitDoors returns the sockets that nobody else holds, and those that are shared or lent.
func splitDoors(doors []door) (own, shared []door) {
	for _, d := range doors {
		if d.shared || d.lent {
			shared = append(shared, d)
		} else {
			own = append(own, d)
		}
	}
	return own, shared
}

// inherited returns the socket at an address with which the process was started, or that was
// handed over to it; nil = there is none. Of several at any port it is preferably that of the
// listener of the same name, and always one that is not in use.
func (p *Prepared) inherited(address pool.Address, listener string) (found *listenSocket) {
	inUse := p.doors()
	for _, s := range p.srv.config.Inherited {
		if s.Address != address {
			continue
		}
		if s.Handed == nil {
			return &listenSocket{fd: s.FD, address: address, bound: address, shared: true}
		}
		k := s.Handed.listenSocket()
		if !k.isThere() || isOpen(k.fd, inUse) {
			continue
		}
		if s.Handed.Listener == listener {
			return k
		}
		if found == nil {
			found = k
		}
	}
	return found
}

// close gives the address up.
func (k *listenSocket) close() {
	if k.shared || k.lent {
		return
	}
	if k.file != nil {
		k.file.RemoveFile() // before the socket is closed: a successor may take the path at once
	}
	sysutil.Close(k.fd)
}

// leave closes the socket where another process has it too, which goes on with it.
func (k *listenSocket) leave() {
	if !k.shared {
		sysutil.Close(k.fd)
	}
}

// isThere reports whether who connects to the address still comes to this socket: a file
// may have been removed.
func (k *listenSocket) isThere() bool { return k.file == nil || k.file.IsAt(k.address.Unix) }

// covers reports whether the socket keeps another one from being bound to an address.
func (k *listenSocket) covers(address pool.Address) bool {
	if address.IsUnix() {
		return k.bound.Unix == address.Unix && k.isThere() || k.file != nil && k.file.IsAt(address.Unix)
	}
	a, b := k.bound.TCP.Addr(), address.TCP.Addr()
	if k.bound.IsUnix() || k.bound.TCP.Port() != address.TCP.Port() {
		return false
	}
	everything := !a.IsValid() || !b.IsValid()
	return everything || a == b || (a.IsUnspecified() || b.IsUnspecified()) && a.Is4() == b.Is4()
}

// bindHint adds to a bind error what the operator can do about it.
func bindHint(err error, address pool.Address) error {
	switch {
	case errors.Is(err, syscall.EACCES) && !address.IsUnix():
		return fmt.Errorf("%w: ports below net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE: "+
			"give it with setcap or AmbientCapabilities=, or bind a higher port", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another process listens there (ss -ltnp shows which)", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this machine has it (ip addr shows which there are)", err)
	}
	return err
}
