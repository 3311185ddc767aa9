package l4

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// validPackets are all kinds of first packets, by name.
var validPackets = map[string]struct {
	data []byte
	kind packetKind
}{
	"Startup":              {startup, packetStartup},
	"Startup 3.2":          {packet(version32, []byte("user\x00a\x00\x00")), packetStartup},
	"Startup, empty":       {packet(version30), packetStartup},
	"Startup, longest":     {packet(version30, make([]byte, 10000-8)), packetStartup},
	"Startup, version 2":   {packet(2<<16, make([]byte, 292)), packetStartup}, // the server's to refuse
	"Startup, version 9":   {packet(9<<16, []byte("user\x00a\x00\x00")), packetStartup},
	"SSLRequest":           {sslRequest, packetTLS},
	"GSSENCRequest":        {gssRequest, packetGSS},
	"CancelRequest":        {cancelRequest(cancelKey(1, 4)), packetCancel},
	"CancelRequest, 3.2":   {cancelRequest(cancelKey(1, 32)), packetCancel},
	"CancelRequest, 1":     {cancelRequest(cancelKey(1, 1)), packetCancel},
	"CancelRequest, 256":   {cancelRequest(cancelKey(1, 256)), packetCancel},
	"direct TLS":           {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), packetDirectTLS},
	"direct TLS, 2 bytes":  {[]byte("\x16\x03"), packetDirectTLS},
	"direct TLS, SSL 3":    {[]byte("\x16\x03\x00\x00"), packetDirectTLS},
	"direct TLS, TLS 1.3":  {[]byte("\x16\x03\x03\x00"), packetDirectTLS},
	"direct TLS, 10 bytes": {[]byte("\x16\x03\x01\x00\x00\x00\x00\x00\x00\x00"), packetDirectTLS},
}

// head is a length and a code that need not fit together.
func head(length, code uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, length), code)
}

// invalidPackets are refused once their first eight bytes are there.
var invalidPackets = map[string][]byte{
	"HTTP":                         []byte("GET / HTTP/1.1\r\n\r\n"),
	"HTTP/2":                       []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	"SSH":                          []byte("SSH-2.0-OpenSSH_9.2\r\n"),
	"PROXY v1":                     []byte(lineTCP4),
	"PROXY v2":                     v2(commandProxy, familyTCP4, addresses4),
	"MySQL":                        []byte("\x4a\x00\x00\x00\x0a8.0.33\x00"),
	"TLS alert":                    []byte("\x15\x03\x01\x00\x02\x02\x28\x00"),
	"TLS of no version":            []byte("\x16\x02\x01\x02\x00\x01\x00\x01\xfc"),
	"zeros":                        make([]byte, 100),
	"ones":                         bytes.Repeat([]byte{0xff}, 100),
	"a query without a start-up":   backendMessage('Q', []byte("select 1\x00")),
	"length 0":                     head(0, version30),
	"length 4":                     head(4, version30),
	"length 7":                     head(7, version30),
	"length 10001":                 head(10001, version30),
	"length of 2 GiB":              head(1<<31, version30),
	"length of 4 GiB":              head(1<<32-1, version30),
	"length in the other order":    []byte("\x29\x00\x00\x00\x00\x03\x00\x00"),
	"SSLRequest too short":         head(7, codeTLS),
	"SSLRequest too long":          packet(codeTLS, []byte("x")),
	"GSSENCRequest too short":      head(0, codeGSS),
	"GSSENCRequest too long":       packet(codeGSS, make([]byte, 100)),
	"CancelRequest without a key":  packet(codeCancel),
	"CancelRequest, only a number": packet(codeCancel, make([]byte, 4)),
	"CancelRequest too long":       packet(codeCancel, make([]byte, 4+257)),
	"CancelRequest much too long":  head(10000, codeCancel),
}

func TestParsePacket(t *testing.T) {
	for name, want := range validPackets {
		for _, tail := range []string{"", "x", "what the client sends next"} {
			data := append(slices.Clone(want.data), tail...)
			size := len(want.data)
			if want.kind == packetDirectTLS {
				size = len(data) // all there is
			}
			if kind, n, err := parsePacket(data); kind != want.kind || n != size || err != nil {
				t.Errorf("%s and %q: kind %d, size %d, %v; want %d, %d", name, tail, kind, n, err, want.kind, size)
			}
		}
	}
	for name, data := range invalidPackets {
		if _, n, err := parsePacket(data); err != errPacket || n != 0 {
			t.Errorf("%s: size %d, %v; want an error", name, n, err)
		}
	}
}

// As long as bytes are missing, so many are asked for that none is read beyond
// the packet.
func TestParsePacketInPieces(t *testing.T) {
	for name, want := range validPackets {
		for n := range want.data {
			if want.kind == packetDirectTLS && n >= 2 {
				break
			}
			_, size, err := parsePacket(want.data[:n])
			if err != io.ErrUnexpectedEOF || size <= n || size > max(8, len(want.data)) {
				t.Fatalf("%s, %d bytes: size %d, %v; want more, up to %d", name, n, size, err, len(want.data))
			}
		}
	}
	for name, data := range invalidPackets {
		for n := range min(8, len(data)) {
			if _, size, err := parsePacket(data[:n]); err != io.ErrUnexpectedEOF || size != 8 {
				t.Errorf("%s, %d bytes: size %d, %v; want 8", name, n, size, err)
			}
		}
	}
}

