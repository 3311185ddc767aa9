package probe

import "context"

// tlsProber makes a TLS handshake.
type tlsProber struct {
	transient
	dialer *dialer
	client *tlsClient
}

func newTLSProber(c Config, d *dialer) (Prober, error) {
	client, err := newTLSClient(c.TLS, d)
	if err != nil {
		return nil, err
	}
	return &tlsProber{dialer: d, client: client}, nil
}

// Probe returns no error when the handshake succeeds before ctx is done, and the certificate is good if that matters.
func (p *tlsProber) Probe(ctx context.Context) (Answer, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	conn, err := p.dialer.dialTLS(ctx, p.client)
	if err != nil {
		return Answer{}, err
	}
	part(ctx, conn)
	return Answer{}, nil
}
