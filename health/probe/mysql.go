package probe

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// mysqlConn is a session with a server of MySQL or MariaDB.
type mysqlConn struct {
	wire        mysqlWire
	version     string // of the server
	replication bool   // is asked about
	over        atomic.Bool
}

// shut closes the connection for good, without a word.
func (c *mysqlConn) shut() {
	c.over.Store(true)
	_ = c.wire.conn.Close()
}

func (c *mysqlConn) closed() bool { return c.over.Load() }
func (c *mysqlConn) bury()        {}

// leave ends the session as a client does: without that the server logs an aborted connection.
func (c *mysqlConn) leave() {
	defer c.shut()
	_ = c.wire.conn.SetDeadline(time.Now().Add(moment))
	if err := c.wire.command(mysqlQuit, ""); err != nil {
		return
	}
	// The server closes, and there is nothing to read before that.
	_, _ = c.wire.conn.Read(make([]byte, 1))
}

// watch waits for the server to say something unasked: that it ends, in words or by closing.
func (c *mysqlConn) watch(ctx context.Context) {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.wire.conn.SetReadDeadline(time.Unix(1, 0))
		close(woken)
	})
	_, err := c.wire.conn.Read(make([]byte, 1))
	if !stop() {
		<-woken
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() != nil {
		_ = c.wire.conn.SetReadDeadline(time.Time{})
		return
	}
	c.shut()
}

// ask asks what the server is. What it does not let the user see is left out.
func (c *mysqlConn) ask(ctx context.Context) (DatabaseAnswer, error) {
	nextQuestion(c.wire.conn)
	stop := cutAt(ctx, c.wire.conn)
	answer, err := c.answer()
	if !stop() { // the deadline is, or will be, that of a connection of no use
		c.shut()
	}
	if err == nil {
		return answer, nil
	}
	var said serverErrorOfMySQL
	var unfit unfitError
	if !errors.As(err, &said) && !errors.As(err, &unfit) {
		c.shut() // nobody knows where in the exchange it is
	}
	return DatabaseAnswer{}, c.reason(ctx, err)
}

// reason returns what an error means, in words for an operator.
func (c *mysqlConn) reason(ctx context.Context, err error) error {
	return plainly(ctx, overrun(c.wire.conn, err))
}

// unfitError says why a server that answers is not fit for sessions.
type unfitError string

func (e unfitError) Error() string { return string(e) }
