package l4

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"sluice/pool"
	"sluice/sysutil"
)

// A dialTarget is what is known beforehand of connecting to a backend.
type dialTarget struct {
	to     sysutil.Sockaddr
	zoned  netip.AddrPort // in place of to, which would hold the number of an interface that may be made anew; else invalid
	errno  syscall.Errno  // why it cannot be connected to at all
	isUnix bool
	// reflexive: while nobody listens there, the kernel may choose the very port for this
	// end of a connect, which then meets itself (RFC 9293, 3.5: simultaneous open). The
	// client would be sent back its own bytes.
	reflexive bool
	// sources are the addresses to connect from, in turn; none = as the kernel chooses.
	sources []sysutil.Sockaddr
	turn    atomic.Uint32

	portless warning // that no port is left for it
	crowded  warning // that its backlog is full
}

// dialTargets are those of a set of backends. They do not change, so loops share them: who
// finds that the pool has another set by now, or that the address of a name has become
// known, puts others in their place. What a backend had that was removed and has no session
// any more goes then.
type dialTargets struct {
	set []*pool.Backend // as the pool returned it
	of  map[*pool.Backend]*dialTarget
}

// dial returns the dialTarget of a backend.
func (t *target) dial(b *pool.Backend) *dialTarget {
	for {
		known, set := t.dials.Load(), t.config.Pool.Backends()
		if known != nil && sameSet(known.set, set) {
			if at := known.of[b]; at != nil {
				return at
			}
		}
		all := t.config.Pool.All() // after set, so that who leaves it meanwhile is there
		switch a := b.Address(); {
		case !a.IsUnix() && !a.TCP.Addr().IsValid():
			return &dialTarget{errno: syscall.EHOSTUNREACH} // nobody asks for one that is not usable
		case !slices.Contains(all, b): // it is only to be asked to cancel what its last session did
			return newDialTarget(a, t.own, t.config.Sources)
		}
		t.dials.CompareAndSwap(known, t.dialTargets(known, set, all))
	}
}

// sameSet reports whether two sets are one: a pool never changes one that it has returned.
func sameSet(a, b []*pool.Backend) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// dialTargets returns those of a set and of those that were removed and have sessions, which
// may still be trying, with what is known of those that it has known.
func (t *target) dialTargets(known *dialTargets, set, all []*pool.Backend) *dialTargets {
	next := &dialTargets{set, make(map[*pool.Backend]*dialTarget, len(all))}
	for _, b := range all {
		if known != nil && known.of[b] != nil {
			next.of[b] = known.of[b]
		} else if a := b.Address(); a.IsUnix() || a.TCP.Addr().IsValid() {
			next.of[b] = newDialTarget(a, t.own, t.config.Sources)
		}
	}
	return next
}

func newDialTarget(address pool.Address, own *ownPorts, sources []netip.Addr) *dialTarget {
	if address.IsUnix() {
		sa, err := sysutil.UnixSockaddr(address.Unix)
		if err != nil {
			return &dialTarget{errno: syscall.ENAMETOOLONG, isUnix: true}
		}
		return &dialTarget{to: sa, isUnix: true}
	}
	t := &dialTarget{to: sysutil.TCPSockaddr(address.TCP), reflexive: own.has(address.TCP)}
	if address.TCP.Addr().Zone() != "" {
		t.zoned = address.TCP
	}
	for _, source := range pool.SourcesFor(address, sources) {
		t.sources = append(t.sources, sysutil.TCPSockaddr(netip.AddrPortFrom(source, 0)))
	}
	return t
}

// dialTarget returns that of the backend of s.
func (s *session) dialTarget() *dialTarget { return s.target.dial(s.backend) }

// connect starts to connect. A source without a free port is passed by.
func (t *dialTarget) connect() (fd int, errno syscall.Errno) {
	to := &t.to
	if t.zoned.IsValid() {
		now := sysutil.TCPSockaddr(t.zoned)
		to = &now
	}
	switch {
	case t.errno != 0:
		return -1, t.errno
	case t.sources == nil:
		return sysutil.Connect(to)
	}
	for range t.sources {
		n := t.turn.Add(1) % uint32(len(t.sources))
		if fd, errno = sysutil.ConnectFrom(&t.sources[n], to); pool.ObstacleOf(errno) != pool.NoPort {
			break
		}
	}
	return fd, errno
}

// netDialer is for connects that are no work for a loop.
func (t *dialTarget) netDialer() *net.Dialer {
	if t.sources == nil {
		return &net.Dialer{}
	}
	from := &t.sources[t.turn.Add(1)%uint32(len(t.sources))]
	return &net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(from.AddrPort()),
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { sysutil.BindAddressOnly(int(fd)) })
		},
	}
}

// metItself reports whether the connection that was made has the backend's address at both
// ends. It is then gone, by a reset: else the port would be taken for a minute
// (TIME_WAIT), when the server wants to have it.
func (l *loop) metItself(s *session) bool {
	if !s.dialTarget().reflexive {
		return false
	}
	fd := int(s.ends[server].fd)
	if local, errno := sysutil.LocalAddr(fd); errno != 0 || withoutZone(local) != withoutZone(s.backend.Address().TCP) {
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

func (o *ownPorts) equal(other *ownPorts) bool {
	return o.low == other.low && o.high == other.high && slices.Equal(o.addresses, other.addresses)
}

func (o *ownPorts) has(ap netip.AddrPort) bool {
	ip := ap.Addr().Unmap().WithZone("")
	return ap.Port() >= o.low && ap.Port() <= o.high && (ip.IsLoopback() || slices.Contains(o.addresses, ip))
}
