package l4

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// A listener is its name, its descriptors, which all loops share, and its counters, which
// are touched once per session. What it does with sessions its rules say.
type listener struct {
	name  string
	rules atomic.Pointer[rules] // of new sessions
	fds   []int
	bound []pool.Address // as the kernel has it: port 0 is resolved

	accepts      atomic.Uint64
	acceptErrors atomic.Uint64
	sessions     atomic.Int64
	resting      atomic.Int32          // how many loops let it rest
	unrouted     endCounters           // ends before a pool was chosen
	tallies      map[*pool.Pool]*tally // of those after

	places  quota         // for max_sessions
	cancels *cancelLimits // nil = the protocol has no cancel requests

	scarce warning               // of descriptors or memory
	files  []*sysutil.UnixSocket // their files are removed at the end
}

type endCounters [numReasons]atomic.Uint64

func (ls *listener) endCounters(t *target) *endCounters {
	if t == nil {
		return &ls.unrouted
	}
	return &t.ended
}

// openListener binds every address of a listener, or none.
func openListener(config ListenerConfig, own *ownPorts) (*listener, error) {
	ls := &listener{
		name: config.Name, tallies: make(map[*pool.Pool]*tally),
		places: quota{name: "listener", limit: int64(config.MaxSessions)},
	}
	rules, err := ls.newRules(config, own)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", config.Name, err)
	}
	ls.rules.Store(rules)
	if config.Protocol.HasCancels() {
		ls.cancels = newCancelLimits()
	}
	for _, address := range config.Bind {
		if err := ls.bind(address, &config); err != nil {
			ls.close()
			return nil, fmt.Errorf("listener %q: bind %s: %w", config.Name, address, bindHint(err, address))
		}
	}
	return ls, nil
}

// bind listens at one more address.
func (ls *listener) bind(address pool.Address, config *ListenerConfig) error {
	if !address.IsUnix() {
		fd, bound, err := listen(address, config.Freebind)
		if err == nil {
			ls.fds, ls.bound = append(ls.fds, fd), append(ls.bound, bound)
		}
		return err
	}
	file := config.Socket
	if address.Unix[0] == '@' {
		file = SocketFile{} // the abstract namespace has none
	}
	s, err := sysutil.ListenUnix(address.Unix, file)
	if err == nil {
		ls.fds, ls.bound, ls.files = append(ls.fds, s.FD), append(ls.bound, address), append(ls.files, s)
	}
	return err
}

func listen(address pool.Address, free bool) (int, pool.Address, error) {
	open := sysutil.ListenTCP
	if free {
		open = sysutil.ListenFreebind
	}
	fd, err := open(address.TCP)
	if err != nil {
		return -1, address, err
	}
	local, errno := sysutil.LocalAddr(fd)
	if errno != 0 {
		sysutil.Close(fd)
		return -1, address, os.NewSyscallError("getsockname", errno)
	}
	if !address.TCP.Addr().IsValid() { // every address: keep it said that way
		local = netip.AddrPortFrom(netip.Addr{}, local.Port())
	}
	local = netip.AddrPortFrom(local.Addr().WithZone(address.TCP.Addr().Zone()), local.Port())
	return fd, pool.Address{TCP: local}, nil
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

// A warning is one that a flood must not repeat for every connection.
type warning struct {
	last atomic.Int64 // when it was last logged, on the server's clock
}

// due is true once in ten seconds.
func (w *warning) due(now time.Duration) bool {
	last := w.last.Load()
	if last != 0 && int64(now)-last < int64(10*time.Second) {
		return false
	}
	return w.last.CompareAndSwap(last, max(1, int64(now)))
}

func (ls *listener) close() {
	for _, s := range ls.files { // before they are closed: a successor may take the path at once
		s.RemoveFile()
	}
	for _, fd := range ls.fds {
		sysutil.Close(fd)
	}
	ls.fds, ls.files = nil, nil
}
