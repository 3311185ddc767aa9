package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// encryption is a way to log in.
type encryption uint8

const (
	plain    encryption = iota // no TLS
	offered                    // TLS if the server has it
	required                   // TLS
)

func (e encryption) String() string {
	if e == plain {
		return "without TLS"
	}
	return "with TLS"
}

// waysOf returns the ways of an sslmode, best first.
func waysOf(sslmode string) ([]encryption, error) {
	switch sslmode {
	case "disable":
		return []encryption{plain}, nil
	case "allow":
		return []encryption{plain, required}, nil
	case "", "prefer":
		return []encryption{offered, plain}, nil
	case "require", "verify-ca", "verify-full":
		return []encryption{required}, nil
	}
	return nil, fmt.Errorf("unknown sslmode %q: want disable, allow, prefer, require, verify-ca or verify-full", sslmode)
}

// verificationOf returns what is verified of a certificate in an sslmode.
func verificationOf(sslmode string, c TLSConfig) verification {
	switch {
	case sslmode == "verify-full":
		return chainAndName
	case sslmode == "verify-ca", c.CAFile != "":
		return chain
	}
	return nothing
}

// sslRequest asks a Postgres server for TLS: its length, and 80877103 in place of a protocol version.
var sslRequest = []byte{0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}

// encrypt makes conn a TLS connection if the way wants it. It closes conn when it fails.
func encrypt(ctx context.Context, conn net.Conn, way encryption, config *tls.Config) (net.Conn, error) {
	if way == plain {
		return conn, nil
	}
	willing, err := askForTLS(ctx, conn)
	switch {
	case err != nil:
		_ = conn.Close()
		return nil, fmt.Errorf("ask for TLS: %w", plainly(ctx, err))
	case willing:
		secure, err := handshake(ctx, conn, config)
		if err != nil {
			return nil, handshakeError{err}
		}
		return secure, nil
	case way == required:
		_ = conn.Close()
		return nil, errors.New("the server offers no TLS")
	}
	return conn, nil // the login goes on where it began
}

// askForTLS reports whether the server is willing. It reads one byte and no more: what follows is encrypted or nothing.
func askForTLS(ctx context.Context, conn net.Conn) (willing bool, err error) {
	defer cutAt(ctx, conn)()
	if _, err := conn.Write(sslRequest); err != nil {
		return false, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return false, err
	}
	switch answer[0] {
	case 'S':
		return true, nil
	case 'N':
		return false, nil
	}
	return false, fmt.Errorf("got %s, want S or N", quoted(answer[:]))
}

// handshakeError is a failed TLS handshake.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// blamesTheWay reports whether a login failed for what may be the way's fault: pg_hba.conf has no line for it
// (28000), or the two have no version of TLS in common. A certificate that is not to be trusted is no reason to go
// without.
func blamesTheWay(err error) bool {
	if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
		return answer.Code == "28000"
	}
	var untrusted *tls.CertificateVerificationError
	var broken handshakeError
	return errors.As(err, &broken) && !errors.As(err, &untrusted)
}
