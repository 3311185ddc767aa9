// Package l4 is the data path of sluice: it accepts connections, tells the
// backend who the client is, and moves bytes in both directions.
//
// # Who owns what
//
// A [Server] runs a fixed number of loops. A loop is one goroutine on one
// locked thread with one epoll instance. It alone touches its sessions, its
// timers and its pipes; so nothing in a session is locked or atomic. Other
// goroutines post a message to the loop's inbox and wake it. What loops share
// is the listening sockets, the pools (package pool has its own lock, taken
// once per session), and counters. Who looks through all sessions does so some at a time, in
// as many turns of the loop (walk.go).
//
// # The life of a session
//
// The way of most sessions of plain TCP is dialling, connecting, sending, relaying. A
// test compares this table with the code; every state may also end.
//
//	closed      ──► read_header, read_hello, dialling, arriving  (accepted, or handed over)
//	read_header ──► read_hello, dialling                         (the PROXY header is read)
//	read_hello  ──► dialling, sending, cancelling                (the first packet is read)
//	dialling    ──► read_hello, waiting, connecting, paused      (the next backend is chosen; never stands)
//	waiting     ──► read_hello, dialling, connecting, paused     (in the pool's queue)
//	connecting  ──► read_hello, dialling, waiting, paused, sending
//	paused      ──► read_hello, dialling, waiting, connecting    (something here is in the way of the connect)
//	sending     ──► read_hello, dialling, waiting, answering, relaying (never stands)
//	answering   ──► read_hello, dialling, waiting, sending, relaying
//	cancelling  ──►                                              (a cancel request is passed on)
//	relaying    ──►                                              (bytes pass both ways)
//	arriving    ──► read_header, read_hello, waiting, connecting, paused, answering, relaying (handed over)
//
// A backend that fails before it has answered is exchanged for another one: back to
// dialling, or to the queue. Where no server is left that could say it, the client is
// told to go on in clear so that it can be told why: back to read_hello (refusal.go).
//
// state.go has all that a state is. A handler returns the next state; advance alone sets
// it, and lets the session act there until a state stands. end, the one door out, gives
// back the pipes, the buffer, the timer, the backend's slot or place in the queue and the
// counters, and reports the session with its [Reason].
//
// A connection has a place among the sessions that there may be before it is accepted
// (quota.go), and its client is looked at as soon as its real address is known
// (admission.go).
//
// # The first bytes
//
// Where the protocol says more than the address, readHello (startup.go) looks at the
// first bytes and nothing else: a ClientHello (package tlshello) or a packet of Postgres
// (package pgwire). They choose the target (targets.go, package route), and go on to the
// backend as they came. A question for encryption that has to be answered before the name
// is known is answered by sluice, asked again of the backend, and its answer checked
// (startup_packet.go, hello.go).
//
// What can be said of bytes and addresses without a session is in packages of its own:
// those three, proxyheader, and clients, with the limits that admission.go applies.
//
// A session belongs to a backend from its first answer on. A backend that fails
// before is exchanged for another one (answer.go), one that goes down after takes
// its sessions with it when and how package health says (evict.go).
//
// # Change
//
// What a server listens at, and what it does with sessions, is replaced while it runs, all or
// nothing: [Server.Prepare] does what can fail (update.go), [Prepared.Commit] the rest
// (commit.go). A listener is its name, a socket its address. What can differ from session to
// session is in rules (rules.go), which do not change: a listener points at those for new
// sessions, a session at its own. Counters, places and the table of clients go from one
// rules to the next, and what no session has any more is forgotten. Loops are told which
// sockets there are by a message; those that are gone have their backlog closed, emptied and
// only then given up (retire.go), as all have at the end (drain.go).
//
// # Readiness
//
// A socket is registered once, edge-triggered, for everything; only a stream
// whose sink is full stops listening to its source meanwhile. An event sets
// bits in its readiness; EAGAIN, or a short read while nothing says that the
// peer hung up, clears them; code acts on bits. A session that stops because
// its budget is used up is queued by its loop, for epoll will not repeat
// itself.
//
// # Moving bytes
//
// move is one function over (source, sink). Small reads go through the loop's
// scratch buffer. A direction that keeps reading a lot is spliced through a
// pipe that is lent while bytes are in it. Bytes are read only when nothing is
// unsent, so a session holds at most one read's worth, and an idle one holds
// two descriptors and no buffer.
//
// FIN is data: it is passed on after the last byte, and the other direction
// goes on. RST is news: it becomes a reset on the other side, after what could
// be delivered at once.
//
// # Time
//
// A byte that the kernel holds for a peer moves when the peer acknowledges it: a
// session is looked at while its peers owe something (deadpeer.go). A deadline is
// judged after all that lies in the kernel for the session was read (state.go), and
// a loop's clock stands still while the process does (loop.go). Whoever cuts a
// session spares what a peer sent before its FIN (evict.go).
package l4
