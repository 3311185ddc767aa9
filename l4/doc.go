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
// once per session), and counters.
//
// # The life of a session
//
//	accept ──► ReadHeader ──► ReadHello ──► Connecting ──► Answering ──► Relaying ──► Closed
//	  │        (PROXY header  (ClientHello   │  ▲    ▲      │ (the backend has        ▲
//	  ▼         required)      or packet of  ▼  │    └──────┘  yet to answer the      │
//	refuse                     Postgres:   Waiting  another   first packet)           │
//	(denied, too               which pool) (in the  backend                           │
//	 many, too fast:           │            pool's                                    │
//	 no session)               ▼            queue)                                    │
//	                           Cancelling                                             │
//	   every state ───────────────────────────────────────────────────────────────────┘
//	                               end, the one door out
//
// A listener of plain TCP knows only ReadHeader, Connecting, Waiting and
// Relaying. A connection has a place among the sessions that there may be before it
// is accepted (quota.go), and its client is looked at as soon as its real address is
// known (admission.go). Only begin, enter and pass set a session's state, only end closes it. end
// gives back the pipes, the buffer, the timer, the backend's slot or place in the
// queue and the counters, and reports the session with its [Reason].
//
// # The first bytes
//
// Where the protocol says more than the address, readHello (startup.go) looks at the
// first bytes and nothing else: a ClientHello (package tlshello) or a packet
// of Postgres (package pgwire). They choose the target
// (targets.go, routes.go), and go on to the backend as they came. A question for
// encryption that has to be answered before the name is known is answered by sluice,
// asked again of the backend, and its answer checked (startup_packet.go, hello.go).
//
// A session belongs to a backend from its first answer on. A backend that fails
// before is exchanged for another one (answer.go), one that goes down after takes
// its sessions with it when and how package health says (evict.go).
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
