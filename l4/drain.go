package l4

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"sluice/sysutil"
)

const (
	// handshakeTime is how long handshakes that are under way when a server stops have to
	// be completed. Those of clients far away take a round trip; meanwhile the SYNs of
	// others are dropped, and the first of them is sent again after a second.
	handshakeTime = 250 * time.Millisecond
	// handshakePace is how often what has come of them is taken.
	handshakePace = 10 * time.Millisecond
)

// Shutdown is called once, after Start. It stops accepting, waits until every
// session has ended by itself, and releases everything. What the kernel has accepted
// before that is served like the rest, beyond the limits of sessions if need be. When
// ctx is done before all have ended, the sessions that are left are ended with reason
// shutdown, and the error says how many. Those in which a peer has finished and that
// only deliver the rest of what it said have as long as that goes on, or until EndAll
// is called.
func (srv *Server) Shutdown(ctx context.Context) error {
	empty := srv.stopAccepting(ctx)
	for _, l := range srv.loops {
		l.inbox.post(message{kind: reportDrained})
	}
	err := srv.waitDrained(ctx)
	if !empty {
		srv.cutBacklogs()
	}
	if err != nil {
		for _, l := range srv.loops {
			l.inbox.post(message{kind: cutSessions})
		}
		_ = srv.waitDrained(srv.hurried)
	}
	for _, l := range srv.loops {
		l.inbox.post(message{kind: endSessions})
		l.inbox.post(message{kind: exitLoop})
	}
	srv.end()
	srv.running.Wait()
	return err
}

// EndAll ends, in a Shutdown whose context is done, the sessions that it still waits for.
func (srv *Server) EndAll() { srv.hurry() }

// stopAccepting closes the listening sockets, after it has seen to it that nothing is
// and nothing comes into their queues: what is in there when a socket is closed is
// reset. It reports false when ctx was done while descriptors were wanting for that;
// the sockets are then still open.
func (srv *Server) stopAccepting(ctx context.Context) (empty bool) {
	srv.askLoops(stopAccepting)
	srv.finishHandshakes(ctx, handshakeTime)
	for _, ls := range srv.listeners {
		ls.closeBacklogs()
	}
	sysutil.Settle()
	pace := time.NewTicker(restTime)
	defer pace.Stop()
	for !srv.emptyBacklogs() {
		select {
		case <-pace.C:
		case <-srv.life.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	srv.closeListeners()
	return true
}

// finishHandshakes lets no new connection begin, and takes those that are under way. On
// this machine they are made in one go.
func (srv *Server) finishHandshakes(ctx context.Context, limit time.Duration) {
	far := false
	for _, ls := range srv.listeners {
		far = ls.refuseHandshakes() || far
	}
	if !far {
		sysutil.Settle()
		return
	}
	pace := time.NewTicker(handshakePace)
	defer pace.Stop()
	for end := time.After(limit); ; {
		select {
		case <-pace.C:
			srv.emptyBacklogs()
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
func (srv *Server) emptyBacklogs() bool { return srv.askLoops(takeBacklogs) == 0 }

// cutBacklogs takes what still waits in the kernel, now that sessions are cut and free
// descriptors: each is counted and told, like the others.
func (srv *Server) cutBacklogs() {
	for accepts, before := uint64(0), uint64(1); accepts != before; {
		before = accepts
		for _, l := range srv.loops {
			l.inbox.post(message{kind: endSessions})
		}
		if srv.emptyBacklogs() {
			break
		}
		accepts = 0
		for _, ls := range srv.listeners {
			accepts += ls.accepts.Load()
		}
	}
	srv.closeListeners()
}

// askLoops lets every loop carry out a message, and returns the sum of what they answer
// when all have, or when one of them has failed.
func (srv *Server) askLoops(kind messageKind) (sum int) {
	answers := make(chan int, len(srv.loops))
	for _, l := range srv.loops {
		l.inbox.post(message{kind: kind, ended: func(n int) { answers <- n }})
	}
	for range srv.loops {
		select {
		case n := <-answers:
			sum += n
		case <-srv.life.Done():
			return sum
		}
	}
	return sum
}

func (srv *Server) closeListeners() {
	for _, ls := range srv.listeners {
		ls.close()
	}
}

func counted(n int) string {
	if n == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", n)
}

func (srv *Server) waitDrained(ctx context.Context) error {
	for _, l := range srv.loops {
		select {
		case <-l.drained:
		case <-ctx.Done():
			if n := srv.sessionCount(); n > 0 {
				return fmt.Errorf("%s cut: %w", counted(n), context.Cause(ctx))
			}
		}
	}
	return nil
}

// refuseHandshakes lets no new connection begin, where the kernel can. It reports
// whether some may be under way: never from this machine.
func (ls *listener) refuseHandshakes() (far bool) {
	for i, address := range ls.bound {
		if !address.IsUnix() {
			sysutil.RefuseHandshakes(ls.fds[i]) // without it all is as it was, but for some more that are late
			far = far || !address.TCP.Addr().IsLoopback()
		}
	}
	return far
}

// closeBacklogs lets nothing more into the queues.
func (ls *listener) closeBacklogs() {
	for i, address := range ls.bound {
		if address.IsUnix() {
			sysutil.CloseUnixBacklog(ls.fds[i])
		} else {
			sysutil.CloseBacklog(ls.fds[i])
		}
	}
}

// takeBacklogs takes what waits at every socket, a batch in each turn. In the end it
// answers at how many sockets some are left.
func (l *loop) takeBacklogs(m message) {
	left := 0
	for i := range l.sockets {
		more, errno := l.takeBacklog(&l.sockets[i])
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
func (l *loop) takeBacklog(k *socket) (more bool, errno syscall.Errno) {
	for range maxAcceptBatch {
		if l.shortBy > l.now {
			return false, syscall.EMFILE
		}
		fd, peer, errno := sysutil.Accept(k.fd)
		switch {
		case errno == 0:
			if peer.IsValid() {
				sysutil.Unfilter(fd)
			}
			l.server.places.force()
			k.listener.places.force()
			k.listener.accepts.Add(1)
			l.receive(k.listener, fd, peer)
		case errno == syscall.EAGAIN, errno == syscall.EINVAL: // EINVAL: of a Unix socket that is shut down
			return false, 0
		case isOfConnection(errno):
			k.listener.acceptErrors.Add(1)
		default:
			l.pipes.Close() // those that nobody has borrowed
			k.listener.acceptErrors.Add(1)
			if k.listener.scarce.due(l.now) {
				l.log.Warn("listener stays open until it can take what waits in the kernel's backlog",
					"listener", k.listener.name, "error", errno, "sessions", l.server.sessionCount())
			}
			return false, errno
		}
	}
	return true, 0
}
