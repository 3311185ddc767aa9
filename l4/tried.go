package l4

import (
	"net/netip"
	"syscall"
	"time"

	"sluice/sysutil"
)

// A Try is a server that has failed a session before it answered.
type Try struct {
	Backend string
	Reason  Reason
	Errno   syscall.Errno // 0 = none
	Took    time.Duration // since the connect to it began, or since it got the first packet
}

// maxTries is how many failures of a session are remembered. While it waits in a queue
// there may be one a second.
const maxTries = 8

// noteTry remembers that the backend of s has failed it.
func (l *loop) noteTry(s *session, reason Reason, errno syscall.Errno) {
	n := s.name()
	if len(n.tried) == maxTries {
		n.tried = append(n.tried[:0], n.tried[1:]...)
	}
	n.tried = append(n.tried, Try{s.backend.Name(), reason, errno, l.now - s.active})
}

// tried returns the failures of s before the one that it ends with, if it ends with one.
func (s *session) tried(reason Reason) []Try {
	if s.names == nil {
		return nil
	}
	all := s.names.tried
	if last := len(all) - 1; s.backend == nil && last >= 0 && all[last].Reason == reason {
		return all[:last]
	}
	return all
}

// cameTo returns the address that a client has come to, where that is wanted of a
// session that ends with reason.
func (l *loop) cameTo(fd int, reason Reason) (local netip.AddrPort) {
	if want := l.server.config.WantLocal; want != nil && want(reason) {
		local, _ = sysutil.LocalAddr(fd)
	}
	return local
}
