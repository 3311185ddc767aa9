package pgwire

import (
	"bytes"
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

// A Kind is what the first packet of a client is.
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

// startupMajor is the major version of a StartupMessage whose parameters can be
// read: 3, in the upper half of the code. Its minor versions change nothing here.
const startupMajor = 3

// ParseStartup reads the user and the database of a complete StartupMessage (PostgreSQL
// documentation, 55.7). ok is false when it is malformed or names no user, without
// which no server takes it.
//
// It reads as the server does (ProcessStartupPacket), or a client could show sluice one
// name and the server another: the last of two values counts, and an empty
// database is the one called as the user.
func ParseStartup(packet []byte) (user, database string, ok bool) {
	if len(packet) <= packetHead || binary.BigEndian.Uint32(packet[4:])>>16 != startupMajor {
		return "", "", false
	}
	rest := packet[packetHead:]
	var userValue, databaseValue []byte
	for len(rest) > 0 && rest[0] != 0 {
		name, afterName, _ := bytes.Cut(rest, []byte{0})
		value, afterValue, terminated := bytes.Cut(afterName, []byte{0})
		if !terminated {
			return "", "", false
		}
		switch string(name) {
		case "user":
			userValue = value
		case "database":
			databaseValue = value
		}
		rest = afterValue
	}
	// After the last pair there is one byte, and it is the last (expected
	// terminator as last byte).
	if len(rest) != 1 || len(userValue) == 0 {
		return "", "", false
	}
	user = string(userValue)
	if len(databaseValue) == 0 {
		return user, user, true
	}
	return user, string(databaseValue), true
}
