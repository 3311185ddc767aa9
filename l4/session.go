package l4

import (
	"net/netip"
	"syscall"
	"time"

	"sluice/l4/pgwire"
	"sluice/l4/route"
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
	peerClosed        // nothing more comes: FIN was received, or the connection has failed; latched
	failed            // RST, an error, or both FINs; latched
	inOrder           // FIN was received while the connection was whole; latched
	shortReadsLie     // a read may stop short of what is there: at urgent data, or after a message with descriptors on a Unix socket; latched
	ignored           // events for input are off while the sink is full, see ignore; latched
	userTimeoutLifted // the kernel's bound on unacknowledged bytes is lifted, see lookAtPeers
	guarded           // the kernel looks for a dead backend, see guard
	introduced        // the backend has had its PROXY header, if it gets one; latched
	writableUnwatched // nobody has asked to be told when it becomes writable: it always was, see awaitRoom
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
		e.ready = shortReadsLie
	}
	return e
}

// connected notes that a socket can be written to, before the kernel is asked.
func (e *end) connected() { e.ready |= writable | writableUnwatched }

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
	rules      *rules
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
func (l *loop) begin(r *rules, fd int, peer netip.AddrPort, counted bool) {
	s := l.sessions.take()
	s.id = l.nextID()
	s.rules, s.client, s.counted = r, peer, counted
	s.started, s.active, l.small = l.now+l.stalled, l.now, l.now
	s.ends[client] = newEnd(fd, !peer.IsValid())
	s.ends[client].connected()
	s.ends[server] = end{fd: -1}
	l.guardLater(s)
	l.advance(s, l.firstState(s, peer))
}

// firstState is where a new session goes.
func (l *loop) firstState(s *session, peer netip.AddrPort) state {
	config := &s.rules.config
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
	if s.ends[side].ready&writableUnwatched != 0 {
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
	var key route.Key
	if s.opening != nil {
		key = s.opening.key
		s.opening.tries = tries{} // they may be those of another pool, which was asked for encryption only
	}
	if s.target = s.rules.targets.choose(key); s.target == nil {
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
		end.ready |= readable | shortReadsLie
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
