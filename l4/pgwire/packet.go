package pgwire

import (
	"encoding/binary"
	"errors"
	"io"

	"sluice/l4/tlshello"
)

// The first packets of a Postgres connection have no type byte: four bytes of
// length, which count themselves, and a code (PostgreSQL documentation, 55.7
// "Message Formats"). All numbers are big-endian.
const (
	codeCancel = 80877102
	codeTLS    = 80877103
	codeGSS    = 80877104

	packetHead = 8 // length and code
	minCancel  = packetHead + 4
	maxCancel  = packetHead + 4 + 256 // protocol 3.2 has keys of up to 256 bytes

	// MaxStartup is the longest first packet that Postgres itself takes:
	// MAX_STARTUP_PACKET_LENGTH.
	MaxStartup = 10000
)

// Kind is what the first packet of a client is.
type Kind uint8

// The kinds, in the words of the documentation where it has one.
const (
	Startup       Kind = iota // StartupMessage
	SSLRequest                // answered by one byte
	GSSENCRequest             // likewise
	CancelRequest             // answered by FIN
	DirectTLS                 // no packet: TLS without asking, as from Postgres 17 on
)

// AskTLS is an SSLRequest. It must not be changed.
var AskTLS = []byte{0, 0, 0, packetHead, codeTLS >> 24, codeTLS >> 16 & 0xff, codeTLS >> 8 & 0xff, codeTLS & 0xff}

// ErrPacket: no client of Postgres begins like this.
var ErrPacket = errors.New("not a Postgres start-up packet")

// ParsePacket tells what kind of packet data starts with, and how long it is.
// io.ErrUnexpectedEOF: call again with at least size bytes.
func ParsePacket(data []byte) (kind Kind, size int, err error) {
	if len(data) >= 2 && data[0] == tlshello.RecordHandshake && data[1] == tlshello.RecordMajor {
		return DirectTLS, len(data), nil
	}
	if len(data) < packetHead {
		return 0, packetHead, io.ErrUnexpectedEOF
	}
	length, code := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	kind, fits := Startup, length >= packetHead && length <= MaxStartup
	switch code {
	case codeTLS:
		kind, fits = SSLRequest, length == packetHead
	case codeGSS:
		kind, fits = GSSENCRequest, length == packetHead
	case codeCancel:
		kind, fits = CancelRequest, length > minCancel && length <= maxCancel
	}
	if !fits {
		return 0, 0, ErrPacket
	}
	if len(data) < int(length) {
		return kind, int(length), io.ErrUnexpectedEOF
	}
	return kind, int(length), nil
}

// CancelKey returns what a complete CancelRequest carries: the process id and the secret,
// as a KeyScanner finds them.
func CancelKey(packet []byte) []byte { return packet[packetHead:] }
