package l4

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"sluice/l4/tlshello"
)

// The first packets of a Postgres connection have no type byte: four bytes of
// length, which count themselves, and a code (PostgreSQL documentation, 55.7
// "Message Formats"). All numbers are big-endian.
const (
	codeCancel = 80877102
	codeTLS    = 80877103
	codeGSS    = 80877104

	packetHead = 8     // length and code
	maxStartup = 10000 // what Postgres itself takes: MAX_STARTUP_PACKET_LENGTH
	minCancel  = packetHead + 4
	maxCancel  = packetHead + 4 + 256 // protocol 3.2 has keys of up to 256 bytes
)

// packetKind is what the first packet of a client is.
type packetKind uint8

const (
	packetStartup   packetKind = iota
	packetTLS                  // SSLRequest: answered by one byte
	packetGSS                  // GSSENCRequest: likewise
	packetCancel               // CancelRequest: answered by FIN
	packetDirectTLS            // no packet: TLS without asking, as from Postgres 17 on
	packetHello                // no packet either: a ClientHello that was read
)

var errPacket = errors.New("not a Postgres start-up packet")

// parsePacket tells what kind of packet data starts with, and how long it is.
// io.ErrUnexpectedEOF: call again with at least size bytes.
func parsePacket(data []byte) (kind packetKind, size int, err error) {
	if len(data) >= 2 && data[0] == tlshello.RecordHandshake && data[1] == tlshello.RecordMajor {
		return packetDirectTLS, len(data), nil
	}
	if len(data) < packetHead {
		return 0, packetHead, io.ErrUnexpectedEOF
	}
	length, code := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	kind, fits := packetStartup, length >= packetHead && length <= maxStartup
	switch code {
	case codeTLS:
		kind, fits = packetTLS, length == packetHead
	case codeGSS:
		kind, fits = packetGSS, length == packetHead
	case codeCancel:
		kind, fits = packetCancel, length > minCancel && length <= maxCancel
	}
	if !fits {
		return 0, 0, errPacket
	}
	if len(data) < int(length) {
		return kind, int(length), io.ErrUnexpectedEOF
	}
	return kind, int(length), nil
}

// Messages after the start-up have a type byte before their length.
const (
	messageHead      = 5
	messageAuth      = 'R' // Authentication, of whatever kind
	messageParameter = 'S' // ParameterStatus
	messageNotice    = 'N' // NoticeResponse
	messageKey       = 'K' // BackendKeyData
	messageReady     = 'Z' // ReadyForQuery
	messageError     = 'E' // ErrorResponse
	answerYes        = 'S' // to SSLRequest
	answerNo         = 'N' // to SSLRequest and GSSENCRequest
	maxKey           = maxCancel - packetHead
	fieldSeverity    = 'S'
	fieldUnlocal     = 'V' // severity that is never translated
	fieldState       = 'C' // SQLSTATE
	fieldMessage     = 'M'
	stateNotNow      = "57P03" // cannot_connect_now: starting up, shutting down or in recovery
	stateClassEnd    = "57P"   // how the states begin that end sessions whatever these do, see isIntervention
	stateTooMany     = "53300" // too_many_connections
	stateNoDatabase  = "3D000" // invalid_catalog_name
	severityFatal    = "FATAL"
	maxErrorMessage  = 8 << 10 // of a server: what is longer is no message of a start-up
	maxLoginMessage  = 1 << 20
)

// isIntervention reports whether an SQLSTATE is one of those by which a server ends a
// session for reasons of its own: admin_shutdown (57P01, which a server process says
// whose postmaster is gone, too), crash_shutdown (57P02), cannot_connect_now (57P03)
// and their like. Another server may well take the session.
func isIntervention(state string) bool {
	return len(state) == len(stateNotNow) && strings.HasPrefix(state, stateClassEnd)
}

// isErrorPart reports whether data is the beginning of an ErrorResponse, and not all of it.
func isErrorPart(data []byte) bool {
	if data[0] != messageError {
		return false
	}
	if len(data) < messageHead {
		return true
	}
	length := binary.BigEndian.Uint32(data[1:])
	return length >= 4 && length <= maxErrorMessage && len(data) < 1+int(length)
}

// firstError returns the SQLSTATE of the first ErrorResponse in what a server has said so
// far, and "" when there is none. A server that asks for no password says everything up to
// ReadyForQuery at once, and so it does when it has failed in between.
func firstError(data []byte) string {
	for len(data) >= messageHead {
		switch data[0] {
		case messageError:
			return errorState(data)
		case messageAuth, messageParameter, messageNotice, messageKey:
		default:
			return ""
		}
		size := 1 + int64(binary.BigEndian.Uint32(data[1:]))
		if size < messageHead || size > int64(len(data)) {
			return ""
		}
		data = data[size:]
	}
	return ""
}

// errorState returns the SQLSTATE of an ErrorResponse that data starts with,
// and "" for anything else.
func errorState(data []byte) string {
	if len(data) < messageHead || data[0] != messageError {
		return ""
	}
	length := int(binary.BigEndian.Uint32(data[1:]))
	if length < 4 || length > maxErrorMessage {
		return ""
	}
	fields := data[messageHead:min(len(data), 1+length)]
	for len(fields) > 0 && fields[0] != 0 {
		end := 1
		for end < len(fields) && fields[end] != 0 {
			end++
		}
		if fields[0] == fieldState {
			return string(fields[1:end])
		}
		fields = fields[min(end+1, len(fields)):]
	}
	return ""
}

// errorResponse is the ErrorResponse that ends a start-up.
func errorResponse(state, message string) []byte {
	data := []byte{messageError, 0, 0, 0, 0}
	for _, field := range [...]struct {
		code byte
		text string
	}{
		{fieldSeverity, severityFatal}, {fieldUnlocal, severityFatal}, {fieldState, state}, {fieldMessage, message},
	} {
		data = append(data, field.code)
		data = append(data, field.text...)
		data = append(data, 0)
	}
	data = append(data, 0)
	binary.BigEndian.PutUint32(data[1:], uint32(len(data)-1))
	return data
}

// A keyScanner finds the BackendKeyData in what a server sends while a client
// logs in. It is given the bytes as they come, split anywhere.
type keyScanner struct {
	head   [messageHead]byte
	got    int    // bytes of head that have come
	left   int    // bytes of the present message's body that have not
	key    []byte // process id and secret, which is what a CancelRequest carries; complete when done is set
	inside bool   // the present message is the key
	done   bool   // nothing more is to be found
}

// scan reads the next bytes.
func (k *keyScanner) scan(data []byte) {
	for len(data) > 0 && !k.done {
		if k.left == 0 {
			n := copy(k.head[k.got:], data)
			k.got, data = k.got+n, data[n:]
			if k.got == messageHead {
				k.begin()
			}
			continue
		}
		n := min(k.left, len(data))
		if k.inside {
			k.key = append(k.key, data[:n]...)
		}
		k.left, data = k.left-n, data[n:]
		k.done = k.inside && k.left == 0
	}
}

// begin takes a message's type and length.
func (k *keyScanner) begin() {
	length := int(binary.BigEndian.Uint32(k.head[1:])) - 4
	k.got, k.left = 0, length
	k.inside = k.head[0] == messageKey && length > 4 && length <= maxKey
	// After an error or the end of the login no key comes; a length that
	// cannot be says that this is not the protocol.
	if length < 0 || length > maxLoginMessage || k.head[0] == messageReady || k.head[0] == messageError {
		k.done = true
	}
}
