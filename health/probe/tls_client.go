package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// verification is what is verified of a server's certificate.
type verification uint8

const (
	nothing      verification = iota
	chain                     // who has signed it
	chainAndName              // and whom it is for
)

// tlsClient makes TLS handshakes. The files that its configuration names are read at each, so that new ones count.
type tlsClient struct {
	verify verification
	name   string     // asked for (SNI), and verified with chainAndName
	roots  *rootsFile // nil = those of the system
	files  TLSConfig
}

// newTLSClient verifies the certificate for the server's name when there are certificates to trust, and nothing
// otherwise.
func newTLSClient(c TLSConfig, d *dialer) (*tlsClient, error) {
	if c.CAFile == "" {
		return c.client(nothing, d)
	}
	return c.client(chainAndName, d)
}

func (c TLSConfig) client(verify verification, d *dialer) (*tlsClient, error) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a client's certificate needs its key, and a key its certificate")
	}
	client := &tlsClient{verify: verify, name: c.ServerName, files: c}
	if client.name == "" && verify == chainAndName {
		if client.name = d.host(); client.name == "" { // crypto/tls sends no SNI for an IP
			return nil, errors.New("verify the certificate behind a Unix socket: a server name is needed")
		}
	}
	if c.CAFile != "" && verify != nothing {
		client.roots = rootsFileOf(c.CAFile)
	}
	return client, nil
}

// isLenient reports whether nothing is verified and nothing shown.
func (c *tlsClient) isLenient() bool { return c.verify == nothing && c.files.CertFile == "" }

// sni returns the name that is asked for; "" for none, and for an IP, which SNI does not have (RFC 6066, section 3).
func (c *tlsClient) sni() string {
	if _, err := netip.ParseAddr(c.name); err == nil {
		return ""
	}
	return strings.TrimSuffix(c.name, ".")
}

// allSuites are all cipher suites that crypto/tls has, among them those it warns of.
var allSuites = func() (ids []uint16) {
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		ids = append(ids, suite.ID)
	}
	return ids
}()

// settings returns the settings of one handshake.
func (c *tlsClient) settings() (*tls.Config, error) {
	config := &tls.Config{
		ServerName: c.name, InsecureSkipVerify: c.verify != chainAndName,
		// What clients accept is theirs to say: no version and no cipher is too weak for a check.
		MinVersion: tls.VersionTLS10, CipherSuites: allSuites,
	}
	if c.roots != nil {
		roots, err := c.roots.read()
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = roots
	}
	if c.verify == chain {
		config.VerifyConnection = verifyChain(config.RootCAs)
	}
	if c.files.CertFile != "" {
		pair, err := ReadKeyPair(c.files.CertFile, c.files.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		// Shown to whoever asks, also when it is none of the authorities that the server names: let the server judge.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return config, nil
}

// verifyChain verifies a certificate, but not whom it is for.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, certificate := range s.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		if _, err := s.PeerCertificates[0].Verify(options); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
}

// dialTLS connects and makes a handshake; client nil = it only connects.
func (d *dialer) dialTLS(ctx context.Context, client *tlsClient) (net.Conn, error) {
	if client == nil {
		return d.dial(ctx)
	}
	config, err := client.settings()
	if err != nil {
		return nil, err
	}
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	secure, err := handshake(ctx, conn, config)
	if err != nil {
		return nil, err // and not a nil *tls.Conn
	}
	return secure, nil
}

// handshake makes conn a TLS connection. It closes conn when it fails.
func handshake(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error) {
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	noteCertificate(ctx, secure, err)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", plainly(ctx, err))
	}
	return secure, nil
}
