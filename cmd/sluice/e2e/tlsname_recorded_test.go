package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// recordedHellos are what real clients with X25519MLKEM768 have sent to shop.example.com, each in one TLS record.
var recordedHellos = []string{"chromium-156", "go-1.26"}

const recordedConfig = `
listeners:
  web:
    bind: "127.0.0.1:0"
    protocol: tls
    timeouts: {peek: 1m} # the test looks for each piece in a table that may be long
    routes: [{sni: [shop.example.com], alpn: [h2], pool: shop}]
    pool: other
  dump:
    bind: "127.0.0.1:0"
    protocol: tls
    timeouts: {peek: 1m} # the test looks for each piece in a table that may be long
    routes: [{sni: [shop.example.com], pool: dump}]
pools:
  shop:
    send_proxy: v2
    tlvs: [authority, alpn, unique_id, crc32c]
    backends: [{name: shop, address: "127.0.0.1:%d"}]
  other:
    send_proxy: v2
    backends: [{name: other, address: "127.0.0.1:%d"}]
  dump:
    check: {type: off}
    backends: [{name: dump, address: "127.0.0.1:%d"}]
`

// A hello with a post-quantum key share, in whatever pieces it comes, is answered by the right node, and arrives byte
// for byte.
func TestRecordedHellos(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	shop, other := a.startOld("shop"), a.startOld("other")
	dump := a.startDump()
	r := startSluice(t, fmt.Sprintf(recordedConfig, shop.port, other.port, dump.port))
	web, raw := r.address("web"), r.address("dump")
	for _, name := range recordedHellos {
		for _, pieces := range inPieces([]byte(readFile(t, "../../../l4/tlshello/hellotest/testdata/hello/"+name))) {
			if node := a.answering(r.replay(web, pieces)); node != "shop" {
				t.Errorf("%s: node %q answers", name, node)
			}
			c := r.replay(raw, pieces)
			dump.expectNext(bytes.Join(pieces, nil))
			c.Close()
		}
	}
	shop.expectNoAlerts()
	status := r.status()
	if mine, others := status.backend(t, "shop").Connects, status.backend(t, "other").Connects; mine != 10 || others != 0 {
		t.Errorf("%d and %d sessions went to the two nodes, want 10 and none", mine, others)
	}
}

// inPieces returns ways to send a hello that was recorded in one TLS record: in one or more segments, and records.
func inPieces(hello []byte) [][][]byte {
	message := hello[5:]
	return [][][]byte{
		{hello},
		{hello[:1], hello[1:]},
		{hello[:1400], hello[1400:]},
		{tlsRecord(message[:700]), tlsRecord(message[700:])},
		{slices.Concat(tlsRecord(message[:2]), tlsRecord(message[2:1000])), tlsRecord(message[1000:])},
	}
}

// tlsRecord is one record of a handshake, as in a first flight.
func tlsRecord(message []byte) []byte {
	return append([]byte{22, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...)
}

// startOld runs a node that speaks TLS 1.2, in which everybody can read the server's certificate.
func (a *authority) startOld(name string) *namedNode {
	a.t.Helper()
	directives := a.issue(name, "shop.example.com").nginx()
	return startNamedNode(a.t, name, "proxy_protocol http2", strings.Replace(directives, " TLSv1.3", "", 1))
}

// replay sends a hello to sluice, each piece when the one before it has been read.
func (r *rig) replay(address string, pieces [][]byte) net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patient))
	for i, piece := range pieces {
		if i > 0 {
			untilRead(r.t, c)
		}
		if _, err := c.Write(piece); err != nil {
			r.t.Fatal(err)
		}
	}
	return c
}

// answering reads the answer to a hello and returns the name of the node whose certificate it has.
func (a *authority) answering(c net.Conn) string {
	a.t.Helper()
	defer c.Close()
	var messages []byte
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(c, head); err != nil || head[0] != 22 {
			a.t.Fatalf("the hello is answered with %x, %v", head, err)
		}
		payload := make([]byte, binary.BigEndian.Uint16(head[3:]))
		if _, err := io.ReadFull(c, payload); err != nil {
			a.t.Fatal(err)
		}
		messages = append(messages, payload...)
		if node, ok := a.certificateIn(messages); ok {
			return node
		}
	}
}

// certificateIn looks for the message Certificate of TLS 1.2, which has a list of certificates: type, length, length of
// the list, length of the first one.
func (a *authority) certificateIn(messages []byte) (node string, ok bool) {
	a.t.Helper()
	length := func(data []byte) int { return int(data[0])<<16 | int(data[1])<<8 | int(data[2]) }
	for len(messages) >= 4 && len(messages) >= 4+length(messages[1:]) {
		size := 4 + length(messages[1:])
		if messages[0] != 11 {
			messages = messages[size:]
			continue
		}
		cert, err := x509.ParseCertificate(messages[10 : 10+length(messages[7:])])
		if err == nil {
			_, err = cert.Verify(x509.VerifyOptions{DNSName: "shop.example.com", Roots: a.pool})
		}
		if err != nil {
			a.t.Fatal(err)
		}
		return cert.Subject.CommonName, true
	}
	return "", false
}
