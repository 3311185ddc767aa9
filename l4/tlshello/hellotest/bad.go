package hellotest

import (
	"slices"
	"strings"
)

// A BadHello is a first message that is no ClientHello, or not a valid one. What is wrong
// with it shows in its first By bytes, 0 = in all of them and no sooner.
type BadHello struct {
	Data  []byte
	Alert byte // what sluice answers (RFC 8446, 6.2); 0 = nothing, for it is not TLS
	By    int
}

// The alerts by what is wrong, as tlshello has errors for it.
const (
	notTLS      = 0
	noHello     = 10
	recordLarge = 22
	malformed   = 50
	helloLarge  = 80
)

// Bad are such messages by name.
var Bad = map[string]BadHello{
	// Other protocols. One byte tells all of these.
	"HTTP":               {[]byte("GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"), notTLS, 1},
	"HTTP/2":             {[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), notTLS, 1},
	"SSH":                {[]byte("SSH-2.0-OpenSSH_9.2\r\n"), notTLS, 1},
	"SMTP":               {[]byte("EHLO mail.example.com\r\n"), notTLS, 1},
	"Redis":              {[]byte("*1\r\n$4\r\nPING\r\n"), notTLS, 1},
	"PROXY v1":           {[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), notTLS, 1},
	"PROXY v2":           {[]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00"), notTLS, 1},
	"Postgres start-up":  {[]byte("\x00\x00\x00\x10\x00\x03\x00\x00user\x00a\x00\x00"), notTLS, 1},
	"Postgres, asks TLS": {[]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"), notTLS, 1},
	"MySQL":              {[]byte("\x4a\x00\x00\x00\x0a8.0.33\x00"), notTLS, 1},
	"zeros":              {make([]byte, 100), notTLS, 1},
	"a line end":         {[]byte("\n"), notTLS, 1},

	// TLS, but not the version or the record that comes first.
	"SSL 2.0":               {append([]byte{0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 16}, random(3, 37)...), notTLS, 1},
	"SSL 2.0, for 3.1":      {append([]byte{0x80, 0x67, 1, 3, 1, 0, 0x4e, 0, 0, 0, 16}, random(3, 94)...), notTLS, 1},
	"SSL 2.0, 3-byte head":  {append([]byte{0x16, 0x13, 0, 1, 3, 1}, random(3, 94)...), notTLS, 2},
	"DTLS 1.2":              {append([]byte{22, 0xfe, 0xfd}, random(3, 100)...), notTLS, 2},
	"a record of version 2": {[]byte("\x16\x02\x00\x00\x05\x01\x00\x00\x01\x00"), notTLS, 2},
	"alert":                 {alert(50), notTLS, 1},
	"change of cipher":      {Record(20, []byte{1}), notTLS, 1},
	"application data":      {Record(23, random(1, 100)), notTLS, 1},
	"heartbeat":             {Record(24, []byte{1, 0x40, 0}), notTLS, 1},

	// Records.
	"empty record":             {Record(22), noHello, 0},
	"empty record between":     {between(Record(22)), noHello, len(Start) + 5},
	"record of 2^14+1":         {Record(22, Handshake(1, make([]byte, 1<<14-3))), recordLarge, 5},
	"record of 2^16-1":         {Record(22, make([]byte, 1<<16-1)), recordLarge, 5},
	"too large record between": {slices.Concat(Start, []byte{22, 3, 1, 0x40, 1}), recordLarge, 0},
	"alert between":            {between(alert(90)), noHello, len(Start) + 1},
	"data between":             {between(Record(23, []byte("x"))), noHello, len(Start) + 1},
	"change of cipher between": {between(Record(20, []byte{1})), noHello, len(Start) + 1},
	"no record between":        {between([]byte("GET / HTTP/1.1\r\n\r\n")), noHello, len(Start) + 1},
	"other version between":    {slices.Concat(Start, []byte{22, 4}), noHello, 0},

	// Messages.
	"HelloRequest":             {Record(22, Handshake(0)), noHello, 6},
	"ServerHello":              {Record(22, Handshake(2, Fields)), noHello, 6},
	"Finished":                 {Record(22, Handshake(20, random(20, 32))), noHello, 6},
	"two messages, one record": {Record(22, Valid, Handshake(11, random(1, 100))), noHello, 9},
	"a byte too many":          {Record(22, Valid, []byte{0}), noHello, 9},
	"more in the last record":  {slices.Concat(Start, overfull), noHello, len(Start) + 5},
	"empty message":            {Record(22, Handshake(1)), malformed, 0},
	"64 KiB":                   {InRecords(Handshake(1, make([]byte, 64<<10))), helloLarge, 9},
	"16 MiB":                   {[]byte("\x16\x03\x01\x02\x00\x01\xff\xff\xff"), helloLarge, 0},

	// Fields.
	"only a version":         bad(Handshake(1, Fields[:2])),
	"half of the random":     bad(Handshake(1, Fields[:20])),
	"no session id":          bad(Handshake(1, Fields[:34])),
	"session id too long":    bad(Handshake(1, Fields[:34], Prefixed(1, random(2, 33)), []byte{0, 2, 0, 47, 1, 0})),
	"session id cut":         bad(Handshake(1, Fields[:50])),
	"no cipher suites":       bad(Handshake(1, Fields[:67], []byte{0, 0, 1, 0})),
	"half a cipher suite":    bad(Handshake(1, Fields[:67], []byte{0, 3, 0, 47, 0, 1, 0})),
	"cipher suites cut":      bad(Handshake(1, Fields[:67], []byte{0, 8, 0, 47})),
	"no compression":         bad(Handshake(1, Fields[:67], []byte{0, 2, 0, 47, 0})),
	"compression cut":        bad(Handshake(1, Fields[:67], []byte{0, 2, 0, 47, 9, 0})),
	"one byte after":         bad(Handshake(1, Fields, []byte{0})),
	"extensions cut":         bad(Handshake(1, Fields, []byte{0, 99}, ALPN("h2"))),
	"more than extensions":   bad(Handshake(1, Fields, Prefixed(2, ALPN("h2")), []byte{0})),
	"half an extension type": bad(Message([]byte{0})),
	"extension without size": bad(Message([]byte{0, 10})),
	"extension cut":          bad(Message([]byte{0, 10, 0, 4, 1, 1, 1})),

	// Server name.
	"two lists of names":        bad(Message(ServerNames(HostName("a.example")), ServerNames(HostName("b.example")))),
	"the same list twice":       bad(Message(ServerNames(HostName("a")), ALPN("h2"), ServerNames(HostName("a")))),
	"empty server_name":         bad(Message(Extension(0))),
	"empty twice":               bad(Message(Extension(0), Extension(0))),
	"empty list of names":       bad(Message(ServerNames())),
	"more than the list":        bad(Message(Extension(0, Prefixed(2, HostName("a.example")), []byte{0}))),
	"list cut":                  bad(Message(Extension(0, []byte{0, 99}, HostName("a.example")))),
	"name cut":                  bad(Message(ServerNames([]byte("\x00\x00\x09a.exam")))),
	"name without size":         bad(Message(ServerNames([]byte{0}))),
	"two names":                 bad(Message(ServerNames(HostName("a.example"), HostName("b.example")))),
	"empty name and another":    bad(Message(ServerNames(HostName(""), HostName("b.example")))),
	"empty name":                bad(Message(ServerNames(HostName("")))),
	"a dot":                     bad(Message(ServerNames(HostName(".")))),
	"two dots at the end":       bad(Message(ServerNames(HostName("a.example..")))),
	"a dot at the start":        bad(Message(ServerNames(HostName(".a.example")))),
	"empty label":               bad(Message(ServerNames(HostName("a..example")))),
	"NUL in the name":           bad(Message(ServerNames(HostName("a.example\x00.b.example")))),
	"NUL after the name":        bad(Message(ServerNames(HostName("a.example\x00")))),
	"line end in the name":      bad(Message(ServerNames(HostName("a.example\nlevel=error")))),
	"space in the name":         bad(Message(ServerNames(HostName("a example")))),
	"UTF-8 name":                bad(Message(ServerNames(HostName("bücher.example")))),
	"DEL in the name":           bad(Message(ServerNames(HostName("a.example\x7f")))),
	"name of 254 bytes":         bad(Message(ServerNames(HostName(strings.Repeat("a", 254))))),
	"name of 60,000 bytes":      bad(Message(ServerNames(HostName(strings.Repeat("a", 60000))))),
	"other type of name is cut": bad(Message(ServerNames(HostName("a.example"), []byte{7, 0, 3, 1}))),

	// ALPN.
	"two lists of protocols":  bad(Message(ALPN("h2"), ServerNames(HostName("a.example")), ALPN("http/1.1"))),
	"empty ALPN":              bad(Message(Extension(16))),
	"empty list of protocols": bad(Message(ALPN())),
	"empty protocol":          bad(Message(ALPN("h2", "", "http/1.1"))),
	"protocol cut":            bad(Message(Extension(16, Prefixed(2, []byte("\x02h2\x08http"))))),
	"protocols cut":           bad(Message(Extension(16, []byte("\x00\x09\x02h2")))),
	"more than protocols":     bad(Message(Extension(16, Prefixed(2, []byte("\x02h2")), []byte{0}))),
}

var (
	// Valid is the message of a valid hello, and Start the first of two records that it is in.
	Valid    = Message(ServerNames(HostName("shop.example.com")), ALPN("h2"))
	Start    = Record(22, Valid[:100])
	rest     = Record(22, Valid[100:])
	overfull = Record(22, Valid[100:], []byte{0})
)

// between is a hello with something between its two records.
func between(data []byte) []byte { return slices.Concat(Start, data, rest) }

// bad is a message that is found malformed when it is complete.
func bad(message []byte) BadHello { return BadHello{InRecords(message), malformed, 0} }

func alert(description byte) []byte { return []byte{21, 3, 3, 0, 2, 2, description} }
