package probe

import (
	"context"
	"fmt"
)

// tcpProber connects and closes. A listening socket whose backlog has room passes, even if its process hangs.
type tcpProber struct {
	transient
	dialer *dialer
}

// Probe returns no error when the server accepts a connection before ctx is done.
func (p *tcpProber) Probe(ctx context.Context) (Answer, error) {
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
