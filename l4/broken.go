package l4

import (
	"syscall"

	"sluice/sysutil"
)

// broken ends s because the connection on one side failed, after which the other one
// is reset. A side that had said all it had to say, before it reset what came after that
// or was gone with its machine, has left bytes here: s goes on until the other side has
// them.
func (l *loop) broken(s *session, side side, errno syscall.Errno) state {
	if !s.finished(side, errno) || s.halves[side].done && !s.awaits(side.other()) {
		return l.end(s, l.brokenBy(s, side, errno), errno)
	}
	back := &s.halves[side.other()]
	back.done = true // nobody takes it
	l.releaseBytes(back)
	s.ends[side].ready |= readable
	l.leaveFinishing(s, closedBy(side))
	l.enqueue(s)
	return stateRelaying
}

// awaits reports whether a peer has yet to take some of what it was sent, and may send more
// itself. If its connection were closed now, the kernel would answer that with a reset, which
// overtakes the rest.
func (s *session) awaits(side side) bool {
	if s.sentFIN(side) {
		return false
	}
	owed, _ := sysutil.Owed(int(s.ends[side].fd))
	return owed != 0
}

// finished reports whether a side whose connection has failed had sent FIN before. A reset
// after FIN is EPIPE to the kernel, not ECONNRESET (tcp_reset). A Unix socket whose peer
// only wants to read no more is that, too. After any failure a read that returns 0 says
// nothing, nor does an event that tells both.
func (s *session) finished(side side, errno syscall.Errno) bool {
	switch {
	case errno == syscall.EPIPE:
		return sysutil.ReadyNow(s.ends[side].fd, -1)[0]&sysutil.PeerClosed != 0
	case errno == syscall.ECONNRESET:
		return false
	}
	return s.ends[side].ready&inOrder != 0
}

// brokenBy is why a session ends whose connection on one side has failed. A side that
// had said all it had to say and then is gone altogether has closed. So it has when
// the other one resets after it, which TLS is full of: peers go without having read a
// close_notify, or are sent one when they have gone. A client that has sent FIN may
// still wait for its answer, though, in every protocol but Postgres'.
func (l *loop) brokenBy(s *session, side side, errno syscall.Errno) Reason {
	h, gone := &s.halves[side], isReset(errno)
	switch {
	case h.done && h.eof && (side == client || gone):
		return closedBy(side)
	case side == client && gone && l.saidAll(s, server):
		return ServerClosed
	case side == client:
		return ClientReset
	case (s.traits().finEnds || gone && s.halves[server].bytes > 0) && l.saidAll(s, client):
		return ClientClosed
	}
	return ServerReset
}

// goodbye is the most bytes that may be lost between a peer's FIN and the reset of the
// other one: a close_notify of TLS.
const goodbye = 64

// saidAll reports whether a side that is still there has sent FIN, read or unread, and
// all before it was passed on but for a goodbye.
func (l *loop) saidAll(s *session, side side) bool {
	h, end := &s.halves[side], &s.ends[side]
	if h.eof || h.unsent() || end.ready&failed != 0 {
		return h.eof && !h.unsent()
	}
	n, errno := sysutil.Peek(int(end.fd), l.scratch[:goodbye+1])
	if errno == 0 && 0 < n && n <= goodbye {
		_, _ = sysutil.Recv(int(end.fd), l.scratch[:n]) // there is nobody left to have it
		n, errno = sysutil.Peek(int(end.fd), l.scratch[:1])
	}
	return n == 0 && errno == 0
}

// closedBy is the reason of a clean end in which a side sent the first FIN.
func closedBy(side side) Reason {
	if side == client {
		return ClientClosed
	}
	return ServerClosed
}

// isReset reports whether an error means that the peer has closed its socket. Others
// mean that nothing is known of the peer.
func isReset(errno syscall.Errno) bool { return errno == syscall.ECONNRESET || errno == syscall.EPIPE }

// probed reports whether a client that has reset its connection has sent nothing and
// got nothing: it wanted to know whether somebody listens. That is how HAProxy and
// others check.
func (l *loop) probed(s *session) bool {
	up, down := &s.halves[client], &s.halves[server]
	if up.bytes > uint64(s.ends[server].header) || up.unsent() || down.bytes > 0 || down.unsent() || s.opening.spoken() {
		return false
	}
	n, _ := sysutil.Peek(int(s.ends[client].fd), l.scratch[:1]) // while a connect is under way nobody reads
	return n <= 0
}

// spoken reports whether a client has begun to say something after its PROXY header,
// or with it.
func (o *opening) spoken() bool {
	return o != nil && (len(o.input) > 0 || o.packet != nil || o.secured || o.asked != [len(o.asked)]bool{})
}
