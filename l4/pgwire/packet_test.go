package pgwire

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"sluice/l4/pgwire/pgtest"
)

// validPackets are all kinds of first packets, by name.
var validPackets = map[string]struct {
	data []byte
	kind Kind
}{
	"Startup":              {pgtest.Startup, Startup},
	"Startup 3.2":          {pgtest.Packet(pgtest.Version32, []byte("user\x00a\x00\x00")), Startup},
	"Startup, empty":       {pgtest.Packet(pgtest.Version30), Startup},
	"Startup, longest":     {pgtest.Packet(pgtest.Version30, make([]byte, 10000-8)), Startup},
	"Startup, version 2":   {pgtest.Packet(2<<16, make([]byte, 292)), Startup}, // the server's to refuse
	"Startup, version 9":   {pgtest.Packet(9<<16, []byte("user\x00a\x00\x00")), Startup},
	"SSLRequest":           {pgtest.SSLRequest, SSLRequest},
	"GSSENCRequest":        {pgtest.GSSENCRequest, GSSENCRequest},
	"CancelRequest":        {pgtest.CancelRequest(pgtest.Key(1, 4)), CancelRequest},
	"CancelRequest, 3.2":   {pgtest.CancelRequest(pgtest.Key(1, 32)), CancelRequest},
	"CancelRequest, 1":     {pgtest.CancelRequest(pgtest.Key(1, 1)), CancelRequest},
	"CancelRequest, 256":   {pgtest.CancelRequest(pgtest.Key(1, 256)), CancelRequest},
	"direct TLS":           {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), DirectTLS},
	"direct TLS, 2 bytes":  {[]byte("\x16\x03"), DirectTLS},
	"direct TLS, SSL 3":    {[]byte("\x16\x03\x00\x00"), DirectTLS},
	"direct TLS, TLS 1.3":  {[]byte("\x16\x03\x03\x00"), DirectTLS},
	"direct TLS, 10 bytes": {[]byte("\x16\x03\x01\x00\x00\x00\x00\x00\x00\x00"), DirectTLS},
}

func TestParsePacket(t *testing.T) {
	for name, want := range validPackets {
		for _, tail := range []string{"", "x", "what the client sends next"} {
			data := append(slices.Clone(want.data), tail...)
			size := len(want.data)
			if want.kind == DirectTLS {
				size = len(data) // all there is
			}
			if kind, n, err := ParsePacket(data); kind != want.kind || n != size || err != nil {
				t.Errorf("%s and %q: kind %d, size %d, %v; want %d, %d", name, tail, kind, n, err, want.kind, size)
			}
		}
	}
	for name, data := range pgtest.Bad {
		if _, n, err := ParsePacket(data); err != ErrPacket || n != 0 {
			t.Errorf("%s: size %d, %v; want an error", name, n, err)
		}
	}
}

// As long as bytes are missing, so many are asked for that none is read beyond
// the packet.
func TestParsePacketInPieces(t *testing.T) {
	for name, want := range validPackets {
		for n := range want.data {
			if want.kind == DirectTLS && n >= 2 {
				break
			}
			_, size, err := ParsePacket(want.data[:n])
			if err != io.ErrUnexpectedEOF || size <= n || size > max(8, len(want.data)) {
				t.Fatalf("%s, %d bytes: size %d, %v; want more, up to %d", name, n, size, err, len(want.data))
			}
		}
	}
	for name, data := range pgtest.Bad {
		for n := range min(8, len(data)) {
			if _, size, err := ParsePacket(data[:n]); err != io.ErrUnexpectedEOF || size != 8 {
				t.Errorf("%s, %d bytes: size %d, %v; want 8", name, n, size, err)
			}
		}
	}
}

