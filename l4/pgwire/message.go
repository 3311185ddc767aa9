package pgwire

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Messages after the start-up have a type byte before their length.
const (
	messageHead      = 5
	messageAuth      = 'R'     // Authentication, of whatever kind
	messageParameter = 'S'     // ParameterStatus
	messageNotice    = 'N'     // NoticeResponse
	messageKey       = 'K'     // BackendKeyData
	messageReady     = 'Z'     // ReadyForQuery
	MessageError     = 'E'     // ErrorResponse
	maxErrorMessage  = 8 << 10 // of a server: what is longer is no message of a start-up
	maxLoginMessage  = 1 << 20
	maxKey           = maxCancel - packetHead

	// Answers have one byte and nothing else.
	AnswerYes = 'S' // to SSLRequest
	AnswerNo  = 'N' // to SSLRequest and GSSENCRequest
)

// Fields of an ErrorResponse (55.8).
const (
	fieldSeverity = 'S'
	fieldUnlocal  = 'V' // severity that is never translated
	fieldState    = 'C' // SQLSTATE
	fieldMessage  = 'M'
	severityFatal = "FATAL"
)

// SQLSTATEs (PostgreSQL documentation, appendix A).
const (
	CannotConnectNow   = "57P03" // starting up, shutting down or in recovery
	AdminShutdown      = "57P01" // an operator has ended it
	TooManyConnections = "53300"
	InvalidCatalogName = "3D000" // no such database

	classIntervention = "57P" // how the states of IsIntervention begin
)

// IsIntervention reports whether an SQLSTATE is one of those by which a server ends a
// session for reasons of its own: admin_shutdown (57P01, which a server process says
// whose postmaster is gone, too), crash_shutdown (57P02), cannot_connect_now (57P03)
// and their like. Another server may well take the session.
func IsIntervention(state string) bool {
	return len(state) == len(CannotConnectNow) && strings.HasPrefix(state, classIntervention)
}

// IsErrorPart reports whether data is the beginning of an ErrorResponse, and not all of it.
func IsErrorPart(data []byte) bool {
	if data[0] != MessageError {
		return false
	}
	if len(data) < messageHead {
		return true
	}
	length := binary.BigEndian.Uint32(data[1:])
	return length >= 4 && length <= maxErrorMessage && len(data) < 1+int(length)
}

// FirstError returns the SQLSTATE of the first ErrorResponse in what a server has said so
// far, and "" when there is none. A server that asks for no password says everything up to
// ReadyForQuery at once, and so it does when it has failed in between.
func FirstError(data []byte) string {
	for len(data) >= messageHead {
		switch data[0] {
		case MessageError:
			return ErrorState(data)
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

// ErrorState returns the SQLSTATE of an ErrorResponse that data starts with,
// and "" for anything else.
func ErrorState(data []byte) string {
	if len(data) < messageHead || data[0] != MessageError {
		return ""
	}
	length := int(binary.BigEndian.Uint32(data[1:]))
	if length < 4 || length > maxErrorMessage {
		return ""
	}
	fields := data[messageHead:min(len(data), 1+length)]
	for len(fields) > 0 && fields[0] != 0 {
		field, rest, _ := bytes.Cut(fields, []byte{0})
		if field[0] == fieldState {
			return string(field[1:])
		}
		fields = rest
	}
	return ""
}

// ErrorResponse is the ErrorResponse that ends a start-up.
func ErrorResponse(state, message string) []byte {
	data := []byte{MessageError, 0, 0, 0, 0}
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

// A KeyScanner finds the BackendKeyData in what a server sends while a client
// logs in. It is given the bytes as they come, split anywhere.
type KeyScanner struct {
	head   [messageHead]byte
	got    int    // bytes of head that have come
	left   int    // bytes of the present message's body that have not
	Key    []byte // process id and secret, which is what a CancelRequest carries; complete when done is set
	inside bool   // the present message is the key
	Done   bool   // nothing more is to be found

	Ready bool // the caller's: what it has last seen of the session is that the server is ready, see EndsReady
}

// readyIdle is a ReadyForQuery of a session that is in no transaction.
var readyIdle = []byte{messageReady, 0, 0, 0, 5, 'I'}

// EndsReady reports whether what a server has sent ends with the message that it is ready and in
// no transaction. Data in a result may look like it, but is followed by more.
func EndsReady(data []byte) bool { return bytes.HasSuffix(data, readyIdle) }

// Scan reads the next bytes.
func (k *KeyScanner) Scan(data []byte) {
	for len(data) > 0 && !k.Done {
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
			k.Key = append(k.Key, data[:n]...)
		}
		k.left, data = k.left-n, data[n:]
		k.Done = k.inside && k.left == 0
	}
}

// begin takes a message's type and length.
func (k *KeyScanner) begin() {
	length := int(binary.BigEndian.Uint32(k.head[1:])) - 4
	k.got, k.left = 0, length
	k.inside = k.head[0] == messageKey && length > 4 && length <= maxKey
	// After an error or the end of the login no key comes; a length that
	// cannot be says that this is not the protocol.
	if length < 0 || length > maxLoginMessage || k.head[0] == messageReady || k.head[0] == MessageError {
		k.Done = true
	}
}
