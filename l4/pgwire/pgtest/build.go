// Package pgtest has packets of Postgres for tests, good and bad ones, built byte by byte from
// the documentation of the protocol (55.7 "Message Formats"), without the code that they are
// to test.
package pgtest

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// Codes of first packets.
const (
	Version30 = 3 << 16
	Version32 = 3<<16 | 2

	codeCancel = 80877102
	codeTLS    = 80877103
	codeGSS    = 80877104
)

// First packets of a client; Startup is of alice, for the database shop.
var (
	Startup       = Packet(Version30, []byte("user\x00alice\x00database\x00shop\x00\x00"))
	SSLRequest    = Packet(codeTLS)
	GSSENCRequest = Packet(codeGSS)
)

// Packet is a first packet of a client: it has no type byte.
func Packet(code uint32, body ...[]byte) []byte {
	all := slices.Concat(body...)
	data := binary.BigEndian.AppendUint32(nil, uint32(8+len(all)))
	return append(binary.BigEndian.AppendUint32(data, code), all...)
}

// Message is any message of a server but the answer to SSLRequest.
func Message(kind byte, body ...[]byte) []byte {
	all := slices.Concat(body...)
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(all))), all...)
}

// Key is a process id and a secret of n bytes.
func Key(seed byte, n int) []byte { return random(seed, 4+n) }

// CancelRequest is the request for a key.
func CancelRequest(key []byte) []byte { return Packet(codeCancel, key) }

// Messages of a server.
var (
	AuthenticationOK = Message('R', []byte{0, 0, 0, 0})
	AskPassword      = Message('R', []byte{0, 0, 0, 10}, []byte("SCRAM-SHA-256\x00\x00"))
	Parameter        = Message('S', []byte("server_version\x0015.4\x00"))
	ReadyForQuery    = Message('Z', []byte("I"))
	Notice           = Message('N', []byte("SNOTICE\x00Mhello\x00\x00"))
)

// LoginAnswer is what a server sends to a client that needs no password.
func LoginAnswer(key []byte) []byte {
	return slices.Concat(AuthenticationOK, Parameter, Message('K', key), ReadyForQuery)
}

// Fatal is how a server refuses a client.
func Fatal(state string) []byte {
	return Message('E', []byte("SFATAL\x00VFATAL\x00C"+state+"\x00Mno\x00Fpostmaster.c\x00\x00"))
}

// ErrorFields takes an ErrorResponse, and nothing but it, apart.
func ErrorFields(t testing.TB, data []byte) map[byte]string {
	t.Helper()
	if len(data) < 6 || data[0] != 'E' || int(binary.BigEndian.Uint32(data[1:])) != len(data)-1 || data[len(data)-1] != 0 {
		t.Fatalf("%q is not an ErrorResponse", data)
	}
	fields := map[byte]string{}
	for rest := data[5 : len(data)-1]; len(rest) > 0; {
		end := slices.Index(rest, 0)
		if end < 0 {
			t.Fatalf("%q: a field has no end", data)
		}
		fields[rest[0]] = string(rest[1:end])
		rest = rest[end+1:]
	}
	return fields
}

// random are bytes that are always the same for a seed.
func random(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}
