package admin

import (
	"context"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/sysutil"
)

// How many connections each address has at a time, the one at the door included. Whoever counts descriptors counts
// these, and the listening sockets. The control socket has places of its own: strangers cannot take them.
const (
	TCPConns    = 22
	SocketConns = 8
)

// How long a connection is left alone when others wait.
const (
	newPatience   = 100 * time.Millisecond // the first request is to come, or the rest of one: programs also connect in advance
	idlePatience  = 20 * time.Millisecond  // the next request is to come: it may be on its way
	stallPatience = time.Second            // the answer is to be taken
)

// A places is a listener with a bound on its open connections. When all places are taken and somebody is at the door,
// the connection that has let us wait for longest makes room: an idle one, one whose request does not get complete, or
// one that does not read its answer. Requests that are being worked at are never cut.
type places struct {
	net.Listener
	most   int
	closed chan struct{}
	shut   sync.Once
	news   chan struct{} // holds a value when a connection has ended or does something else
	crowd  atomic.Bool   // somebody is at the door and has no place

	listing *turnstile // one list of sessions at a time

	mu   sync.Mutex // guards what follows, and what the connections wait for
	open map[*conn]struct{}
	door net.Conn      // one that was accepted and has no place yet
	hold chan struct{} // closed when connections are accepted again; nil: they are
	held bool          // Accept waits for that
}

// newPlaces bounds l to most connections. One of them is always the one at the door.
func newPlaces(l net.Listener, most int) *places {
	return &places{Listener: l, most: most, closed: make(chan struct{}), news: make(chan struct{}, 1), open: make(map[*conn]struct{}), listing: newTurnstile()}
}

// Accept is called by one goroutine.
func (p *places) Accept() (net.Conn, error) {
	c, err := p.accept()
	if err != nil {
		return nil, err
	}
	for {
		admitted := p.admit(c)
		p.crowd.Store(admitted == nil)
		if admitted != nil {
			return admitted, nil
		}
		select {
		case <-p.news:
		case <-time.After(idlePatience): // somebody's patience may be over, unread bytes may be read
		case <-p.closed:
			_ = c.Close()
			return nil, net.ErrClosed
		}
	}
}

// admit gives c a place; nil: there is none.
func (p *places) admit(c net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.door = c
	if len(p.open) >= p.most-1 {
		last := p.longestWaiting(now)
		if last == nil {
			return nil
		}
		_ = last.Conn.Close() // its goroutine finds out
		delete(p.open, last)
	}
	admitted := &conn{Conn: c, places: p, state: fresh, since: now}
	p.open[admitted] = struct{}{}
	p.door = nil
	return admitted
}

// longestWaiting returns the connection with which our patience has been over for longest; nil: there is none.
func (p *places) longestWaiting(now time.Time) (last *conn) {
	var longest time.Duration
	for c := range p.open {
		if over := now.Sub(c.since) - c.patience(); over > longest && !c.unread() {
			last, longest = c, over
		}
	}
	return last
}

func (p *places) Close() error {
	p.shut.Do(func() { close(p.closed) })
	return p.Listener.Close()
}

// What a connection is doing, as far as it matters for who makes room.
type connState uint8

const (
	fresh   connState = iota // it owes us its first request
	idle                     // it may ask again
	asking                   // it owes us the rest of a request
	working                  // we owe it an answer
	writing                  // it is to take an answer
)

// A conn is a connection that has a place.
type conn struct {
	net.Conn
	places *places
	state  connState // with what follows: guarded by places.mu
	since  time.Time
	last   bool // Server.Pause does not wait for its answer
}

// patience is how long c may be as it is while others wait.
func (c *conn) patience() time.Duration {
	switch c.state {
	case fresh, asking:
		return newPatience
	case idle:
		return idlePatience
	case writing:
		return stallPatience
	}
	return math.MaxInt64
}

// unread reports whether a request may lie there that nobody has read yet.
func (c *conn) unread() (some bool) {
	if c.state == writing {
		return false
	}
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		n, _ := sysutil.Peek(int(fd), make([]byte, 1))
		some = n > 0
	})
	return some
}

func (c *conn) enter(s connState) (before connState) {
	c.places.mu.Lock()
	before, c.state, c.since = c.state, s, time.Now()
	c.places.mu.Unlock()
	c.places.tell()
	return before
}

// answersLast says that Server.Pause must not wait for the answer on c: it comes when all others have.
func (c *conn) answersLast() {
	c.places.mu.Lock()
	c.last = true
	c.places.mu.Unlock()
	c.places.tell()
}

func (p *places) tell() {
	select {
	case p.news <- struct{}{}:
	default: // there is news already
	}
}

// Read notes the first bytes of a request. Later ones earn no more patience.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.places.mu.Lock()
		if c.state == fresh || c.state == idle {
			c.state, c.since = asking, time.Now()
		}
		c.places.mu.Unlock()
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	defer c.enter(c.enter(writing))
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	err := c.Conn.Close() // before somebody else takes the place: it is counted in descriptors
	c.leave()
	return err
}

// leave gives the place up.
func (c *conn) leave() {
	c.places.mu.Lock()
	delete(c.places.open, c)
	c.places.mu.Unlock()
	c.places.tell()
}

// connChanged is http.Server's ConnState. An answer counts as long as the server has not sent all of it.
func connChanged(c net.Conn, s http.ConnState) {
	switch c := c.(*conn); s {
	case http.StateIdle:
		c.places.mu.Lock()
		c.last = false
		c.places.mu.Unlock()
		c.enter(idle)
		if c.places.paused() && !c.unread() {
			_ = c.Conn.Close() // the server finds out
		}
	case http.StateHijacked: // whoever has it now counts it
		c.leave()
	}
}

type connKey struct{}

// withConn is http.Server's ConnContext: handlers find their connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// placed tells a request's connection that it is being worked at. It ends with the answer when others wait: clients that
// ask on and on would keep their places for ever. So it does when no further request is taken.
func placed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connKey{}).(*conn)
		c.enter(working)
		h.ServeHTTP(&leaving{w, c.places}, r)
	})
}

// A leaving is a ResponseWriter that asks the client to leave when others wait.
type leaving struct {
	http.ResponseWriter
	places *places
}

// Unwrap is for http.ResponseController.
func (l *leaving) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *leaving) WriteHeader(status int) {
	if l.places.crowd.Load() || l.places.paused() {
		l.Header().Set("Connection", "close")
	}
	l.ResponseWriter.WriteHeader(status)
}
