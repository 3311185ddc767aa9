package pgtest

import (
	"bytes"
	"encoding/binary"
)

// Head is a length and a code that need not fit together.
func Head(length, code uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, length), code)
}

// Bad are no first packets, by name. They are refused once their first eight bytes are there.
var Bad = map[string][]byte{
	"HTTP":                         []byte("GET / HTTP/1.1\r\n\r\n"),
	"HTTP/2":                       []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	"SSH":                          []byte("SSH-2.0-OpenSSH_9.2\r\n"),
	"PROXY v1":                     []byte("PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n"),
	"PROXY v2":                     []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x01\x9c\x40\x01\xbb"),
	"MySQL":                        []byte("\x4a\x00\x00\x00\x0a8.0.33\x00"),
	"TLS alert":                    []byte("\x15\x03\x01\x00\x02\x02\x28\x00"),
	"TLS of no version":            []byte("\x16\x02\x01\x02\x00\x01\x00\x01\xfc"),
	"zeros":                        make([]byte, 100),
	"ones":                         bytes.Repeat([]byte{0xff}, 100),
	"a query without a start-up":   Message('Q', []byte("select 1\x00")),
	"length 0":                     Head(0, Version30),
	"length 4":                     Head(4, Version30),
	"length 7":                     Head(7, Version30),
	"length 10001":                 Head(10001, Version30),
	"length of 2 GiB":              Head(1<<31, Version30),
	"length of 4 GiB":              Head(1<<32-1, Version30),
	"length in the other order":    []byte("\x29\x00\x00\x00\x00\x03\x00\x00"),
	"SSLRequest too short":         Head(7, codeTLS),
	"SSLRequest too long":          Packet(codeTLS, []byte("x")),
	"GSSENCRequest too short":      Head(0, codeGSS),
	"GSSENCRequest too long":       Packet(codeGSS, make([]byte, 100)),
	"CancelRequest without a key":  Packet(codeCancel),
	"CancelRequest, only a number": Packet(codeCancel, make([]byte, 4)),
	"CancelRequest too long":       Packet(codeCancel, make([]byte, 4+257)),
	"CancelRequest much too long":  Head(10000, codeCancel),
}
