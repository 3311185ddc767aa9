package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// seenCertificate is where a handshake leaves word of the server's certificate. It travels with the context of one
// probe: of many connections that are made on the way to an answer, any may be the one that has TLS.
type seenCertificate struct{ ends time.Time }

type certificateKey struct{}

// watchCertificate returns a context for one probe, and what its handshakes will have seen.
func watchCertificate(ctx context.Context) (context.Context, *seenCertificate) {
	seen := new(seenCertificate)
	return context.WithValue(ctx, certificateKey{}, seen), seen
}

// noteCertificate remembers the server's certificate after a handshake, also when it is not to be trusted: one that
// has run out is news.
func noteCertificate(ctx context.Context, conn *tls.Conn, err error) {
	seen, watched := ctx.Value(certificateKey{}).(*seenCertificate)
	if !watched {
		return
	}
	var chain []*x509.Certificate
	if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
		chain = untrusted.UnverifiedCertificates
	} else if err == nil {
		chain = conn.ConnectionState().PeerCertificates
	}
	if len(chain) > 0 {
		seen.ends = chain[0].NotAfter
	}
}
