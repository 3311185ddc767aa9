package l4

import (
	"net/netip"
	"syscall"

	"sluice/sysutil"
)

// end is the one door out, in three steps: it closes both sockets, gives back everything
// that the session holds, and counts and reports it. errno is the cause, or zero. It
// returns the state of the session from then on.
func (l *loop) end(s *session, reason Reason, errno syscall.Errno) state {
	if reason == ClientReset && isReset(errno) && l.probed(s) {
		reason = ClientClosed
	}
	reason, errno = s.endReason(reason, errno)
	local := l.cameTo(int(s.ends[client].fd), reason)
	l.closeSockets(s, reason, errno)
	l.giveBack(s)
	l.report(s, reason, errno, local)
	l.sessions.put(s)
	l.load.Add(-1)
	l.freed = true
	return stateClosed
}

// giveBack gives back what s holds: its place in the queue or its slot, what is known of its
// login, pipes and buffers, its timer, and its places among the sessions that there may be.
func (l *loop) giveBack(s *session) {
	if s.waits() {
		s.waited += l.waitOver(s)
		s.backend = s.target.config.Pool.Leave(&s.opening.waiter) // it may have got one since
	}
	if s.login != nil {
		l.server.cancelKeys.remove(s.login.Key, s.id)
	}
	if s.sealed {
		l.server.sealed.add(s.client.Addr(), s.backend, -1)
	}
	for i := range s.halves {
		l.releaseBytes(&s.halves[i])
	}
	l.timers.cancel(s.slot)
	if s.backend != nil {
		s.backend.Release()
	}
	if s.counted {
		s.rules.clients.Leave(s.client.Addr())
	}
	s.rules.sessions.Add(-1)
	l.server.returnPlace(s.rules.listener)
}

// report counts a session that has ended, and tells of it.
func (l *loop) report(s *session, reason Reason, errno syscall.Errno, local netip.AddrPort) {
	s.rules.listener.endCounters(s.target)[reason].Add(1)
	if l.server.config.OnEnd != nil {
		record := l.record(s, reason, errno)
		record.Local = local
		l.server.config.OnEnd(record)
	}
}

// closeSockets ends both connections. A client whose protocol has a word for a start-up
// that came to nothing is told so, and that is its end of the data.
func (l *loop) closeSockets(s *session, reason Reason, errno syscall.Errno) {
	orderly := errno == 0 && reason.orderly() && !s.halves[client].unsent() && !s.halves[server].unsent()
	for _, side := range [...]side{server, client} {
		fd := int(s.ends[side].fd)
		switch {
		case fd < 0:
		case orderly, s.toldAll(side, reason, errno), side == client && l.sayLast(s, reason):
			l.closeInOrder(s, side)
		default:
			sysutil.Reset(fd)
		}
	}
}

// toldAll reports whether the peer at one side has been passed all that the other one
// had to say, its FIN included: what becomes of the rest of the session is nothing that
// this peer could take for the end of the data. What it still owes when the process ends is
// left to the kernel; and so it is when the other side is reset, of which a peer that has
// everything is told.
func (s *session) toldAll(side side, reason Reason, errno syscall.Errno) bool {
	h := &s.halves[side.other()]
	switch {
	case !h.done:
		return false
	case errno == 0:
		return h.owed == 0 || reason == Shutdown
	}
	owed, _ := sysutil.Owed(int(s.ends[side].fd))
	return owed != 0 && isReset(errno)
}

// closeInOrder closes a connection so that what it was given last is delivered, however
// long the peer takes. Input that nobody has read would turn that into a reset (RFC 2525,
// 2.17), and so would the bound on bytes that are not acknowledged if the peer took a break.
func (l *loop) closeInOrder(s *session, side side) {
	end := &s.ends[side]
	if end.ready&(guarded|userTimeoutLifted) == guarded {
		sysutil.SetUserTimeout(int(end.fd), 0)
	}
	if !s.halves[side].eof && s.halves[side.other()].done {
		l.discard(int(end.fd))
	}
	sysutil.Close(int(end.fd))
}

// discard reads what lies in a socket, up to a bound: whoever sends more than
// that meanwhile does not listen.
func (l *loop) discard(fd int) {
	for range 64 {
		if n, errno := sysutil.Recv(fd, l.scratch); n == 0 || errno != 0 {
			return
		}
	}
}

// releaseBytes gives back the pipe or buffer of one direction.
func (l *loop) releaseBytes(h *half) {
	if h.pipe != nil {
		l.pipes.Put(h.pipe)
		h.pipe = nil
	}
	if h.held != nil {
		l.buffers.put(h.held)
		h.held = nil
	}
}
