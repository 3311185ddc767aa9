package probe

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// serveTLS runs a server that makes the handshake, and reports how the connection ended: nil is a close_notify and a
// FIN.
func serveTLS(config *tls.Config, names chan<- string) func(net.Conn) error {
	return func(conn net.Conn) error {
		secure := tls.Server(conn, config)
		if err := secure.Handshake(); err != nil {
			return err
		}
		if names != nil {
			names <- secure.ConnectionState().ServerName
		}
		// io.EOF means close_notify; a FIN alone would be io.ErrUnexpectedEOF.
		if _, err := secure.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			return err
		}
		return secure.CloseWrite()
	}
}

func TestTLS(t *testing.T) {
	certificate, trusted := authority(t, []string{"db.test"}, "127.0.0.1")
	_, others := authority(t, []string{"db.test"})
	nameless, trustedNameless := authority(t, []string{"db.test"})
	f := func(c TLSConfig, with tls.Certificate, version uint16, sni string, words ...string) {
		t.Helper()
		names := make(chan string, 1)
		a, reports := serve(t, nil, serveTLS(&tls.Config{
			Certificates: []tls.Certificate{with}, MinVersion: version, MaxVersion: version}, names))
		_, err := ask(t, newProber(t, Config{Kind: TLS, TLS: c}, a))
		r := report(t, reports)
		if len(words) > 0 {
			wantError(t, err, append(words, "TLS handshake")...)
			return
		}
		if err != nil || r.err != nil {
			t.Errorf("%v; the server saw %v", err, r.err)
		}
		if got := <-names; got != sni {
			t.Errorf("asked for %q, want %q", got, sni)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f(TLSConfig{}, certificate, version, "")
		f(TLSConfig{ServerName: "other.test"}, certificate, version, "other.test")
		f(TLSConfig{CAFile: trusted}, certificate, version, "")
		f(TLSConfig{CAFile: trusted, ServerName: "db.test"}, certificate, version, "db.test")
		f(TLSConfig{CAFile: trusted, ServerName: "other.test"}, certificate, version, "", "other.test")
		f(TLSConfig{CAFile: trustedNameless}, nameless, version, "", "127.0.0.1")
		f(TLSConfig{CAFile: others}, certificate, version, "", "unknown authority")
	}
}

func TestTLSNotSpoken(t *testing.T) {
	f := func(handle func(net.Conn) error, words ...string) {
		t.Helper()
		a, _ := serve(t, nil, handle)
		askUntilError(t, newProber(t, Config{Kind: TLS}, a), words...)
	}
	f(dialogue("220 mail.test ESMTP\r\n"), "TLS handshake", "not look like")
	f(func(conn net.Conn) error { return conn.Close() }, "TLS handshake")
	f(silent, "TLS handshake: no answer in time")
}

// TestTLSReluctant: a server that does not answer the close_notify holds up the probe for a moment only.
func TestTLSReluctant(t *testing.T) {
	certificate, _ := authority(t, nil)
	held := make(chan struct{})
	defer close(held)
	a, _ := serve(t, nil, func(conn net.Conn) error {
		if err := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake(); err != nil {
			return err
		}
		<-held
		return nil
	})
	started := time.Now()
	if _, err := ask(t, newProber(t, Config{Kind: TLS}, a)); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took > patient/2 {
		t.Errorf("took %v", took)
	}
}
