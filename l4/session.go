package l4

import (
	"net/netip"
	"syscall"
	"time"

	"sluice/l4/pgwire"
	"sluice/pool"
	"sluice/sysutil"
)

// side names one of the two ends of a session.
type side uint8

const (
	client side = iota
	server
)

func (s side) other() side { return s ^ 1 }

// readiness is what is known of a socket without asking the kernel. epoll
// sets bits; readable and writable are cleared by EAGAIN, or by a short read
// while nothing says that the peer hung up.
type readiness uint16

const (
	readable readiness = 1 << iota
	writable
	peerClosed // nothing more comes: FIN was received, or the connection has failed; latched
	failed     // RST, an error, or both FINs; latched
	inOrder    // FIN was received while the connection was whole; latched
	ragged     // a read may stop short of what is there: at urgent data, or after a message with descriptors on a Unix socket; latched
	ignored    // events for input are off while the sink is full, see ignore; latched
	spared     // the kernel's bound on unacknowledged bytes is lifted, see lookAtPeers
	guarded    // the kernel looks for a dead backend, see guard
	introduced // the backend has had its PROXY header, if it gets one; latched
	unasked    // nobody has asked to be told when it becomes writable: it always was, see awaitRoom
)

// An end is one socket of a session.
type end struct {
	fd     int32 // none: -1
	ready  readiness
	header uint16 // size of the PROXY header that was sent there
}

func newEnd(fd int, isUnix bool) end {
	e := end{fd: int32(fd)}
	if isUnix {
		e.ready = ragged
	}
	return e
}

// connected notes that a socket can be written to, before the kernel is asked.
func (e *end) connected() { e.ready |= writable | unasked }

// A half is one direction of a session. It reads from the end of its own side
// and writes to the other one. At most one of pipe and held has bytes.
type half struct {
	pipe  *sysutil.Pipe // lent while bytes are in it
	held  []byte        // read but not yet sent; nil almost always
	bytes uint64        // passed on to the sink, the PROXY header included
	// owed is how many of them the sink's peer had yet to take when that was last
	// asked, see noteTaken.
	owed uint32
	// streak counts reads that filled the scratch buffer, up to a limit; it
	// decides between copy and splice.
	streak   uint8
	noSplice bool // the kernel cannot splice these sockets
	eof      bool // the source has sent FIN, and all before it was read
	done     bool // the FIN was passed on to the sink
}

// unsent reports whether bytes were read that the sink has not taken.
func (h *half) unsent() bool { return h.pipe != nil || len(h.held) > 0 }

// A session is one client connection joined to one backend connection. It
// belongs to its loop: nothing else touches it, so nothing in it is locked.
//
// While it relays, all there is to it is here and in two descriptors: another
// process that is sent both could go on with it.
type session struct {
	id         uint64
	generation uint32
	slot       int32
	state      state
	queued     bool // in loop.queue
	retries    uint8
	attempt    uint8  // counts connects, for tokens; it may wrap
	counted    bool   // among its client's sessions
	sealed     bool   // among those of Postgres that are encrypted
	untimed    bool   // its timer is to be set: the deadline has become another one
	cut        Reason // it is to end for this when what its peers have finished saying is delivered, see cutOff
	ends       [2]end
	halves     [2]half // halves[client] flows from the client to the backend
	timer      timer
	listener   *listener
	target     *target            // nil until a pool is chosen
	backend    *pool.Backend      // holds one of its slots; nil until reserved
	opening    *opening           // what matters only before relaying; nil mostly
	login      *pgwire.KeyScanner // of a Postgres login in clear; nil for everything else
	names      *names             // nil = none
	client     netip.AddrPort
	started    time.Duration // on the server's clock
	active     time.Duration // on the loop's clock: when a byte last moved or was seen to be taken; while connecting, when the connect began
	connect    time.Duration // how long the connect took
	lookAt     time.Duration // when to look whether the peers still answer; 0 = nothing has moved since the last look
	waited     time.Duration // in the pool's queue, the present wait left out
}

// begin makes a session of an accepted connection.
func (l *loop) begin(ls *listener, fd int, peer netip.AddrPort, counted bool) {
	s := l.sessions.take()
	s.id = l.nextID()
	s.listener, s.client, s.counted = ls, peer, counted
	s.started, s.active, l.small = l.now+l.stalled, l.now, l.now
	s.ends[client] = newEnd(fd, !peer.IsValid())
	s.ends[client].connected()
	s.ends[server] = end{fd: -1}
	l.guardLater(s)
	ls.sessions.Add(1)
	l.advance(s, l.firstState(s, peer))
}

