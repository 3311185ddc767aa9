package probe

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
)

// TestCertificateEnds: whoever makes a handshake learns when the certificate ends, also of one that is refused.
func TestCertificateEnds(t *testing.T) {
	certificate, trusted := authority(t, []string{"db.test"})
	_, others := authority(t, []string{"db.test"})
	f := func(c Config, version uint16, fit bool) {
		t.Helper()
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: version, MaxVersion: version}
		handle := serveTLS(config, nil)
		if c.Kind == HTTP { // it has no answer
			handle = func(conn net.Conn) error { return errors.Join(tls.Server(conn, config).Handshake(), conn.Close()) }
		}
		a, _ := serve(t, nil, handle)
		answer, err := ask(t, newProber(t, c, a))
		if fit != (err == nil) || !answer.CertificateEnds.Equal(certificate.Leaf.NotAfter) {
			t.Errorf("%v, the certificate ends %v, want %v", err, answer.CertificateEnds, certificate.Leaf.NotAfter)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f(Config{Kind: TLS}, version, true)
		f(Config{Kind: TLS, TLS: TLSConfig{CAFile: trusted, ServerName: "db.test"}}, version, true)
		f(Config{Kind: TLS, TLS: TLSConfig{CAFile: trusted, ServerName: "other.test"}}, version, false)
		f(Config{Kind: TLS, TLS: TLSConfig{CAFile: others, ServerName: "db.test"}}, version, false)
		f(Config{Kind: HTTP, InTLS: true}, version, false)
	}
	a, _ := serve(t, nil, dialogue("220 hello\r\n"))
	answer, err := ask(t, newProber(t, Config{Kind: Expect, Steps: []Step{{Want: []byte("220")}}}, a))
	if err != nil || answer != (Answer{}) {
		t.Errorf("%+v, %v: want no certificate in clear", answer, err)
	}
}
