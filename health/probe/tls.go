package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"
)

// tlsProber makes a TLS handshake. Where nothing is to be verified and no certificate to be shown, a ServerHello is
// enough: whether a certificate or a cipher will do is for clients to say, and they may be older than crypto/tls likes.
type tlsProber struct {
	transient
	dialer *dialer
	client *tlsClient
	// helloOnly is set by a server with which crypto/tls gets no further than to a ServerHello, or not even there: it is
	// asked for no more the next time. Elsewhere the handshake goes to its end, since many servers log one that does not.
	helloOnly atomic.Bool
}

func newTLSProber(c Config, d *dialer) (Prober, error) {
	client, err := newTLSClient(c.TLS, d)
	if err != nil {
		return nil, err
	}
	return &tlsProber{dialer: d, client: client}, nil
}

// Probe returns no error when the server speaks TLS before ctx is done, and the certificate is good if that matters.
func (p *tlsProber) Probe(ctx context.Context) (Answer, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	switch {
	case !p.client.isLenient():
		return Answer{}, p.shake(ctx)
	case p.helloOnly.Load():
		return Answer{}, p.askHello(ctx)
	}
	return Answer{}, p.shakeLeniently(ctx)
}

// shake makes the whole handshake. A server that wants a certificate when the check has none to show, and says so once
// its own has been verified, is up: its clients have one.
func (p *tlsProber) shake(ctx context.Context) error {
	config, err := p.client.settings()
	if err != nil {
		return err
	}
	lacking := false
	if config.GetClientCertificate == nil {
		// Called when the server's certificate has been verified. What it returns means none.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			lacking = true
			return new(tls.Certificate), nil
		}
	}
	err = p.shakeWith(ctx, config)
	if isRemote(err) && lacking {
		return nil
	}
	return err
}

// shakeWith makes a handshake. In TLS 1.3 the server judges the client's certificate after its end: that is waited for.
func (p *tlsProber) shakeWith(ctx context.Context, config *tls.Config) error {
	conn, err := p.dialer.dial(ctx)
	if err != nil {
		return err
	}
	secure, err := handshake(ctx, conn, config)
	if err != nil {
		return err
	}
	if p.client.files.CertFile == "" {
		part(ctx, secure)
		return nil
	}
	until, ok := ctx.Deadline()
	if !ok {
		until = momentOf(ctx)
	}
	if err := partBy(ctx, secure, until); isRemote(err) {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

// shakeLeniently begins with a handshake, and is content with a ServerHello.
func (p *tlsProber) shakeLeniently(ctx context.Context) error {
	config, err := p.client.settings()
	if err != nil {
		return err
	}
	conn, err := p.dialer.dial(ctx)
	if err != nil {
		return err
	}
	heard := &overheard{Conn: conn}
	secure, err := handshake(ctx, heard, config)
	switch {
	case err == nil:
		if err := partBy(ctx, secure, momentOf(ctx)); isRemote(err) { // it wants a certificate
			p.helloOnly.Store(true)
		}
		return nil
	case ctx.Err() != nil:
		return err
	case heard.saidHello():
		p.helloOnly.Store(true)
		return nil
	case heard.mayKnowAnother():
		return p.askHello(ctx)
	}
	return err
}

// askHello asks for a ServerHello and no more.
func (p *tlsProber) askHello(ctx context.Context) error {
	conn, err := p.dialer.dial(ctx)
	if err != nil {
		return err
	}
	err = hello(ctx, conn, p.client.sni())
	p.helloOnly.Store(err == nil)
	part(ctx, conn)
	return err
}
