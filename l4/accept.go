package l4

import (
	"math"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"sluice/sysutil"
)

const (
	// maxAcceptBatch bounds what one listener may take before the sessions
	// at hand get their turn.
	maxAcceptBatch = 64
	// restTime is how long a socket rests after accept ran out of
	// descriptors or memory. The kernel's backlog holds the connections.
	restTime = 100 * time.Millisecond
)

// A socket is a loop's view of a listening socket that all loops share.
type socket struct {
	door
	// batch is how many connections are taken per event. It doubles while
	// the queue stays full and falls back when it runs dry, so a lone
	// connection costs no accept that answers EAGAIN, and a flood is taken
	// in large steps.
	batch   int
	resting time.Duration // until when it is not watched; 0 = it is watched
}

// vacant is resting in a place of loop.sockets that is free. An event for the socket that
// was there may still be in the batch at hand.
const vacant = math.MaxInt64

// watchListeners starts to accept on every socket.
func (l *loop) watchListeners() syscall.Errno {
	l.watching = true
	for i := range l.sockets {
		if l.sockets[i].resting == vacant {
			continue
		}
		if errno := l.watchListener(i); errno != 0 {
			return errno
		}
	}
	return 0
}

func (l *loop) watchListener(i int) syscall.Errno {
	watch := l.poller.AddListener
	if l.rivalled {
		watch = l.poller.AddReadable
	}
	return watch(l.sockets[i].fd, uint64(tokenInbox)+1+uint64(i))
}

// setRivalled watches the sockets so that every connection wakes this loop, or, without rivals,
// so that it wakes one of all loops.
func (l *loop) setRivalled(rivalled bool) {
	if l.rivalled == rivalled {
		return
	}
	l.rivalled = rivalled
	for i := range l.sockets {
		k := &l.sockets[i]
		if k.resting != 0 || !l.watching {
			continue
		}
		l.poller.Remove(k.fd) // EPOLLEXCLUSIVE cannot be changed: see epoll_ctl(2)
		if errno := l.watchListener(i); errno != 0 {
			l.rest(k, errno)
		}
	}
}

// accept takes connections from a socket. No error ends the listener: what is
// wrong with one connection is skipped, and a lack of descriptors or memory is
// load, so the socket rests a while.
func (l *loop) accept(k *socket) {
	for range k.batch {
		if k.resting != 0 || !l.reservePlace(k) {
			return
		}
		fd, peer, errno := sysutil.Accept(k.fd)
		if errno != 0 {
			l.server.returnPlace(k.listener)
		}
		switch {
		case errno == 0:
			k.listener.accepts.Add(1)
			l.warnNear(k.listener)
			l.receive(k.listener, fd, peer)
		case errno == syscall.EAGAIN:
			k.batch = max(1, k.batch/2)
			return
		case isOfConnection(errno):
			k.listener.acceptErrors.Add(1)
		default: // a lack of descriptors or memory, and what nobody has thought of
			l.rest(k, errno)
			return
		}
	}
	k.batch = min(k.batch*2, maxAcceptBatch)
}

// isOfConnection reports whether accept failed with an error of the connection that was
// to be accepted, or with a firewall's refusal (accept(2), "Error handling"): the next
// may be fine.
func isOfConnection(errno syscall.Errno) bool {
	switch errno {
	case syscall.ECONNABORTED, syscall.EINTR, syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENONET,
		syscall.ENOPROTOOPT, syscall.EOPNOTSUPP:
		return true
	}
	return false
}

// receive takes an accepted connection, which has a place.
func (l *loop) receive(ls *listener, fd int, peer netip.AddrPort) {
	rules, counted := ls.rules.Load(), false
	if rules.config.AcceptProxy == nil {
		var reason Reason
		if counted, reason = l.admit(rules, peer.Addr()); reason != noReason {
			l.server.returnPlace(ls)
			l.refuse(ls, fd, peer, reason)
			return
		}
	}
	to := l.server.place(l)
	to.load.Add(1)
	rules.sessions.Add(1)
	if to == l {
		l.begin(rules, fd, peer, counted)
	} else {
		to.inbox.post(message{kind: adoptConnection, rules: rules, fd: fd, peer: peer, counted: counted})
	}
}

// rest stops watching a socket for a while, for want of descriptors or memory.
func (l *loop) rest(k *socket, errno syscall.Errno) {
	k.listener.acceptErrors.Add(1)
	l.pause(k)
	k.listener.scarceUntil.Store(int64(l.server.clock() + restTime))
	if k.listener.scarce.due(l.now) {
		l.log.Warn("listener rests: the kernel's backlog holds new connections", "listener", k.listener.name,
			"error", errno, "sessions", l.server.sessionCount())
	}
}

// pause stops watching a socket until restTime is over or a session has ended here.
func (l *loop) pause(k *socket) {
	k.listener.resting.Add(1)
	l.poller.Remove(k.fd)
	k.resting = l.now + restTime
	l.resting++
	l.freed = false
}

// restAll lets every socket rest: a connect failed for want of something that
// further sessions would want too.
func (l *loop) restAll(errno syscall.Errno) {
	for i := range l.sockets {
		if l.sockets[i].resting == 0 {
			l.rest(&l.sockets[i], errno)
		}
	}
}

// wakeResting watches a resting socket again when its time is over or when a
// session has ended here and given descriptors back, unless other sessions need these.
func (l *loop) wakeResting() {
	if l.resting == 0 {
		return
	}
	for i := range l.sockets {
		k := &l.sockets[i]
		if k.resting == 0 || k.resting == vacant || (k.resting > l.now && !l.freed) || l.shortBy > l.now {
			continue
		}
		if errno := l.watchListener(i); errno != 0 {
			k.resting = l.now + restTime
			continue
		}
		k.resting, k.batch = 0, 1
		k.listener.resting.Add(-1)
		l.resting--
	}
}

// setSockets makes these the sockets on which the loop accepts. Those that it had go on
// as they are, for the listeners to which they belong now.
func (l *loop) setSockets(doors []door) {
	gone := make(map[*listenSocket]*socket, len(l.sockets))
	for i := range l.sockets {
		if k := &l.sockets[i]; k.resting != vacant {
			gone[k.listenSocket] = k
		}
	}
	var added []door
	for _, d := range doors {
		if k := gone[d.listenSocket]; k != nil {
			k.move(d.listener)
			delete(gone, d.listenSocket)
		} else {
			added = append(added, d)
		}
	}
	for _, k := range gone {
		l.dropSocket(k)
	}
	for _, d := range added {
		l.addSocket(d)
	}
	l.freed = true // there may be more places than before
}

// move gives the connections of a socket to another listener.
func (k *socket) move(to *listener) {
	if k.listener != to && k.resting != 0 {
		k.listener.resting.Add(-1)
		to.resting.Add(1)
	}
	k.listener = to
}

func (l *loop) addSocket(d door) {
	at := slices.IndexFunc(l.sockets, func(k socket) bool { return k.resting == vacant })
	if at < 0 {
		at = len(l.sockets)
		l.sockets = append(l.sockets, socket{})
	}
	l.sockets[at] = socket{door: d, batch: 1}
	if !l.watching {
		return
	}
	if errno := l.watchListener(at); errno != 0 {
		l.rest(&l.sockets[at], errno)
	}
}

// dropSocket stops watching a socket for good. What waits there is left to takeBacklogs.
func (l *loop) dropSocket(k *socket) {
	switch {
	case k.resting != 0:
		k.listener.resting.Add(-1)
		l.resting--
	case l.watching:
		l.poller.Remove(k.fd)
	}
	*k = socket{resting: vacant}
}
