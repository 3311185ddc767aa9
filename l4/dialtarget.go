package l4

import (
	"net"
	"net/netip"
	"slices"
	"syscall"

	"sluice/pool"
	"sluice/sysutil"
)

// A dialTarget is what is known beforehand of connecting to a backend.
type dialTarget struct {
	to     sysutil.Sockaddr
	errno  syscall.Errno // why it cannot be connected to at all
	isUnix bool
	// reflexive: while nobody listens there, the kernel may choose the very port for this
	// end of a connect, which then meets itself (RFC 9293, 3.5: simultaneous open). The
	// client would be sent back its own bytes.
	reflexive bool

	portless warning // that no port is left for it
	crowded  warning // that its backlog is full
}

// newDialTargets returns those of a pool, by the index of the backend.
func newDialTargets(p *pool.Pool, own *ownPorts) []*dialTarget {
	made := make([]*dialTarget, len(p.Backends()))
	for i, b := range p.Backends() {
		made[i] = newDialTarget(b.Address(), own)
	}
	return made
}

func newDialTarget(address pool.Address, own *ownPorts) *dialTarget {
	if !address.IsUnix() {
		return &dialTarget{to: sysutil.TCPSockaddr(address.TCP), reflexive: own.has(address.TCP)}
	}
	sa, err := sysutil.UnixSockaddr(address.Unix)
	if err != nil {
		return &dialTarget{errno: syscall.ENAMETOOLONG, isUnix: true}
	}
	return &dialTarget{to: sa, isUnix: true}
}

// dialTarget returns that of the backend of s.
func (s *session) dialTarget() *dialTarget { return s.target.dials[s.backend.Index()] }

// connect starts to connect.
func (t *dialTarget) connect() (int, syscall.Errno) {
	if t.errno != 0 {
		return -1, t.errno
	}
	return sysutil.Connect(&t.to)
}

// metItself reports whether the connection that was made has the backend's address at both
// ends. It is then gone, by a reset: else the port would be taken for a minute
// (TIME_WAIT), when the server wants to have it.
func (l *loop) metItself(s *session) bool {
	if !s.dialTarget().reflexive {
		return false
	}
	fd := int(s.ends[server].fd)
	if local, errno := sysutil.LocalAddr(fd); errno != 0 || local != withoutZone(s.backend.Address().TCP) {
		return false
	}
	sysutil.Reset(fd)
	s.ends[server] = end{fd: -1}
	return true
}

func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// ownPorts are the addresses of this machine and the ports from which the kernel chooses
// one for a connect, as they are when it is made.
type ownPorts struct {
	low, high uint16
	addresses []netip.Addr
}

// newOwnPorts takes what the system does not tell for what is usual.
func newOwnPorts() *ownPorts {
	own := new(ownPorts)
	own.low, own.high = sysutil.LocalPorts()
	all, _ := net.InterfaceAddrs() // without it, loopback is known
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own.addresses = append(own.addresses, prefix.Addr().WithZone(""))
		}
	}
	return own
}

func (o *ownPorts) has(ap netip.AddrPort) bool {
	ip := ap.Addr().Unmap().WithZone("")
	return ap.Port() >= o.low && ap.Port() <= o.high && (ip.IsLoopback() || slices.Contains(o.addresses, ip))
}
