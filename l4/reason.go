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

var reasonNames = [numReasons]string{
	noReason:        "none",
	ClientClosed:    "client_closed",
	ServerClosed:    "server_closed",
	ClientReset:     "client_reset",
	ServerReset:     "server_reset",
	ConnectRefused:  "connect_refused",
	ConnectTimeout:  "connect_timeout",
	ConnectFailed:   "connect_failed",
	NoBackend:       "no_backend",
	QueueFull:       "queue_full",
	QueueTimeout:    "queue_timeout",
	IdleTimeout:     "idle_timeout",
	FinTimeout:      "fin_timeout",
	HeaderInvalid:   "header_invalid",
	HeaderTimeout:   "header_timeout",
	HeaderUntrusted: "header_untrusted",
	HelloInvalid:    "hello_invalid",
	HelloTimeout:    "hello_timeout",
	NoRoute:         "no_route",
	Denied:          "denied",
	RateLimited:     "rate_limited",
	ClientLimit:     "client_limit",
	BackendDown:     "backend_down",
	Shutdown:        "shutdown",
}

// String returns the word for r.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// MarshalText returns the word for r.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Clean reports whether the session ended because both peers were done.
func (r Reason) Clean() bool { return r == ClientClosed || r == ServerClosed }

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
