package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresProber logs in and asks. It keeps one connection between probes, for three reasons: a log that stays quiet, a
// probe that costs one round trip, and a server whose end is noticed at once.
//
// Whoever uses a connection owns it. It is in the slot while nobody does; there Wait may watch it, but gives it up as
// soon as a Probe takes it.
type postgresProber struct {
	login *login

	mu     sync.Mutex
	idle   *pgconn.PgConn // the slot; nil = empty
	watch  *watch         // of the connection in the slot; nil = it is not watched
	filled chan struct{}  // has room for one: the slot was filled
	lost   bool           // a kept connection was lost, and no probe has succeeded since
}

// watch is Wait's hold on the connection in the slot.
type watch struct {
	cancel context.CancelFunc // asks Wait to let go
	gone   chan struct{}      // closed when it has
}

func newPostgresProber(c Config, d *dialer) (Prober, error) {
	l, err := newLogin(c, d)
	if err != nil {
		return nil, err
	}
	return &postgresProber{login: l, filled: make(chan struct{}, 1)}, nil
}

// Probe returns what the server says of itself.
func (p *postgresProber) Probe(ctx context.Context) (Answer, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	said, err := p.ask(ctx)
	if err := p.judge(err); err != nil {
		return Answer{}, err
	}
	return Answer{Postgres: &said}, nil
}

// ask asks over the kept connection, or over a new one when there is none or it turns out to be dead: servers end
// sessions for many reasons, and only a login tells whether this one still takes any.
func (p *postgresProber) ask(ctx context.Context) (PostgresAnswer, error) {
	if conn := p.take(); conn != nil {
		said, err := query(ctx, conn)
		dead := conn.IsClosed()
		p.release(conn)
		if !dead || ctx.Err() != nil {
			return said, err
		}
		p.noteLoss()
	}
	conn, err := p.login.open(ctx)
	if err != nil {
		return PostgresAnswer{}, err
	}
	defer p.release(conn)
	return query(ctx, conn)
}

// judge remembers what a probe's failure says about the next one, and marks one that needs no second to be believed.
func (p *postgresProber) judge(err error) error {
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

func (p *postgresProber) noteLoss() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = true
}

// take returns the connection in the slot, which the caller then owns, or nil when there is none.
func (p *postgresProber) take() *pgconn.PgConn {
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
func (p *postgresProber) release(conn *pgconn.PgConn) {
	if conn.IsClosed() {
		// pgconn closes in the background, which can take long: it takes its leave and waits for the server's end. A
		// server that is merely slow thus has no broken connection to log, but one that is stopped has had its chance.
		time.AfterFunc(moment, func() { _ = conn.Conn().Close() })
		return
	}
	p.mu.Lock()
	surplus := p.idle != nil || worn(conn.Conn())
	if !surplus {
		p.idle = conn
	}
	p.mu.Unlock()
	if surplus {
		leave(conn)
		return
	}
	select {
	case p.filled <- struct{}{}:
	default:
	}
}

// leave ends a connection politely.
func leave(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), moment)
	defer cancel()
	_ = conn.Close(ctx)
}

// Close ends the kept connection.
func (p *postgresProber) Close() {
	if conn := p.take(); conn != nil {
		leave(conn)
	}
}

// Wait returns true as soon as the kept connection is lost while no Probe uses it: one that does finds out by itself.
func (p *postgresProber) Wait(ctx context.Context) (lost bool) {
	for ctx.Err() == nil {
		watching, conn, w := p.beginWatch(ctx)
		if conn == nil {
			select {
			case <-ctx.Done():
			case <-p.filled:
			}
			continue
		}
		// Nothing is listened for: it ends with the connection, which then is closed, or with the watch, after which the
		// connection is as good as before.
		_ = conn.WaitForNotification(watching)
		if p.endWatch(conn, w) {
			return true
		}
	}
	return false
}

// beginWatch takes hold of the connection in the slot; conn is nil when there is none.
func (p *postgresProber) beginWatch(ctx context.Context) (context.Context, *pgconn.PgConn, *watch) {
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
func (p *postgresProber) endWatch(conn *pgconn.PgConn, w *watch) (lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.cancel()
	if p.watch == w { // no Probe has taken the connection
		p.watch = nil
		if lost = conn.IsClosed(); lost {
			p.idle, p.lost = nil, true
		}
	}
	close(w.gone)
	return lost
}

// serverError is an error that Postgres answered with, in its own words.
type serverError struct{ *pgconn.PgError }

func (e serverError) Error() string {
	return fmt.Sprintf("%s: %s (%s)", e.Severity, oneLine(e.Message), e.Code)
}

func (e serverError) Unwrap() error { return e.PgError }
