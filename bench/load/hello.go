package load

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

const (
	// recordHeader is the length of the header of a TLS record: type, version, length of what follows.
	recordHeader = 5
	// helloTag is where a ClientHello's random begins, in the first record: behind the headers of the record and of the
	// handshake message and the version. What stands there is the client's own business, so the head of a hello, which
	// ends 5 bytes later, has the tag in it.
	helloTag = recordHeader + 4 + 2
)

// clientHello returns the first record that Go's TLS client sends for a server name: about 1.5 kB, because it has a
// share of a post-quantum key in it, as those of browsers do.
func clientHello(name string) ([]byte, error) {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		// The key exchanges are named so that another version of Go sends a
		// hello of the same length. The handshake fails when server is closed.
		tls.Client(client, &tls.Config{ServerName: name, NextProtos: []string{"h2", "http/1.1"},
			CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519}}).Handshake()
	}()
	record := make([]byte, recordHeader)
	if _, err := io.ReadFull(server, record); err != nil {
		return nil, fmt.Errorf("make ClientHello: %w", err)
	}
	record = append(record, make([]byte, recordBody(record))...)
	if _, err := io.ReadFull(server, record[recordHeader:]); err != nil {
		return nil, fmt.Errorf("make ClientHello: %w", err)
	}
	return record, nil
}

// recordBody is how many bytes follow the header of a TLS record.
func recordBody(header []byte) int { return int(binary.BigEndian.Uint16(header[3:])) }

// helloHead is the head of a hello with a tag in its random: what there is
// room for of it, 16 bits of the session's number and 24 of the message's.
func helloHead(hello []byte, tag uint64) (h head) {
	copy(h[:], hello)
	h[helloTag], h[helloTag+1] = byte(tag>>40), byte(tag>>32)
	h[helloTag+2], h[helloTag+3], h[helloTag+4] = byte(tag>>16), byte(tag>>8), byte(tag)
	return h
}