func TestErrorState(t *testing.T) {
	f := func(name string, data []byte, want string) {
		t.Helper()
		if got := ErrorState(data); got != want {
			t.Errorf("%s: state %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("x", 8<<10)
	f("starting up", pgtest.Fatal("57P03"), "57P03")
	f("too many", pgtest.Fatal("53300"), "53300")
	f("our own", ErrorResponse("08006", "no"), "08006")
	f("state first", pgtest.Message('E', []byte("C57P03\x00SFATAL\x00\x00")), "57P03")
	f("and more", append(pgtest.Fatal("57P03"), "more"...), "57P03")
	f("cut after the state", pgtest.Fatal("57P03")[:5+7+7+7], "57P03")
	f("cut in the state", pgtest.Fatal("57P03")[:5+7+7+4], "57P") // which is no state that anybody looks for
	f("cut before the state", pgtest.Fatal("57P03")[:5+7+7], "")
	f("no state", pgtest.Message('E', []byte("SFATAL\x00Mno\x00\x00")), "")
	f("no end", pgtest.Message('E', []byte("SFATAL\x00C57P03")), "57P03")
	f("state after the end", pgtest.Message('E', []byte("SFATAL\x00\x00C57P03\x00")), "")
	f("beyond its length", append(pgtest.Message('E', []byte("SFATAL\x00")), "C57P03\x00\x00"...), "")
	f("empty", pgtest.Message('E'), "")
	f("only an end", pgtest.Message('E', []byte{0}), "")
	f("too long", pgtest.Message('E', []byte("M"+long+"\x00C57P03\x00\x00")), "")
	f("length 3", []byte("E\x00\x00\x00\x03C57P03\x00\x00"), "")
	f("length of 4 GiB", []byte("E\xff\xff\xff\xffC57P03\x00\x00"), "")
	f("version 2", []byte("EFATAL:  the database system is starting up\n\x00"), "")
	f("a notice", pgtest.Message('N', []byte("C57P03\x00\x00")), "")
	f("authentication", pgtest.AuthenticationOK, "")
	f("S", []byte("S"), "")
	f("E", []byte("E"), "")
	f("head", []byte("E\x00\x00\x00\x09"), "")
	f("nothing", nil, "")
}

func TestErrorResponse(t *testing.T) {
	fields := pgtest.ErrorFields(t, ErrorResponse("57P03", "no server"))
	want := map[byte]string{'S': "FATAL", 'V': "FATAL", 'C': "57P03", 'M': "no server"}
	if fmt.Sprint(fields) != fmt.Sprint(want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
}

// What a server may send while a client logs in, and the key in it.
func TestKeyScanner(t *testing.T) {
	short, long := pgtest.Key(1, 4), pgtest.Key(2, 256)
	f := func(name string, data []byte, key []byte, done bool) {
		t.Helper()
		for _, size := range []int{1, 2, 3, 4, 5, 7, 16, len(data) + 1} {
			var k KeyScanner
			for part := range slices.Chunk(data, size) {
				k.Scan(part)
			}
			if k.Done != done || done && !bytes.Equal(k.Key, key) {
				t.Fatalf("%s, %d bytes at a time: key %x, done %v; want %x, %v", name, size, k.Key, k.Done, key, done)
			}
		}
		for n := range data { // cut in two at every byte
			var k KeyScanner
			k.Scan(data[:n])
			k.Scan(data[n:])
			if k.Done != done || done && !bytes.Equal(k.Key, key) {
				t.Fatalf("%s, cut at %d: key %x, done %v; want %x, %v", name, n, k.Key, k.Done, key, done)
			}
		}
	}
	keyed := func(key []byte) []byte { return pgtest.Message('K', key) }
	f("trust", pgtest.LoginAnswer(short), short, true)
	f("protocol 3.2", pgtest.LoginAnswer(long), long, true)
	f("shortest", keyed(pgtest.Key(3, 1)), pgtest.Key(3, 1), true)
	f("only the key", keyed(short), short, true)
	f("password", slices.Concat(pgtest.AskPassword, pgtest.AuthenticationOK, pgtest.Parameter, pgtest.Parameter, keyed(short)), short, true)
	f("key, then parameters", slices.Concat(pgtest.AuthenticationOK, keyed(short), pgtest.Parameter, pgtest.Notice), short, true)
	f("two keys", slices.Concat(pgtest.AuthenticationOK, keyed(short), keyed(long), pgtest.ReadyForQuery), short, true)
	f("a notice before", slices.Concat(pgtest.Notice, pgtest.AuthenticationOK, keyed(short)), short, true)
	f("a message without a body", slices.Concat(pgtest.Message('1'), keyed(short)), short, true)
	f("a key in a parameter", slices.Concat(pgtest.Message('S', keyed(long)), keyed(short)), short, true)
	f("no key", slices.Concat(pgtest.AuthenticationOK, pgtest.Parameter, pgtest.ReadyForQuery, keyed(short)), nil, true)
	f("refused", slices.Concat(pgtest.Fatal("28P01"), keyed(short)), nil, true)
	f("key too short", slices.Concat(keyed(make([]byte, 4)), pgtest.ReadyForQuery), nil, true)
	f("key too long", slices.Concat(keyed(make([]byte, 4+257)), pgtest.ReadyForQuery), nil, true)
	f("a length that cannot be", []byte("R\x00\x00\x00\x03and so on"), nil, true)
	f("not over", slices.Concat(pgtest.AuthenticationOK, pgtest.Parameter), nil, false)
	f("in the middle of the key", keyed(short)[:12], nil, false)
	f("nothing", nil, nil, false)
}

// A message of any length costs no memory, unless it is a key.
func TestKeyScannerMemory(t *testing.T) {
	var k KeyScanner
	k.Scan([]byte("S\xff\xff\xff\xff"))
	chunk := make([]byte, 64<<10)
	if n := testing.AllocsPerRun(100, func() { k.Scan(chunk) }); n != 0 || k.Key != nil {
		t.Errorf("%v allocations, %d bytes kept", n, len(k.Key))
	}
}
