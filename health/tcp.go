package health

import (
	"context"
	"net"

	"sluice/pool"
)

// tcpChecker connects and closes. A listening socket whose backlog has room passes, even if its process hangs.
type tcpChecker struct{ dialer net.Dialer }

func newTCPChecker() *tcpChecker {
	// No keep-alive: the connection does not live long enough for one.
	return &tcpChecker{net.Dialer{KeepAlive: -1}}
}

// Check returns nil when the backend accepts a connection before ctx is done.
func (c *tcpChecker) Check(ctx context.Context, b *pool.Backend) error {
	a := b.Address()
	target := a.Unix
	if !a.IsUnix() {
		target = a.TCP.String()
	}
	conn, err := c.dialer.DialContext(ctx, a.Network(), target)
	if err != nil {
		return err // "dial tcp 10.0.0.1:80: connect: connection refused" says it all
	}
	// A plain close sends a FIN, which the server takes for a client that changed its mind. A reset would save it the
	// TIME_WAIT here, one per interval, but many servers log and some count resets as errors.
	_ = conn.Close()
	return nil
}
