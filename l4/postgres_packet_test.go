package l4

import (
	"encoding/binary"
	"slices"
	"testing"
)

// The packets of the tests, built byte by byte from the documentation of the
// protocol (55.7 "Message Formats").

const (
	version30 = 3 << 16
	version32 = 3<<16 | 2
)

var (
	startup    = packet(version30, []byte("user\x00alice\x00database\x00shop\x00\x00"))
	sslRequest = packet(80877103)
	gssRequest = packet(80877104)
)

// packet is a first packet of a client: it has no type byte.
func packet(code uint32, body ...[]byte) []byte {
	all := slices.Concat(body...)
	data := binary.BigEndian.AppendUint32(nil, uint32(8+len(all)))
	return append(binary.BigEndian.AppendUint32(data, code), all...)
}

// backendMessage is any message of a server but the answer to SSLRequest.
func backendMessage(kind byte, body ...[]byte) []byte {
	all := slices.Concat(body...)
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(all))), all...)
}

// cancelKey is a process id and a secret of n bytes.
func cancelKey(seed byte, n int) []byte { return random(seed, 4+n) }

func cancelRequest(key []byte) []byte { return packet(80877102, key) }

var (
	authenticationOK = backendMessage('R', []byte{0, 0, 0, 0})
	askPassword      = backendMessage('R', []byte{0, 0, 0, 10}, []byte("SCRAM-SHA-256\x00\x00"))
	parameter        = backendMessage('S', []byte("server_version\x0015.4\x00"))
	readyForQuery    = backendMessage('Z', []byte("I"))
	noticeHello      = backendMessage('N', []byte("SNOTICE\x00Mhello\x00\x00"))
)

// loginAnswer is what a server sends to a client that needs no password.
func loginAnswer(key []byte) []byte {
	return slices.Concat(authenticationOK, parameter, backendMessage('K', key), readyForQuery)
}

// fatal is how a server refuses a client.
func fatal(state string) []byte {
	return backendMessage('E', []byte("SFATAL\x00VFATAL\x00C"+state+"\x00Mno\x00Fpostmaster.c\x00\x00"))
}

// expectRefusal reads what a client is told when its session comes to nothing:
// one ErrorResponse with this SQLSTATE, and FIN.
func (r *rig) expectRefusal(c conn, state string) (message string) {
	r.t.Helper()
	data, err := r.rest(c)
	if err != nil {
		r.t.Fatalf("read %s, %v; want an ErrorResponse and a FIN", brief(data), err)
	}
	fields := errorFields(r.t, data)
	if fields['S'] != "FATAL" || fields['V'] != "FATAL" || fields['C'] != state || fields['M'] == "" || len(fields) != 4 {
		r.t.Fatalf("the client is told %q, want FATAL, %s and a message", fields, state)
	}
	return fields['M']
}

// errorFields takes an ErrorResponse, and nothing but it, apart.
func errorFields(t testing.TB, data []byte) map[byte]string {
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
