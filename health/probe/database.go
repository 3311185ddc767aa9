package probe

import (
	"context"
	"net"
	"sync"
)

// databaseProber logs in and asks. It keeps one connection between probes, for three reasons: a log that stays quiet, a
// probe that costs one round trip, and a server whose end is noticed at once.
//
// Whoever uses a connection owns it. It is in the slot while nobody does; there Wait may watch it, but gives it up as
// soon as a Probe takes it.
type databaseProber struct {
	open func(context.Context) (databaseConn, error) // logs in

	mu     sync.Mutex
	idle   databaseConn  // the slot; nil = empty
	watch  *watch        // of the connection in the slot; nil = it is not watched
	filled chan struct{} // has room for one: the slot was filled
	lost   bool          // a kept connection was lost, and no probe has succeeded since
}

// watch is Wait's hold on the connection in the slot.
type watch struct {
	cancel context.CancelFunc // asks Wait to let go
	gone   chan struct{}      // closed when it has
}

// databaseConn is a session with a database server. One goroutine uses it at a time.
type databaseConn interface {
	// ask asks the server what it is. After an error the connection may be closed.
	ask(ctx context.Context) (DatabaseAnswer, error)
	// watch returns when the connection is lost, which then is closed, or ctx is done.
	watch(ctx context.Context)
	closed() bool
	// leave ends it politely.
	leave()
	// bury does what is left to do about one that is closed.
	bury()
	net() net.Conn
}

func newDatabaseProber(open func(context.Context) (databaseConn, error)) *databaseProber {
	return &databaseProber{open: open, filled: make(chan struct{}, 1)}
}

// Probe returns what the server says of itself.
func (p *databaseProber) Probe(ctx context.Context) (Answer, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	said, err := p.ask(ctx)
	if err := p.judge(err); err != nil {
		return Answer{}, err
	}
	return Answer{Database: &said}, nil
}

// ask asks over the kept connection, or over a new one when there is none or it turns out to be dead: servers end
// sessions for many reasons, and only a login tells whether this one still takes any.
func (p *databaseProber) ask(ctx context.Context) (DatabaseAnswer, error) {
	if conn := p.take(); conn != nil {
		said, err := conn.ask(ctx)
		dead := conn.closed()
		p.release(conn)
		if !dead || ctx.Err() != nil {
			return said, err
		}
		p.noteLoss()
	}
	conn, err := p.open(ctx)
	if err != nil {
		return DatabaseAnswer{}, err
	}
	defer p.release(conn)
	return conn.ask(ctx)
}

// judge remembers what a probe's failure says about the next one, and marks one that needs no second to be believed.
func (p *databaseProber) judge(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if saysUnavailable(err) || p.lost && refused(err) {
		return unavailable{err}
	}
	if err == nil {
		p.lost = false // a dying server may reset the first login after the loss; the refusals after that still count
	}
	return err
}

func (p *databaseProber) noteLoss() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = true
}

// take returns the connection in the slot, which the caller then owns, or nil when there is none.
func (p *databaseProber) take() databaseConn {
	p.mu.Lock()
	conn, w := p.idle, p.watch
	p.idle, p.watch = nil, nil
	p.mu.Unlock()
	if w != nil {
		w.cancel()
		<-w.gone
	}
	return conn
}

// release ends the caller's ownership of a connection: it goes into the slot if it is of use there.
func (p *databaseProber) release(conn databaseConn) {
	if conn.closed() {
		conn.bury()
		return
	}
	p.mu.Lock()
	surplus := p.idle != nil || worn(conn.net())
	if !surplus {
		p.idle = conn
	}
	p.mu.Unlock()
	if surplus {
		conn.leave()
		return
	}
	select {
	case p.filled <- struct{}{}:
	default:
	}
}

// Close ends the kept connection.
func (p *databaseProber) Close() {
	if conn := p.take(); conn != nil {
		conn.leave()
	}
}

// Wait returns true as soon as the kept connection is lost while no Probe uses it: one that does finds out by itself.
func (p *databaseProber) Wait(ctx context.Context) (lost bool) {
	for ctx.Err() == nil {
		watching, conn, w := p.beginWatch(ctx)
		if conn == nil {
			select {
			case <-ctx.Done():
			case <-p.filled:
			}
			continue
		}
		conn.watch(watching)
		if p.endWatch(conn, w) {
			return true
		}
	}
	return false
}

// beginWatch takes hold of the connection in the slot; conn is nil when there is none.
func (p *databaseProber) beginWatch(ctx context.Context) (context.Context, databaseConn, *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == nil {
		return nil, nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	p.watch = &watch{cancel, make(chan struct{})}
	return ctx, p.idle, p.watch
}

// endWatch lets go of conn, and reports whether it was lost while it was in the slot.
func (p *databaseProber) endWatch(conn databaseConn, w *watch) (lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.cancel()
	if p.watch == w { // no Probe has taken the connection
		p.watch = nil
		if lost = conn.closed(); lost {
			p.idle, p.lost = nil, true
		}
	}
	close(w.gone)
	return lost
}
