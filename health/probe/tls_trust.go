package probe

import (
	"crypto/tls"
	"crypto/x509"
)

// trusting returns the settings of a handshake that verifies nothing yet: where a server must be told why one leaves, it
// is for trust to say, after the handshake, whether one may stay.
func trusting(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.InsecureSkipVerify, config.VerifyConnection = true, nil
	return config
}

// trust verifies what the handshake of config would have verified.
func trust(conn *tls.Conn, config *tls.Config) error {
	state := conn.ConnectionState()
	if config.VerifyConnection != nil {
		return config.VerifyConnection(state)
	}
	if config.InsecureSkipVerify {
		return nil
	}
	options := x509.VerifyOptions{Roots: config.RootCAs, DNSName: config.ServerName, Intermediates: x509.NewCertPool()}
	for _, certificate := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}
