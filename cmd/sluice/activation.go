package main

import (
	"fmt"
	"slices"

	"sluice/cmd/sluice/internal/systemd"
	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
)

// passedSockets are the listening sockets that the service manager has opened for this process.
type passedSockets []systemd.Socket

// inherited returns them as the data path has them.
func (p passedSockets) inherited() (all []l4.InheritedSocket) {
	for i := range p {
		all = append(all, l4.InheritedSocket{Address: addressOf(&p[i]), FD: p[i].FD})
	}
	return all
}

func addressOf(s *systemd.Socket) pool.Address { return pool.Address{TCP: s.TCP, Unix: s.Unix} }

// giveTo makes the listeners of a configuration listen at the sockets that are theirs. A listener that has the address of
// a socket in its bind takes it. Where none has, the one that has its name takes it: in place of the addresses of its own
// that nobody has opened. A socket that nobody takes is a warning.
func (p passedSockets) giveTo(file *configs.File) {
	var taken []pool.Address
	for i := range file.Listeners {
		taken = append(taken, p.among(file.Listeners[i].Bind)...)
	}
	for i := range p {
		s := &p[i]
		address := addressOf(s)
		first := slices.IndexFunc(p, func(other systemd.Socket) bool { return addressOf(&other) == address }) == i
		named := slices.IndexFunc(file.Listeners, func(l configs.Listener) bool { return l.Name == s.Name })
		switch {
		case !first:
			warnOf(file, s, "no listener takes the second socket at an address: leave ReusePort= out")
		case slices.Contains(taken, address):
		case named >= 0:
			l := &file.Listeners[named]
			l.Bind = append(p.among(l.Bind), address)
		default:
			warnOf(file, s, "no listener takes it: write its address into bind, or give its unit FileDescriptorName= with the "+
				"name of a listener")
		}
	}
}

// warnOf warns of a socket at which clients wait in vain.
func warnOf(file *configs.File, s *systemd.Socket, why string) {
	file.Warnings = append(file.Warnings, configs.Problem{File: "LISTEN_FDS", Message: fmt.Sprintf(
		"the service manager has opened a socket at %s under the name %q, and %s", s.Address(), s.Name, why)})
}

// among returns those addresses at which the service manager has opened a socket.
func (p passedSockets) among(addresses []pool.Address) []pool.Address {
	return slices.DeleteFunc(slices.Clone(addresses), func(a pool.Address) bool {
		return !slices.ContainsFunc(p, func(s systemd.Socket) bool { return addressOf(&s) == a })
	})
}