func TestErrorState(t *testing.T) {
	f := func(name string, data []byte, want string) {
		t.Helper()
		if got := errorState(data); got != want {
			t.Errorf("%s: state %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("x", 8<<10)
	f("starting up", fatal("57P03"), "57P03")
	f("too many", fatal("53300"), "53300")
	f("our own", errorResponse("08006", "no"), "08006")
	f("state first", backendMessage('E', []byte("C57P03\x00SFATAL\x00\x00")), "57P03")
	f("and more", append(fatal("57P03"), "more"...), "57P03")
	f("cut after the state", fatal("57P03")[:5+7+7+7], "57P03")
	f("cut in the state", fatal("57P03")[:5+7+7+4], "57P") // which is no state that anybody looks for
	f("cut before the state", fatal("57P03")[:5+7+7], "")
	f("no state", backendMessage('E', []byte("SFATAL\x00Mno\x00\x00")), "")
	f("no end", backendMessage('E', []byte("SFATAL\x00C57P03")), "57P03")
	f("state after the end", backendMessage('E', []byte("SFATAL\x00\x00C57P03\x00")), "")
	f("beyond its length", append(backendMessage('E', []byte("SFATAL\x00")), "C57P03\x00\x00"...), "")
	f("empty", backendMessage('E'), "")
	f("only an end", backendMessage('E', []byte{0}), "")
	f("too long", backendMessage('E', []byte("M"+long+"\x00C57P03\x00\x00")), "")
	f("length 3", []byte("E\x00\x00\x00\x03C57P03\x00\x00"), "")
	f("length of 4 GiB", []byte("E\xff\xff\xff\xffC57P03\x00\x00"), "")
	f("version 2", []byte("EFATAL:  the database system is starting up\n\x00"), "")
	f("a notice", backendMessage('N', []byte("C57P03\x00\x00")), "")
	f("authentication", authenticationOK, "")
	f("S", []byte("S"), "")
	f("E", []byte("E"), "")
	f("head", []byte("E\x00\x00\x00\x09"), "")
	f("nothing", nil, "")
}

func TestErrorResponse(t *testing.T) {
	fields := errorFields(t, errorResponse("57P03", "no server"))
	want := map[byte]string{'S': "FATAL", 'V': "FATAL", 'C': "57P03", 'M': "no server"}
	if fmt.Sprint(fields) != fmt.Sprint(want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
}

// What a server may send while a client logs in, and the key in it.
func TestKeyScanner(t *testing.T) {
	short, long := cancelKey(1, 4), cancelKey(2, 256)
	f := func(name string, data []byte, key []byte, done bool) {
		t.Helper()
		for _, size := range []int{1, 2, 3, 4, 5, 7, 16, len(data) + 1} {
			var k keyScanner
			for part := range slices.Chunk(data, size) {
				k.scan(part)
			}
			if k.done != done || done && !bytes.Equal(k.key, key) {
				t.Fatalf("%s, %d bytes at a time: key %x, done %v; want %x, %v", name, size, k.key, k.done, key, done)
			}
		}
		for n := range data { // cut in two at every byte
			var k keyScanner
			k.scan(data[:n])
			k.scan(data[n:])
			if k.done != done || done && !bytes.Equal(k.key, key) {
				t.Fatalf("%s, cut at %d: key %x, done %v; want %x, %v", name, n, k.key, k.done, key, done)
			}
		}
	}
	keyed := func(key []byte) []byte { return backendMessage('K', key) }
	f("trust", loginAnswer(short), short, true)
	f("protocol 3.2", loginAnswer(long), long, true)
	f("shortest", keyed(cancelKey(3, 1)), cancelKey(3, 1), true)
	f("only the key", keyed(short), short, true)
	f("password", slices.Concat(askPassword, authenticationOK, parameter, parameter, keyed(short)), short, true)
	f("key, then parameters", slices.Concat(authenticationOK, keyed(short), parameter, noticeHello), short, true)
	f("two keys", slices.Concat(authenticationOK, keyed(short), keyed(long), readyForQuery), short, true)
	f("a notice before", slices.Concat(noticeHello, authenticationOK, keyed(short)), short, true)
	f("a message without a body", slices.Concat(backendMessage('1'), keyed(short)), short, true)
	f("a key in a parameter", slices.Concat(backendMessage('S', keyed(long)), keyed(short)), short, true)
	f("no key", slices.Concat(authenticationOK, parameter, readyForQuery, keyed(short)), nil, true)
	f("refused", slices.Concat(fatal("28P01"), keyed(short)), nil, true)
	f("key too short", slices.Concat(keyed(make([]byte, 4)), readyForQuery), nil, true)
	f("key too long", slices.Concat(keyed(make([]byte, 4+257)), readyForQuery), nil, true)
	f("a length that cannot be", []byte("R\x00\x00\x00\x03and so on"), nil, true)
	f("not over", slices.Concat(authenticationOK, parameter), nil, false)
	f("in the middle of the key", keyed(short)[:12], nil, false)
	f("nothing", nil, nil, false)
}

// A message of any length costs no memory, unless it is a key.
func TestKeyScannerMemory(t *testing.T) {
	var k keyScanner
	k.scan([]byte("S\xff\xff\xff\xff"))
	chunk := make([]byte, 64<<10)
	if n := testing.AllocsPerRun(100, func() { k.scan(chunk) }); n != 0 || k.key != nil {
		t.Errorf("%v allocations, %d bytes kept", n, len(k.key))
	}
}
