package tlshello

import (
	"encoding/binary"
	"errors"
	"io"
)

// What a ClientHello comes in: records of type handshake, which cut the message anywhere they like (RFC 8446, 5.1), and
// in front of the message one byte of type and three of length (section 4).
const (
	RecordHandshake = 0x16 // the first byte of a record
	RecordMajor     = 3    // the second: of a version from SSL 3.0 to TLS 1.3
	RecordHead      = 5    // type, version, length
	MaxRecord       = 1 << 14
	MaxHello        = 64 << 10 // of all records with their heads; sluice's own bound
	handshakeHead   = 4
	typeClientHello = 1
)

// What can be wrong with the first bytes of a client that should speak TLS. Each
// ends the session in its own way, see AlertFor.
var (
	ErrNotTLS         = errors.New("not TLS")
	ErrNoHello        = errors.New("TLS, but something else where the ClientHello should be")
	ErrRecordTooLarge = errors.New("TLS record is too large")
	ErrHelloTooLarge  = errors.New("ClientHello is too large")
	ErrMalformed      = errors.New("ClientHello is malformed")
)

// A Reader reads a ClientHello while it comes; the zero Reader is ready for the first
// byte. What it has once looked at it does not look at again until all is there: a peer
// that sends single bytes, each in a record of its own, costs no more than its bytes.
type Reader struct {
	next int                 // where the first record begins that is not complete
	got  int                 // bytes of the message in the records before that
	head [handshakeHead]byte // the message's first bytes, as far as they have come
}

// Read is given all that has come so far, in each call no less than in the last one, and returns the size of the
// records that the ClientHello comes in. io.ErrUnexpectedEOF: call again when there are at least size bytes, which are
// never more than the ClientHello has.
func (r *Reader) Read(data []byte) (hello Hello, size int, err error) {
	for done := false; !done; {
		if size, done, err = r.record(data); err != nil {
			return Hello{}, size, err
		}
	}
	if hello, err = parseClientHello(r.message(data[:size])); err != nil {
		return Hello{}, 0, err
	}
	return hello, size, nil
}

// record takes the next record. done: the message ends with it. size is where the message ends at the earliest.
// Everything is refused at the byte that shows it, so that a client which then waits for an answer gets it.
func (r *Reader) record(data []byte) (size int, done bool, err error) {
	length, err := recordLength(data[r.next:])
	switch {
	case err == io.ErrUnexpectedEOF:
		return r.next + wireSize(r.size(r.got)-r.got), false, io.ErrUnexpectedEOF
	case err == ErrNotTLS && r.next > 0:
		return 0, false, ErrNoHello
	case err != nil:
		return 0, false, err
	}
	start := r.next + RecordHead
	end := start + length
	come := data[start:min(end, len(data))]
	if r.got < handshakeHead {
		copy(r.head[r.got:], come)
	}
	left, err := r.left(r.got+len(come), r.got+length)
	if err != nil {
		return 0, false, err
	}
	if size = end + wireSize(left); size > MaxHello {
		return 0, false, ErrHelloTooLarge
	}
	if len(data) < end {
		return size, false, io.ErrUnexpectedEOF
	}
	r.next, r.got = end, r.got+length
	return size, left == 0, nil
}

// left returns how much of the message is still to come after the present record, with which it will be total bytes;
// come of them are there. As long as the length is not known, it is the least that may be.
//
// The message must end where a record ends: a ClientHello may precede a change
// of keys (RFC 8446, 5.1), and nothing may follow it before the server's answer.
func (r *Reader) left(come, total int) (int, error) {
	if come > 0 && r.head[0] != typeClientHello {
		return 0, ErrNoHello
	}
	left := r.size(come) - total
	if left < 0 && come >= handshakeHead {
		return 0, ErrNoHello
	}
	return max(left, 0), nil
}

// size returns how long the message is with its head, or at least is, when come bytes of it are there.
func (r *Reader) size(come int) int {
	if come < handshakeHead {
		return handshakeHead
	}
	return handshakeHead + int(r.head[1])<<16 + int(binary.BigEndian.Uint16(r.head[2:]))
}

// message returns the ClientHello, without its head, of complete records. It is copied only when there are several.
func (r *Reader) message(records []byte) []byte {
	if first := RecordHead + int(binary.BigEndian.Uint16(records[3:])); first == len(records) {
		return records[RecordHead+handshakeHead:]
	}
	message := make([]byte, 0, r.got)
	for len(records) > 0 {
		end := RecordHead + int(binary.BigEndian.Uint16(records[3:]))
		message = append(message, records[RecordHead:end]...)
		records = records[end:]
	}
	return message[handshakeHead:]
}

// recordLength returns the length of the record that data starts with. Of the version only the first byte is looked at:
// it is 3 from SSL 3.0 to TLS 1.3, and the second "MUST be ignored for all purposes" (RFC 8446, 5.1). An SSL 2.0 hello
// has no such head, so it is not TLS, which forbids it (RFC 6176).
func recordLength(data []byte) (int, error) {
	switch {
	case len(data) > 0 && data[0] != RecordHandshake, len(data) > 1 && data[1] != RecordMajor:
		return 0, ErrNotTLS
	case len(data) < RecordHead:
		return 0, io.ErrUnexpectedEOF
	}
	length := int(binary.BigEndian.Uint16(data[3:]))
	switch {
	case length == 0: // "MUST NOT send zero-length fragments of Handshake types"
		return 0, ErrNoHello
	case length > MaxRecord:
		return 0, ErrRecordTooLarge
	}
	return length, nil
}

// wireSize returns how many bytes n bytes of a message need at least, with the heads of their records.
func wireSize(n int) int {
	return n + (n+MaxRecord-1)/MaxRecord*RecordHead
}
