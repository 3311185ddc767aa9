package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// moment bounds what is done for politeness only.
const moment = 200 * time.Millisecond

// part ends a connection without provoking a reset, which servers log: it sends a FIN, in TLS a close_notify before it,
// and reads what the server still has to say until that closes too. A close with bytes unread, such as the session
// tickets of TLS 1.3, would be a reset. When ctx is done it just closes.
func part(ctx context.Context, conn net.Conn) { _ = partBy(ctx, conn, momentOf(ctx)) }

// partBy is part for who expects a last word until then. The error is why reading failed, if it did.
func partBy(ctx context.Context, conn net.Conn, until time.Time) error {
	defer conn.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_ = conn.SetDeadline(until)
	if t, ok := conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
		closeWrite(t.NetConn())
	} else {
		closeWrite(conn)
	}
	_, err := io.Copy(io.Discard, conn)
	return err
}

// momentOf returns when to give up what is done for politeness only.
func momentOf(ctx context.Context) time.Time {
	until := time.Now().Add(moment)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		return deadline
	}
	return until
}

// closeWrite sends a FIN.
func closeWrite(conn net.Conn) {
	for {
		switch c := conn.(type) {
		case interface{ CloseWrite() error }:
			_ = c.CloseWrite()
			return
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return
		}
	}
}

// finishing returns a context for one probe. It ends at ctx's deadline, but only a moment after ctx is cancelled: the
// end of the program is no reason to break off a handshake, which the server would log.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return ctx, func() {}
	}
	detached, cancelDetached := context.WithCancel(context.WithoutCancel(ctx))
	limited, cancel := detached, cancelDetached
	if deadline, ok := ctx.Deadline(); ok {
		limited, cancel = context.WithDeadline(detached, deadline)
	}
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			time.AfterFunc(moment, cancelDetached)
		}
	})
	return limited, func() {
		stop()
		cancel()
		cancelDetached()
	}
}

// cutAt makes reads and writes of conn fail when ctx is done, until stop is called.
func cutAt(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
