package probe

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/crypto/cryptobyte"
)

// hello asks for a ServerHello, and offers whatever any client may: versions, key exchanges, ciphers and signatures that
// crypto/tls does not have, or has given up. Nothing is secured by what comes of it.
func hello(ctx context.Context, conn net.Conn, serverName string) error {
	defer cutAt(ctx, conn)()
	record, err := clientHello(serverName)
	if err == nil {
		_, err = conn.Write(record)
	}
	if err == nil {
		err = readServerHello(conn)
	}
	if err != nil {
		return fmt.Errorf("TLS handshake: %w", plainly(ctx, overrun(conn, err)))
	}
	return nil
}

// Types of records and messages: RFC 8446, sections 5.1 and 4; a HelloRetryRequest is a ServerHello as well.
const (
	alertRecord        = 21
	handshakeRecord    = 22
	serverHelloMessage = 2
	warningAlert       = 1 // the level of an alert that may be passed over, in TLS before 1.3
	closeNotify        = 0
)

// readServerHello reads until it knows whether there is a ServerHello.
func readServerHello(conn net.Conn) error {
	for {
		var header [5]byte // type, version, length
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return err
		}
		length := int(header[3])<<8 | int(header[4])
		if header[1] != 3 || length == 0 {
			return fmt.Errorf("the answer is not TLS: %s", quoted(header[:]))
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		switch {
		case header[0] == handshakeRecord && body[0] == serverHelloMessage:
			return nil
		case header[0] == alertRecord && length == 2 && body[0] == warningAlert && body[1] != closeNotify:
			// Such as unrecognized_name, after which the server goes on with its default certificate.
		case header[0] == alertRecord && length == 2:
			return fmt.Errorf("remote error: %w", tls.AlertError(body[1]))
		default:
			return fmt.Errorf("the answer is not a ServerHello: %s", quoted(append(header[:], body...)))
		}
	}
}

// helloSuites are the cipher suites of RFC 8446 and of those before it: ECDHE, DHE and RSA, with certificates of any kind,
// from the best to the worst that some server still wants. The last one is no cipher: it says that the client knows
// secure renegotiation (RFC 5746), which some servers insist on.
var helloSuites = []uint16{
	0x1301, 0x1302, 0x1303, 0x1304, 0x1305, // TLS 1.3
	0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, // ECDHE, AEAD
	0x009e, 0x009f, 0xccaa, 0xc09e, 0xc09f, 0x00a2, 0x00a3, // DHE, AEAD
	0xc023, 0xc027, 0xc024, 0xc028, 0xc009, 0xc013, 0xc00a, 0xc014, // ECDHE, AES-CBC
	0x0067, 0x006b, 0x0033, 0x0039, 0x0040, 0x006a, 0x0032, 0x0038, // DHE, AES-CBC
	0xc05c, 0xc05d, 0xc060, 0xc061, 0xc052, 0xc053, 0xc050, 0xc051, // ARIA
	0xc072, 0xc073, 0xc076, 0xc077, 0x00be, 0x00c4, 0x0045, 0x0088, 0x00ba, 0x00c0, 0x0041, 0x0084, // Camellia
	0x009c, 0x009d, 0xc09c, 0xc09d, 0x003c, 0x003d, 0x002f, 0x0035, // RSA
	0xc02d, 0xc02e, 0xc031, 0xc032, 0xc025, 0xc026, 0xc029, 0xc02a, 0xc004, 0xc005, 0xc00e, 0xc00f, // ECDH
	0x0096, 0x009a, 0x0007, // SEED, IDEA
	0xc008, 0xc012, 0x0016, 0x0013, 0x000a, // 3DES
	0xc007, 0xc011, 0x0005, 0x0004, // RC4
	0x0015, 0x0012, 0x0009, // DES
	0x00ff,
}

var (
	helloVersions = []uint16{0x0304, 0x0303, 0x0302, 0x0301}
	// helloGroups: X25519 with ML-KEM, the curves, X448, Brainpool, and the groups of RFC 7919. Only X25519 comes with a
	// key: for the others a server sends a HelloRetryRequest, which is an answer.
	helloGroups = []uint16{
		0x001d, 0x11ec, 0x0017, 0x0018, 0x0019, 0x001e, 0x001a, 0x001b, 0x001c, 0x0100, 0x0101, 0x0102, 0x0103, 0x0104,
	}
	// helloSignatures: ECDSA, EdDSA, RSA-PSS, RSA, DSA; SHA-1 and SHA-224 too.
	helloSignatures = []uint16{
		0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x081a, 0x081b, 0x081c,
		0x0401, 0x0501, 0x0601, 0x0303, 0x0301, 0x0302, 0x0402, 0x0502, 0x0602, 0x0203, 0x0201, 0x0202,
	}
)

// clientHello returns a ClientHello in its record: RFC 8446, section 4.1.2.
func clientHello(serverName string) ([]byte, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	random := make([]byte, 64) // the client's random, and a session id, without which some boxes in between drop TLS 1.3
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddUint8(handshakeRecord)
	b.AddUint16(0x0301)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1) // ClientHello
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(0x0303)
			b.AddBytes(random[:32])
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(random[32:]) })
			addList16(b, helloSuites)
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(0) }) // no compression
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addExtensions(b, serverName, key.PublicKey().Bytes()) })
		})
	})
	return b.Bytes()
}

func addExtensions(b *cryptobyte.Builder, serverName string, x25519 []byte) {
	add := func(kind uint16, body cryptobyte.BuilderContinuation) {
		b.AddUint16(kind)
		b.AddUint16LengthPrefixed(body)
	}
	if serverName != "" {
		add(0, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint8(0) // a host name
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(serverName)) })
			})
		})
	}
	add(10, func(b *cryptobyte.Builder) { addList16(b, helloGroups) })
	add(11, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) }) // points are not compressed
	add(13, func(b *cryptobyte.Builder) { addList16(b, helloSignatures) })
	add(23, func(*cryptobyte.Builder) {}) // extended master secret
	add(43, func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { addUint16s(b, helloVersions) })
	})
	add(45, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 1}) }) // a session would be resumed with a key exchange
	add(51, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(helloGroups[0])
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(x25519) })
		})
	})
}

func addList16(b *cryptobyte.Builder, values []uint16) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addUint16s(b, values) })
}

func addUint16s(b *cryptobyte.Builder, values []uint16) {
	for _, v := range values {
		b.AddUint16(v)
	}
}

// overheard is a connection that remembers how the server's answer began.
type overheard struct {
	net.Conn
	first []byte // at most 6 bytes: a record's header, and the type of the message in it
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	if missing := 6 - len(o.first); missing > 0 {
		o.first = append(o.first, p[:min(n, missing)]...)
	}
	return n, err
}

// NetConn returns the connection below.
func (o *overheard) NetConn() net.Conn { return o.Conn }

// saidHello reports whether the server has sent a ServerHello.
func (o *overheard) saidHello() bool {
	return len(o.first) == 6 && o.first[0] == handshakeRecord && o.first[1] == 3 && o.first[5] == serverHelloMessage
}

// mayKnowAnother reports whether a server without a ServerHello could have one for somebody who offers more: it has sent
// an alert, or nothing at all before it hung up.
func (o *overheard) mayKnowAnother() bool { return len(o.first) == 0 || o.first[0] == alertRecord }

// isRemote reports whether a failure of TLS is the server's alert.
func isRemote(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
