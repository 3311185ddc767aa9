package l4

// Descriptions of alerts (RFC 8446, 6.2).
const (
	alertUnexpectedMessage = 10
	alertRecordOverflow    = 22
	alertDecodeError       = 50
	alertInternalError     = 80  // also for what takes too long: no alert says that
	alertUnrecognizedName  = 112 // no route, be it for want of a name
)

const (
	recordAlert = 21
	levelFatal  = 2
)

// tlsAlert is the record that ends a handshake of which nothing has been answered.
// It is in clear, as no keys are known.
//
// Its version is that of TLS 1.2. RFC 8446, 5.1 has it so in every record
// but a first ClientHello, where 0x0301 is for old servers; this is a server's. Clients of
// TLS 1.0 and 1.1 take it as well: before a ServerHello no version has been agreed on
// that it could differ from.
func tlsAlert(description byte) []byte {
	return []byte{recordAlert, 3, 3, 0, 2, levelFatal, description}
}

// helloAlert returns the alert for an error of a helloReader. ok is false for a peer
// that does not speak TLS: it would not understand.
func helloAlert(err error) (description byte, ok bool) {
	switch err {
	case errNoHello:
		return alertUnexpectedMessage, true
	case errRecordLarge:
		return alertRecordOverflow, true
	case errHello:
		return alertDecodeError, true
	case errHelloLarge:
		return alertInternalError, true // the bound is sluice's, not the protocol's
	}
	return 0, false
}
