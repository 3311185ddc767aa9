package configs

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"

	"sluice/pool"
)

// A backendSite is the address of a backend and where it is said.
type backendSite struct {
	at      place
	address *pool.Address
}

// checkOwn reports backends that are listeners of this configuration: each session, and each check, would open the next.
func (f *findings) checkOwn() {
	own := make(ownListeners)
	for i, b := range f.binds {
		if b.sessions {
			own.add(i, *b.address)
		}
	}
	local := localAddresses()
	for _, b := range f.backends {
		if i, ok := own.find(*b.address, local); ok {
			l := f.binds[i]
			owner := l.owner
			if l.at.line == 0 {
				owner = l.at.file
			}
			f.report(b.at, "%s is an address that this sluice listens on itself (%s%s), so every session would open another one: "+
				"write the server's own address", bindText(*b.address), owner, onLine(l.at, b.at))
		}
	}
}

// OwnListener returns what finds the listener that listens at an address of a backend. It asks once which addresses this
// machine has.
func (f *File) OwnListener() func(pool.Address) (name string, own bool) {
	listeners := make(ownListeners)
	for i, l := range f.Listeners {
		for _, bind := range l.Bind {
			listeners.add(i, bind)
		}
	}
	ports := make(map[uint16]bool)
	for a := range listeners {
		ports[a.TCP.Port()] = true
	}
	local := sync.OnceValue(localAddresses)
	return func(a pool.Address) (name string, own bool) {
		if !a.IsUnix() && !ports[a.TCP.Port()] { // as nearly all
			return "", false
		}
		i, own := listeners.find(a, local())
		if own {
			name = f.Listeners[i].Name
		}
		return name, own
	}
}

// ownListeners has a number for each address that is listened on. An address without IP, and 0.0.0.0 and [::], are every
// address of this machine.
type ownListeners map[pool.Address]int

func (o ownListeners) add(number int, a pool.Address) {
	switch {
	case a.IsUnix():
		a.Unix = realPath(a.Unix)
	case a.TCP.Port() == 0:
		return // nobody knows which it will be
	}
	if _, ok := o[a]; !ok {
		o[a] = number
	}
}

// find returns the number of the listener that a connection to an address gets to; local are the addresses of this
// machine.
func (o ownListeners) find(a pool.Address, local map[netip.Addr]bool) (number int, found bool) {
	if a.IsUnix() {
		number, found = o[pool.Address{Unix: realPath(a.Unix)}]
		return number, found
	}
	ip, port := a.TCP.Addr(), a.TCP.Port()
	if !ip.IsValid() {
		return 0, false
	}
	listening := []netip.Addr{ip}
	if ip.IsLoopback() || local[ip.WithZone("")] {
		listening = append(listening, unspecified(ip), netip.Addr{})
	}
	for _, on := range listening {
		if number, found = o[pool.Address{TCP: netip.AddrPortFrom(on, port)}]; found {
			return number, true
		}
	}
	return 0, false
}

// realPath returns the path of a socket without links in the folders to it: /var/run is /run. The socket itself need not
// be there.
func realPath(path string) string {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return filepath.Clean(path)
}

// localAddresses returns the addresses of this machine's interfaces; none where they cannot be asked for.
func localAddresses() map[netip.Addr]bool {
	local := make(map[netip.Addr]bool)
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return local
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(fmt.Sprint(a)); err == nil {
			local[prefix.Addr().Unmap().WithZone("")] = true
		}
	}
	return local
}
