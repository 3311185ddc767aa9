package l4

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// badHello is a first message that is no ClientHello, or not a valid one. What is wrong
// with it shows in its first by bytes, 0 = in all of them and no sooner.
type badHello struct {
	data []byte
	err  error
	by   int
}

var badHellos = map[string]badHello{
	// Other protocols. One byte tells all of these.
	"HTTP":               {[]byte("GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"), errNotTLS, 1},
	"HTTP/2":             {[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), errNotTLS, 1},
	"SSH":                {[]byte("SSH-2.0-OpenSSH_9.2\r\n"), errNotTLS, 1},
	"SMTP":               {[]byte("EHLO mail.example.com\r\n"), errNotTLS, 1},
	"Redis":              {[]byte("*1\r\n$4\r\nPING\r\n"), errNotTLS, 1},
	"PROXY v1":           {[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), errNotTLS, 1},
	"PROXY v2":           {[]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00"), errNotTLS, 1},
	"Postgres start-up":  {packet(version30, []byte("user\x00a\x00\x00")), errNotTLS, 1},
	"Postgres, asks TLS": {packet(80877103), errNotTLS, 1},
	"MySQL":              {[]byte("\x4a\x00\x00\x00\x0a8.0.33\x00"), errNotTLS, 1},
	"zeros":              {make([]byte, 100), errNotTLS, 1},
	"a line end":         {[]byte("\n"), errNotTLS, 1},

	// TLS, but not the version or the record that comes first.
	"SSL 2.0":               {append([]byte{0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 16}, random(3, 37)...), errNotTLS, 1},
	"SSL 2.0, for 3.1":      {append([]byte{0x80, 0x67, 1, 3, 1, 0, 0x4e, 0, 0, 0, 16}, random(3, 94)...), errNotTLS, 1},
	"SSL 2.0, 3-byte head":  {append([]byte{0x16, 0x13, 0, 1, 3, 1}, random(3, 94)...), errNotTLS, 2},
	"DTLS 1.2":              {append([]byte{22, 0xfe, 0xfd}, random(3, 100)...), errNotTLS, 2},
	"a record of version 2": {[]byte("\x16\x02\x00\x00\x05\x01\x00\x00\x01\x00"), errNotTLS, 2},
	"alert":                 {tlsAlert(alertDecodeError), errNotTLS, 1},
	"change of cipher":      {tlsRecord(20, []byte{1}), errNotTLS, 1},
	"application data":      {tlsRecord(23, random(1, 100)), errNotTLS, 1},
	"heartbeat":             {tlsRecord(24, []byte{1, 0x40, 0}), errNotTLS, 1},

	// Records.
	"empty record":             {tlsRecord(22), errNoHello, 0},
	"empty record between":     {between(tlsRecord(22)), errNoHello, len(helloStart) + 5},
	"record of 2^14+1":         {tlsRecord(22, handshake(1, make([]byte, 1<<14-3))), errRecordLarge, 5},
	"record of 2^16-1":         {tlsRecord(22, make([]byte, 1<<16-1)), errRecordLarge, 5},
	"too large record between": {slices.Concat(helloStart, []byte{22, 3, 1, 0x40, 1}), errRecordLarge, 0},
	"alert between":            {between(tlsAlert(90)), errNoHello, len(helloStart) + 1},
	"data between":             {between(tlsRecord(23, []byte("x"))), errNoHello, len(helloStart) + 1},
	"change of cipher between": {between(tlsRecord(20, []byte{1})), errNoHello, len(helloStart) + 1},
	"no record between":        {between([]byte("GET / HTTP/1.1\r\n\r\n")), errNoHello, len(helloStart) + 1},
	"other version between":    {slices.Concat(helloStart, []byte{22, 4}), errNoHello, 0},

	// Messages.
	"HelloRequest":             {tlsRecord(22, handshake(0)), errNoHello, 6},
	"ServerHello":              {tlsRecord(22, handshake(2, helloFields)), errNoHello, 6},
	"Finished":                 {tlsRecord(22, handshake(20, random(20, 32))), errNoHello, 6},
	"two messages, one record": {tlsRecord(22, validHello, handshake(11, random(1, 100))), errNoHello, 9},
	"a byte too many":          {tlsRecord(22, validHello, []byte{0}), errNoHello, 9},
	"more in the last record":  {slices.Concat(helloStart, overfull), errNoHello, len(helloStart) + 5},
	"empty message":            {tlsRecord(22, handshake(1)), errHello, 0},
	"64 KiB":                   {inRecords(handshake(1, make([]byte, maxHello))), errHelloLarge, 9},
	"16 MiB":                   {[]byte("\x16\x03\x01\x02\x00\x01\xff\xff\xff"), errHelloLarge, 0},

	// Fields.
	"only a version":         bad(handshake(1, helloFields[:2])),
	"half of the random":     bad(handshake(1, helloFields[:20])),
	"no session id":          bad(handshake(1, helloFields[:34])),
	"session id too long":    bad(handshake(1, helloFields[:34], prefixed(1, random(2, 33)), []byte{0, 2, 0, 47, 1, 0})),
	"session id cut":         bad(handshake(1, helloFields[:50])),
	"no cipher suites":       bad(handshake(1, helloFields[:67], []byte{0, 0, 1, 0})),
	"half a cipher suite":    bad(handshake(1, helloFields[:67], []byte{0, 3, 0, 47, 0, 1, 0})),
	"cipher suites cut":      bad(handshake(1, helloFields[:67], []byte{0, 8, 0, 47})),
	"no compression":         bad(handshake(1, helloFields[:67], []byte{0, 2, 0, 47, 0})),
	"compression cut":        bad(handshake(1, helloFields[:67], []byte{0, 2, 0, 47, 9, 0})),
	"one byte after":         bad(handshake(1, helloFields, []byte{0})),
	"extensions cut":         bad(handshake(1, helloFields, []byte{0, 99}, alpn("h2"))),
	"more than extensions":   bad(handshake(1, helloFields, prefixed(2, alpn("h2")), []byte{0})),
	"half an extension type": bad(helloMessage([]byte{0})),
	"extension without size": bad(helloMessage([]byte{0, 10})),
	"extension cut":          bad(helloMessage([]byte{0, 10, 0, 4, 1, 1, 1})),

	// Server name.
	"two lists of names":        bad(helloMessage(serverNames(hostName("a.example")), serverNames(hostName("b.example")))),
	"the same list twice":       bad(helloMessage(serverNames(hostName("a")), alpn("h2"), serverNames(hostName("a")))),
	"empty server_name":         bad(helloMessage(extension(0))),
	"empty twice":               bad(helloMessage(extension(0), extension(0))),
	"empty list of names":       bad(helloMessage(serverNames())),
	"more than the list":        bad(helloMessage(extension(0, prefixed(2, hostName("a.example")), []byte{0}))),
	"list cut":                  bad(helloMessage(extension(0, []byte{0, 99}, hostName("a.example")))),
	"name cut":                  bad(helloMessage(serverNames([]byte("\x00\x00\x09a.exam")))),
	"name without size":         bad(helloMessage(serverNames([]byte{0}))),
	"two names":                 bad(helloMessage(serverNames(hostName("a.example"), hostName("b.example")))),
	"empty name and another":    bad(helloMessage(serverNames(hostName(""), hostName("b.example")))),
	"empty name":                bad(helloMessage(serverNames(hostName("")))),
	"a dot":                     bad(helloMessage(serverNames(hostName(".")))),
	"two dots at the end":       bad(helloMessage(serverNames(hostName("a.example..")))),
	"a dot at the start":        bad(helloMessage(serverNames(hostName(".a.example")))),
	"empty label":               bad(helloMessage(serverNames(hostName("a..example")))),
	"NUL in the name":           bad(helloMessage(serverNames(hostName("a.example\x00.b.example")))),
	"NUL after the name":        bad(helloMessage(serverNames(hostName("a.example\x00")))),
	"line end in the name":      bad(helloMessage(serverNames(hostName("a.example\nlevel=error")))),
	"space in the name":         bad(helloMessage(serverNames(hostName("a example")))),
	"UTF-8 name":                bad(helloMessage(serverNames(hostName("bücher.example")))),
	"DEL in the name":           bad(helloMessage(serverNames(hostName("a.example\x7f")))),
	"name of 254 bytes":         bad(helloMessage(serverNames(hostName(strings.Repeat("a", 254))))),
	"name of 60,000 bytes":      bad(helloMessage(serverNames(hostName(strings.Repeat("a", 60000))))),
	"other type of name is cut": bad(helloMessage(serverNames(hostName("a.example"), []byte{7, 0, 3, 1}))),

	// ALPN.
	"two lists of protocols":  bad(helloMessage(alpn("h2"), serverNames(hostName("a.example")), alpn("http/1.1"))),
	"empty ALPN":              bad(helloMessage(extension(16))),
	"empty list of protocols": bad(helloMessage(alpn())),
	"empty protocol":          bad(helloMessage(alpn("h2", "", "http/1.1"))),
	"protocol cut":            bad(helloMessage(extension(16, prefixed(2, []byte("\x02h2\x08http"))))),
	"protocols cut":           bad(helloMessage(extension(16, []byte("\x00\x09\x02h2")))),
	"more than protocols":     bad(helloMessage(extension(16, prefixed(2, []byte("\x02h2")), []byte{0}))),
}

// validHello is cut in two for what may not come between.
var (
	validHello = helloMessage(serverNames(hostName("shop.example.com")), alpn("h2"))
	helloStart = tlsRecord(22, validHello[:100])
	helloRest  = tlsRecord(22, validHello[100:])
	overfull   = tlsRecord(22, validHello[100:], []byte{0})
)

// between is a hello with something between its two records.
func between(data []byte) []byte { return slices.Concat(helloStart, data, helloRest) }

// bad is a message that is found malformed when it is complete.
func bad(message []byte) badHello { return badHello{inRecords(message), errHello, 0} }

func TestBadHellos(t *testing.T) {
	for name, bad := range badHellos {
		by := bad.by
		if by == 0 {
			by = len(bad.data)
		}
		var r helloReader
		for n := range by {
			if _, size, err := r.read(bad.data[:n]); err != errShort || size <= n || size > maxHello {
				t.Errorf("%s: size %d, %v after %d bytes; want %v after %d", name, size, err, n, bad.err, by)
				break
			}
		}
		for _, data := range [][]byte{bad.data[:by], bad.data, append(bytes.Clone(bad.data), "and more"...)} {
			if hello, size, err := parseHello(data); err != bad.err || size != 0 || hello != (tlsHello{}) {
				t.Errorf("%s: %+v, size %d, %v; want %v", name, hello, size, err, bad.err)
			}
		}
		if bad.err == errHello {
			checkBadFraming(t, name, bad.data)
		}
	}
}

// checkBadFraming checks that a malformed message is one in any records.
func checkBadFraming(t *testing.T, name string, data []byte) {
	t.Helper()
	message := unframed(data)
	for cut := 1; cut < min(len(message), 500); cut++ {
		if _, _, err := parseHello(inRecords(message, cut)); err != errHello {
			t.Errorf("%s: %v with a first record of %d bytes, want %v", name, err, cut, errHello)
		}
	}
}

// Every beginning of a valid hello, as if it were all, is malformed: no length in it
// may be taken for less.
func TestCutHellos(t *testing.T) {
	body := validHello[handshakeHead:]
	for n := range len(body) {
		_, _, err := parseHello(inRecords(handshake(1, body[:n])))
		if withoutExtensions := n == len(helloFields); (err == nil) != withoutExtensions || err != nil && err != errHello {
			t.Errorf("%d of %d bytes: %v", n, len(body), err)
		}
	}
}
