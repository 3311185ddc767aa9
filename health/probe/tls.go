package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// tlsProber makes a TLS handshake.
type tlsProber struct {
	transient
	dialer *dialer
	config *tls.Config
}

func newTLSProber(c Config, d *dialer) (Prober, error) {
	config, err := c.TLS.client(d)
	if err != nil {
		return nil, err
	}
	return &tlsProber{dialer: d, config: config}, nil
}

// Probe returns no error when the handshake succeeds before ctx is done, and the certificate is good if that matters.
func (p *tlsProber) Probe(ctx context.Context) (Answer, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	conn, err := p.dialer.dial(ctx)
	if err != nil {
		return Answer{}, err
	}
	secure, err := handshake(ctx, conn, p.config)
	if err != nil {
		return Answer{}, err
	}
	part(ctx, secure)
	return Answer{}, nil
}

// handshake makes conn a TLS connection. It closes conn when it fails.
func handshake(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error) {
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", plainly(ctx, err))
	}
	return secure, nil
}

// client returns the settings of a handshake that verifies the certificate for the server's name when there are
// certificates to trust, and not at all otherwise.
func (c TLSConfig) client(d *dialer) (*tls.Config, error) {
	if c.CA == nil {
		return c.unverified(), nil
	}
	return c.verified(d)
}

func (c TLSConfig) unverified() *tls.Config {
	return &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: true}
}

// verified returns the settings of a handshake that verifies the certificate and its name.
func (c TLSConfig) verified(d *dialer) (*tls.Config, error) {
	name := c.ServerName
	if name == "" {
		name = d.host() // crypto/tls sends no SNI for an IP
	}
	if name == "" {
		return nil, errors.New("verify the certificate behind a Unix socket: a server name is needed")
	}
	return &tls.Config{ServerName: name, RootCAs: c.CA}, nil
}

// chainVerified returns the settings of a handshake that verifies the certificate, but not whom it is for.
func (c TLSConfig) chainVerified() *tls.Config {
	config := c.unverified()
	config.VerifyConnection = func(s tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: c.CA, Intermediates: x509.NewCertPool()}
		for _, certificate := range s.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		if _, err := s.PeerCertificates[0].Verify(options); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
	return config
}
