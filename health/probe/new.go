package probe

import (
	"context"
	"fmt"

	"sluice/pool"
)

// New returns a prober of the server at address. Config.Kind must not be Off. It fails when the configuration cannot
// work: nothing is asked yet. The text of a probe's error is printable, one line and bounded, whatever the server says.
func New(c Config, address pool.Address) (Prober, error) {
	d, err := newDialer(c, address)
	if err != nil {
		return nil, err
	}
	p, err := newProberOf(c, d)
	if err != nil {
		return nil, err
	}
	return harmless{p}, nil
}

func newProberOf(c Config, d *dialer) (Prober, error) {
	switch c.Kind {
	case TCP:
		return &tcpProber{dialer: d}, nil
	case TLS:
		return newTLSProber(c, d)
	case HTTP:
		return newHTTPProber(c, d)
	case Expect:
		return newExpectProber(c, d)
	case MySQL:
		return newMySQLProber(c, d)
	case Postgres:
		return newPostgresProber(c, d)
	}
	return nil, fmt.Errorf("make prober: nothing is asked with the check type %s", c.Kind)
}

// transient is the part of a prober that keeps nothing between probes.
type transient struct{}

// Wait returns false when ctx is done: there is no connection to lose.
func (transient) Wait(ctx context.Context) (lost bool) {
	<-ctx.Done()
	return false
}

// Close does nothing.
func (transient) Close() {}
