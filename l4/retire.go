package l4

import (
	"context"
	"syscall"
	"time"

	"sluice/sysutil"
)

const (
	// handshakeTime is how long handshakes that are under way when a socket is given up have
	// to be completed. Those of clients far away take a round trip; meanwhile the SYNs of
	// others are dropped, and the first of them is sent again after a second.
	handshakeTime = 250 * time.Millisecond
	// nearHandshakeTime is the same on this machine. There they are made in one go, unless
	// the kernel's time for packets is over in the middle of it: the rest is done by
	// ksoftirqd, which waits for a CPU as other threads do. Who gets no further is reset.
	nearHandshakeTime = 50 * time.Millisecond
	// handshakePace is how often what has come of them is taken.
	handshakePace = 10 * time.Millisecond
)

// retire closes sockets that no loop watches any more, after it has seen to it that nothing
// is and nothing comes into their queues: what is in there when a socket is closed is
// reset. It reports false when ctx was done while descriptors were wanting for that;
// the sockets are then still open.
func (srv *Server) retire(ctx context.Context, doors []door) (empty bool) {
	if len(doors) == 0 {
		return true
	}
	srv.finishHandshakes(ctx, doors, handshakeTime)
	for _, d := range doors {
		d.closeBacklog()
	}
	sysutil.Settle()
	pace := time.NewTicker(restTime)
	defer pace.Stop()
	for !srv.emptyBacklogs(doors) {
		select {
		case <-pace.C:
		case <-srv.life.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	closeDoors(doors)
	return true
}

// finishHandshakes lets no new connection begin, and takes those that are under way.
func (srv *Server) finishHandshakes(ctx context.Context, doors []door, limit time.Duration) {
	wait := time.Duration(0)
	for _, d := range doors {
		wait = max(wait, d.refuseHandshakes(limit))
	}
	if wait == 0 {
		return
	}
	pace := time.NewTicker(handshakePace)
	defer pace.Stop()
	for end := time.After(wait); ; {
		select {
		case <-pace.C:
			srv.emptyBacklogs(doors)
		case <-end:
			return
		case <-srv.life.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// emptyBacklogs takes every connection that waits in the kernel. It reports false when
// there was nothing to take some of them with.
func (srv *Server) emptyBacklogs(doors []door) bool {
	return srv.askLoops(takeBacklogs, doors) == 0
}

func closeDoors(doors []door) {
	for _, d := range doors {
		d.close()
	}
}

// refuseHandshakes lets no new connection begin, where the kernel can. It returns how long
// those take at most that are under way, which is limit for clients far away.
func (k *listenSocket) refuseHandshakes(limit time.Duration) time.Duration {
	if k.bound.IsUnix() {
		return 0
	}
	sysutil.RefuseHandshakes(k.fd) // without it all is as it was, but for some more that are late
	if k.bound.TCP.Addr().IsLoopback() {
		return min(limit, nearHandshakeTime)
	}
	return limit
}

// closeBacklog lets nothing more into the queue.
func (k *listenSocket) closeBacklog() {
	if k.bound.IsUnix() {
		sysutil.CloseUnixBacklog(k.fd)
	} else {
		sysutil.CloseBacklog(k.fd)
	}
}

// takeBacklogs takes what waits at some sockets, a batch in each turn. In the end it
// answers at how many of them some are left.
func (l *loop) takeBacklogs(m message) {
	left := 0
	for _, d := range m.doors {
		more, errno := l.takeBacklog(d)
		if more {
			l.inbox.post(m)
			return
		}
		if errno != 0 {
			left++
		}
	}
	m.ended(left)
}

// takeBacklog takes a batch of what waits at a socket that is watched no more. There is
// no limit: nobody will take these later. more: it may not be all. errno says for want
// of what some are left.
func (l *loop) takeBacklog(d door) (more bool, errno syscall.Errno) {
	for range maxAcceptBatch {
		if l.shortBy > l.now {
			return false, syscall.EMFILE
		}
		fd, peer, errno := sysutil.Accept(d.fd)
		switch {
		case errno == 0:
			if peer.IsValid() {
				sysutil.Unfilter(fd)
			}
			l.server.places.force()
			d.listener.places.force()
			d.listener.accepts.Add(1)
			l.receive(d.listener, fd, peer)
		case errno == syscall.EAGAIN, errno == syscall.EINVAL: // EINVAL: of a Unix socket that is shut down
			return false, 0
		case isOfConnection(errno):
			d.listener.acceptErrors.Add(1)
		default:
			l.pipes.Close() // those that nobody has borrowed
			d.listener.acceptErrors.Add(1)
			if d.listener.scarce.due(l.now) {
				l.log.Warn("listener stays open until it can take what waits in the kernel's backlog",
					"listener", d.listener.name, "error", errno, "sessions", l.server.sessionCount())
			}
			return false, errno
		}
	}
	return true, 0
}
