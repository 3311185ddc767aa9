package l4

import (
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"sluice/l4/pgwire"
	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/pool"
)

// names are what a session is called, for the log and the API, and who has failed it.
type names struct {
	server string // the name that the client asked for; "" = none
	unique string // what an earlier hop has called it; "" = nothing
	detail string // of its end: what was wrong with the first bytes; "" = nothing to say
	tried  []Try  // at most maxTries, the latest
}

func (s *session) name() *names {
	if s.names == nil {
		s.names = new(names)
	}
	return s.names
}

// An opening is the part of a session that only some need, and none after the
// first bytes were passed on.
type opening struct {
	input  []byte             // of a PROXY header or first packet that is not complete, or what came after it
	header *proxyproto.Header // as received; nil = the socket's own addresses count
	packet []byte             // the client's first packet, kept until the backend has answered; nil = none is read
	answer []byte             // a backend's first answer, an error that is not complete; nil = none
	sent   time.Duration      // when the packet went to the backend

	reader  tlshello.Reader
	hello   []byte    // a complete ClientHello, and what has come with it; nil = none
	key     route.Key // what the first bytes say
	kind    pgwire.Kind
	asked   [pgwire.GSSENCRequest + 1]bool // requests for encryption that have come, by their kind
	secured bool                           // sluice has answered a Postgres client's SSLRequest
	outcome Reason                         // why the session ends once the client can be told, see fail; noReason = it goes on
	alert   tlshello.Alert                 // what a client that speaks TLS is told if its first bytes lead nowhere; 0 = nothing

	tries
}

// packetHello is no packet of Postgres either: a ClientHello that was read.
const packetHello = pgwire.DirectTLS + 1

// tries are what a session has gone through to get a backend of its pool.
type tries struct {
	waiter    pool.Waiter   // has the backends that failed; the pool's while the session waits
	waiting   time.Duration // when the present wait began; 0 = it does not wait
	queueBy   time.Duration // when the last wait must be over, and the connects between waits; 0 = never, or it has not waited
	connectBy time.Duration // when the connects together must be over; 0 = no connect has failed
	barred    bool          // some of the waiter's Tried are barred for a turnaround
	lone      bool          // the present backend may take all the time that is left: there was no other one
	final     bool          // one of them has turned the session down: they get no other try
	failures  int           // in this round: connects that failed, and backends that did not answer
	last      *pool.Backend // of the last failure
	reason    Reason        // likewise
	errno     syscall.Errno
	obstacle  *obstacle // met since a backend has failed; nil = none
}

func (l *loop) open(s *session) *opening {
	if s.opening == nil {
		s.opening = l.openings.get()
	}
	return s.opening
}

// An openingPool keeps a few openings of sessions that have begun to relay, and the
// buffers of their ClientHellos. It belongs to one loop.
type openingPool struct {
	free []*opening
}

const (
	keepOpenings = 64
	keepHello    = 4 << 10 // of a buffer: with post-quantum key shares a hello has some 1,800 bytes
)

func (p *openingPool) get() *opening {
	last := len(p.free) - 1
	if last < 0 {
		return new(opening)
	}
	o := p.free[last]
	p.free = p.free[:last]
	return o
}

// put takes an opening that nothing points to any more, nor into its ClientHello.
func (p *openingPool) put(o *opening) {
	if o == nil || len(p.free) == keepOpenings {
		return
	}
	hello := o.hello[:0]
	*o = opening{}
	if cap(hello) <= keepHello {
		o.input = hello
	}
	p.free = append(p.free, o)
}
