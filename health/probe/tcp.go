package probe

import (
	"context"
	"fmt"
)

// tcpProber asks whether somebody listens. A listening socket whose backlog has room passes, even if its process hangs.
type tcpProber struct {
	transient
	dialer *dialer
}

// Probe returns no error when the server's kernel answers before ctx is done. Only a Unix socket, and a server that
// wants a PROXY header, get to see a connection.
func (p *tcpProber) Probe(ctx context.Context) (Answer, error) {
	if !p.dialer.address.IsUnix() && p.dialer.version == 0 {
		return Answer{}, p.dialer.knock(ctx)
	}
	conn, err := p.dialer.dial(ctx)
	if err != nil {
		return Answer{}, err
	}
	// A plain close sends a FIN, which the server takes for a client that changed its mind. A reset would save it the
	// TIME_WAIT here, one per interval, but many servers log and some count resets as errors.
	defer conn.Close()
	if err := sendPrefix(conn); err != nil {
		return Answer{}, fmt.Errorf("send PROXY header: %w", err)
	}
	return Answer{}, nil
}