// firstState is where a new session goes.
func (l *loop) firstState(s *session, peer netip.AddrPort) state {
	config := &s.listener.config
	if accept := config.AcceptProxy; accept != nil && !accept.trusts(peer.Addr()) {
		return l.end(s, HeaderUntrusted, 0)
	}
	if config.AcceptProxy == nil && s.traits().hello {
		// By now it has mostly sent all that it says before it is answered.
		s.ends[client].ready |= readable
		if _, errno := l.readInput(s, helloRead); errno != 0 {
			return l.end(s, ClientReset, errno)
		}
	}
	if errno := l.watch(s, client); errno != 0 {
		return l.end(s, ConnectFailed, errno)
	}
	if config.AcceptProxy != nil {
		return stateReadHeader
	}
	return l.readFirstBytes(s)
}

// watch registers one end with epoll, which may fail with ENOMEM, or ENOSPC beyond
// fs.epoll.max_user_watches.
func (l *loop) watch(s *session, side side) syscall.Errno {
	add := l.poller.AddConnecting
	if s.ends[side].ready&unasked != 0 {
		add = l.poller.AddConnected
	}
	return add(int(s.ends[side].fd), uint64(s.token(side)))
}

// readFirstBytes goes on with a session whose client is known: to the first bytes, where
// the listener's protocol has some, and else to a backend.
func (l *loop) readFirstBytes(s *session) state {
	if !s.traits().peeks {
		return l.route(s)
	}
	s.active = l.now
	return stateReadHello
}

// route picks the pool, by what the first bytes have said.
func (l *loop) route(s *session) state {
	if s.backend != nil {
		l.dropBackend(s) // it has been asked for encryption only, when nobody knew who is wanted
	}
	var key routeKey
	if s.opening != nil {
		key = s.opening.key
		s.opening.tries = tries{} // they may be those of another pool, which was asked for encryption only
	}
	if s.target = s.listener.targets.choose(key); s.target == nil {
		return l.end(s, NoRoute, 0)
	}
	return stateDialling
}

// ready takes an event for one end of s and lets s act on it.
func (l *loop) ready(s *session, side side, bits sysutil.Ready) {
	l.note(s, side, bits)
	if s.streams() {
		l.enqueue(s)
	} else {
		l.step(s)
	}
}

// note sets the bits of readiness that an event stands for.
func (l *loop) note(s *session, side side, bits sysutil.Ready) {
	end := &s.ends[side]
	if bits&sysutil.Readable != 0 {
		end.ready |= readable
	}
	if bits&sysutil.Writable != 0 {
		end.ready |= writable
	}
	if bits&sysutil.PeerClosed != 0 {
		if bits&sysutil.Failed == 0 {
			end.ready |= inOrder
		}
		l.noteFIN(s, end)
	}
	if bits&sysutil.Urgent != 0 {
		end.ready |= readable | ragged
	}
	// An error is found by the ordinary read or write, which names it.
	if bits&(sysutil.HungUp|sysutil.Failed) != 0 {
		end.ready |= readable | writable | failed
	}
}

// noteFIN notes that the peer at one end has sent FIN, from which the fin
// timeout counts, even when a sink has been stalled for long before.
func (l *loop) noteFIN(s *session, end *end) {
	first := end.ready&peerClosed == 0
	end.ready |= readable | peerClosed
	if first && (s.state == stateRelaying || s.state == stateAnswering) {
		s.active, s.untimed = l.now, true
		l.lookSoon(s)
	}
}

// end is the one door out. It closes both sockets, gives back everything the
// session holds, counts it and reports it. errno is the cause, or zero. It returns the
// state of the session from then on.
func (l *loop) end(s *session, reason Reason, errno syscall.Errno) state {
	if reason == ClientReset && isReset(errno) && l.probed(s) {
		reason = ClientClosed
	}
	reason, errno = s.endReason(reason, errno)
	local := l.cameTo(int(s.ends[client].fd), reason)
	l.closeSockets(s, reason, errno)
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
		s.listener.clients.Leave(s.client.Addr())
	}
	s.listener.sessions.Add(-1)
	l.server.returnPlace(s.listener)
	s.listener.endCounters(s.target)[reason].Add(1)
	if l.server.config.OnEnd != nil {
		record := l.record(s, reason, errno)
		record.Local = local
		l.server.config.OnEnd(record)
	}
	l.sessions.put(s)
	l.load.Add(-1)
	l.freed = true
	return stateClosed
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
	if end.ready&(guarded|spared) == guarded {
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
