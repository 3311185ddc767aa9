package tlshello

// An Alert says why a handshake ends (RFC 8446, 6.2).
type Alert byte

// The alerts for a handshake of which nothing has been answered.
const (
	AlertUnexpectedMessage Alert = 10
	AlertRecordOverflow    Alert = 22
	AlertDecodeError       Alert = 50
	AlertInternalError     Alert = 80  // also for what takes too long: no alert says that
	AlertUnrecognizedName  Alert = 112 // no route, be it for want of a name
)

const (
	recordAlert = 21
	levelFatal  = 2
)

// Record returns the record that ends a handshake of which nothing has been answered.
// It is in clear, as no keys are known.
//
// Its version is that of TLS 1.2. RFC 8446, 5.1 has it so in every record but a first ClientHello, where 0x0301 is for
// old servers; this is a server's. Clients of TLS 1.0 and 1.1 take it as well: before a ServerHello no version has been
// agreed on that it could differ from.
func (a Alert) Record() []byte { return []byte{recordAlert, RecordMajor, 3, 0, 2, levelFatal, byte(a)} }

// AlertFor returns the alert for an error of a Reader. ok is false for a peer that does
// not speak TLS, which would not understand, and for what is no error but a beginning.
func AlertFor(err error) (alert Alert, ok bool) {
	switch err {
	case ErrNoHello:
		return AlertUnexpectedMessage, true
	case ErrRecordTooLarge:
		return AlertRecordOverflow, true
	case ErrMalformed:
		return AlertDecodeError, true
	case ErrHelloTooLarge:
		return AlertInternalError, true // the bound is sluice's, not the protocol's
	}
	return 0, false
}
