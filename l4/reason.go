package l4

// A Reason is the one word that says why a session ended. The same word is
// the log field, the metric label and the API field.
type Reason uint8

// The reasons. Every session ends with exactly one of them.
const (
	noReason        Reason = iota
	ClientClosed           // clean end; the client sent the first FIN
	ServerClosed           // clean end; the backend sent the first FIN
	ClientReset            // the client's connection failed: RST or a transport error
	ServerReset            // the backend's connection failed after it was made
	ConnectRefused         // the last backend tried refused the connection
	ConnectTimeout         // the last backend tried did not answer in time
	ConnectFailed          // the last connect failed otherwise: no route, no local port, no descriptor
	NoBackend              // no backend of the pool may be given sessions
	QueueFull              // no backend is free and no place to wait is left
	QueueTimeout           // no backend came free in time
	IdleTimeout            // no byte moved for the listener's idle timeout
	FinTimeout             // no byte moved for the fin timeout after the first FIN
	HeaderInvalid          // the PROXY header is malformed or too long
	HeaderTimeout          // the PROXY header was not complete in time
	HeaderUntrusted        // the peer is not one from which a PROXY header is accepted
	HelloInvalid           // the first bytes are not what the listener's protocol starts with
	HelloTimeout           // the first bytes were not complete in time
	NoRoute                // no route takes the session, and the listener has no pool of its own
	Denied                 // the client's address is denied, or not among those allowed
	RateLimited            // the client begins sessions faster than it may
	ClientLimit            // the client has as many sessions open as it may
	BackendDown            // cut because the backend went down, lost its role or is in maintenance
	Shutdown               // cut because the process ends
	numReasons
)

// reasonTable has for each reason its word, and whether it is a refusal.
var reasonTable = [numReasons]struct {
	word    string
	refused bool
}{
	noReason:        {"none", false},
	ClientClosed:    {"client_closed", false},
	ServerClosed:    {"server_closed", false},
	ClientReset:     {"client_reset", false},
	ServerReset:     {"server_reset", false},
	ConnectRefused:  {"connect_refused", false},
	ConnectTimeout:  {"connect_timeout", false},
	ConnectFailed:   {"connect_failed", false},
	NoBackend:       {"no_backend", false},
	QueueFull:       {"queue_full", false},
	QueueTimeout:    {"queue_timeout", false},
	IdleTimeout:     {"idle_timeout", false},
	FinTimeout:      {"fin_timeout", false},
	HeaderInvalid:   {"header_invalid", true},
	HeaderTimeout:   {"header_timeout", true},
	HeaderUntrusted: {"header_untrusted", true},
	HelloInvalid:    {"hello_invalid", true},
	HelloTimeout:    {"hello_timeout", true},
	NoRoute:         {"no_route", true},
	Denied:          {"denied", true},
	RateLimited:     {"rate_limited", true},
	ClientLimit:     {"client_limit", true},
	BackendDown:     {"backend_down", false},
	Shutdown:        {"shutdown", false},
}

// String returns the word for r.
func (r Reason) String() string {
	if r < numReasons {
		return reasonTable[r].word
	}
	return "unknown"
}

// MarshalText returns the word for r.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Clean reports whether the session ended because both peers were done.
func (r Reason) Clean() bool { return r == ClientClosed || r == ServerClosed }

// Refused reports whether sluice turned the client away itself, for who it is or what
// it said at first. That costs a client nothing but a connection: there may be any
// number of such sessions.
func (r Reason) Refused() bool { return r < numReasons && reasonTable[r].refused }

// Reasons returns every reason.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons-1)
	for r := ClientClosed; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}

// orderly reports whether a session that ends with r and has nothing unsent
// is closed with FIN. Every other end is a reset: a cut must not look like the
// end of the data. The idle timeout is the exception: both sides were silent,
// and clients of HAProxy and nginx know a FIN at that point.
func (r Reason) orderly() bool {
	return r.Clean() || r == IdleTimeout
}
