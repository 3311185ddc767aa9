package probe

import (
	"errors"
	"net"
	"sync/atomic"
)

const (
	// takeMost bounds the bytes that a probe of any kind takes from a server for one question: all that comes over the
	// connection counts, what TLS adds included. The handshake, the login and the answer are one question where nothing
	// else is said.
	takeMost = 1 << 20
	// lifeMost bounds what is taken over one connection that is kept, however many questions it answers: what a server
	// tells between its answers, such as parameters, is remembered. An honest one of Postgres needs hours for it, a replica
	// of MySQL a quarter of an hour.
	lifeMost = 4 << 20
)

var errTooMuch = errors.New("the server sent more than 1 MiB in answer")

// bounded is a connection that takes only so much. Every connection of a probe is one (see dialer.dial).
type bounded struct {
	net.Conn
	left  atomic.Int64 // that may still be read for this question
	taken atomic.Int64 // since the connection was made
}

func newBounded(conn net.Conn) *bounded {
	b := &bounded{Conn: conn}
	b.left.Store(takeMost)
	return b
}

// Read fails with errTooMuch when all has been taken, even if nothing more would come: it is not asked for.
func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	b.taken.Add(int64(n))
	return n, err
}

// NetConn returns the connection below, as that of a tls.Conn does.
func (b *bounded) NetConn() net.Conn { return b.Conn }

// nextQuestion allows a connection that a dialer made, and that may be inside TLS by now, the bytes of one more answer.
func nextQuestion(conn net.Conn) {
	if b := boundOf(conn); b != nil {
		b.left.Store(takeMost)
	}
}

// overrun returns errTooMuch in place of err when the bound is what made reading fail: a parser that sees a line break off
// calls it malformed, and pgconn forgets why it closed.
func overrun(conn net.Conn, err error) error {
	if b := boundOf(conn); err != nil && b != nil && b.left.Load() <= 0 {
		return errTooMuch
	}
	return err
}

// worn reports whether a connection has taken so much that it is better not kept.
func worn(conn net.Conn) bool {
	b := boundOf(conn)
	return b != nil && b.taken.Load() >= lifeMost
}

func boundOf(conn net.Conn) *bounded {
	for {
		switch c := conn.(type) {
		case *bounded:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}
