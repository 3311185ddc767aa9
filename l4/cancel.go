package l4

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/pool"
)

const (
	// DefaultMaxCancels is Config.MaxCancels where that is 0. It bounds the cancel requests under way at once, and the connections
	// for them, unless the configuration does: anybody may send one, and it may be
	// for many servers.
	DefaultMaxCancels = 128
	// cancelTimeout bounds each of them: Postgres answers with FIN at once.
	cancelTimeout = 5 * time.Second
	// downTimeout bounds those to servers that take no new sessions.
	downTimeout = time.Second
)

// A cancellation is a CancelRequest on its way to those who may own the session
// it is for. It is no work for a loop: it may go to several servers, and each
// gets its own connection.
type cancellation struct {
	asked   []addressee
	packet  []byte
	dialled chan struct{} // the server's: holds one value per connection
}

// An addressee is a server that is asked to cancel, and the PROXY header that it
// gets; empty = none.
type addressee struct {
	backend *pool.Backend
	header  []byte
	dial    *dialTarget
}

// passCancel passes a CancelRequest on to those who may own the session that it is for: one
// that does not know the key ignores the request.
func (l *loop) passCancel(s *session) state {
	if s.backend != nil {
		l.dropBackend(s) // it has said that it does not encrypt; who is to be asked is another question
	}
	c := &cancellation{packet: s.opening.packet, dialled: l.server.cancelDials}
	among, ok := l.owners(s)
	if !ok {
		return l.end(s, RateLimited, 0)
	}
	if err := l.address(s, c, among); err != nil {
		return l.end(s, ConnectFailed, 0)
	}
	switch {
	case len(c.asked) == 0:
		return l.end(s, NoBackend, 0)
	case !l.server.startCancel(l, c, s.token(client)):
		return l.end(s, QueueFull, 0)
	}
	return stateCancelling
}

// startCancel lets a goroutine pass a request on, and tell the loop when it is
// done. It returns false when too many are under way.
func (srv *Server) startCancel(l *loop, c *cancellation, t token) bool {
	select {
	case srv.cancelling <- struct{}{}:
	default:
		return false
	}
	srv.running.Go(func() {
		ctx, stop := context.WithTimeout(srv.life, cancelTimeout)
		defer stop()
		reason := c.run(ctx)
		<-srv.cancelling
		l.inbox.post(message{kind: cancelDone, token: t, reason: reason})
	})
	return true
}

// run asks every addressee at once. A server that has acted on the request closes
// the connection, which is how the client knows that it was heard. Once one has, the
// others get the request as well, and it is not waited for long that they close.
func (c *cancellation) run(ctx context.Context) Reason {
	patience, stop := context.WithCancel(ctx)
	defer stop()
	results := make([]error, len(c.asked))
	var all sync.WaitGroup
	var heard sync.Once
	for i, to := range c.asked {
		if results[i] = c.mayDial(ctx); results[i] != nil {
			continue
		}
		all.Go(func() {
			results[i] = c.send(ctx, patience, to)
			<-c.dialled
			if results[i] == nil {
				heard.Do(func() { time.AfterFunc(downTimeout, stop) })
			}
		})
	}
	all.Wait()
	if slices.Contains(results, nil) {
		return ServerClosed
	}
	if slices.Contains(results, errNotHeard) {
		return ServerReset
	}
	return connectReason(failedDial(results[0]))
}

// mayDial waits until there may be one more connection. An error means that the time is
// over: nobody is asked any more, so nobody has failed.
func (c *cancellation) mayDial(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.dialled <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send takes one request to one backend. It takes no slot: a server that is full
// is the one whose sessions are to be cancelled, and requests that anybody may send
// must not keep sessions out.
func (c *cancellation) send(ctx, patience context.Context, to addressee) error {
	b := to.backend
	if !b.Usable() { // it may own the session, but the client is not to wait for a dead server
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, downTimeout)
		defer stop()
	}
	a := b.Address()
	at := a.Unix
	if !a.IsUnix() {
		at = a.TCP.String()
	}
	conn, err := to.dial.netDialer().DialContext(ctx, a.Network(), at)
	if err != nil {
		b.Dialed(failedDial(err))
		return err
	}
	b.Dialed(pool.DialOK)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	if _, err := conn.Write(slices.Concat(to.header, c.packet)); err != nil {
		return errNotHeard
	}
	defer context.AfterFunc(patience, func() { conn.SetDeadline(time.Now()) })()
	if _, err = io.Copy(io.Discard, conn); err != nil {
		return errNotHeard
	}
	return nil
}

// errNotHeard: a server has taken the connection, and did not close it in order.
var errNotHeard = errors.New("cancel request was not answered")

func failedDial(err error) pool.DialResult {
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return pool.DialTimeout
	case errors.As(err, &errno):
		return dialResult(errno)
	}
	return pool.DialError
}

// cancelDone ends the session of a cancel request, unless its client has left.
func (l *loop) cancelDone(t token, reason Reason) {
	if s := l.sessions.find(t); s != nil {
		l.end(s, reason, 0)
	}
}
