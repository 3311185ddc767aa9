package probe

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func newPostgresProber(c Config, d *dialer) (Prober, error) {
	l, err := newLogin(c, d)
	if err != nil {
		return nil, err
	}
	return newDatabaseProber(func(ctx context.Context) (databaseConn, error) {
		conn, err := l.open(ctx)
		if err != nil {
			return nil, err // and not a nil *pgconn.PgConn
		}
		return postgresConn{conn}, nil
	}), nil
}

// postgresConn is a session with a Postgres server.
type postgresConn struct{ pg *pgconn.PgConn }

func (c postgresConn) ask(ctx context.Context) (DatabaseAnswer, error) { return query(ctx, c.pg) }
func (c postgresConn) net() net.Conn                                   { return c.pg.Conn() }
func (c postgresConn) closed() bool                                    { return c.pg.IsClosed() }

// watch listens for nothing: it ends with the connection, which then is closed, or with ctx, after which the connection
// is as good as before.
func (c postgresConn) watch(ctx context.Context) { _ = c.pg.WaitForNotification(ctx) }

func (c postgresConn) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), moment)
	defer cancel()
	_ = c.pg.Close(ctx)
}

// bury ends a connection that has failed. pgconn closes in the background, which can take long: it takes its leave and
// waits for the server's end. A server that is merely slow thus has no broken connection to log, but one that is stopped
// has had its chance.
func (c postgresConn) bury() { time.AfterFunc(moment, func() { _ = c.pg.Conn().Close() }) }

// serverError is an error that Postgres answered with, in its own words.
type serverError struct{ *pgconn.PgError }

func (e serverError) Error() string {
	return fmt.Sprintf("%s: %s (%s)", e.Severity, oneLine(e.Message), e.Code)
}

func (e serverError) Unwrap() error { return e.PgError }
