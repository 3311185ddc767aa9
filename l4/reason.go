package l4

import (
	"sluice/l4/pgwire"
	"sluice/pool/words"
)

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
	Drained                // cut because the backend is drained or was removed
	Killed                 // cut by an operator
	Rebalanced             // idle, and closed so that it may begin again on another backend
	OutOfAge               // cut because it was as old as the sessions of its pool may get
	Shutdown               // cut because the process ends
	numReasons
)

// lastAlert is which alert of TLS a client is sent at the end.
type lastAlert uint8

const (
	alertNone     lastAlert = iota
	alertOfHello            // what its first bytes have earned it
	alertInternal           // that there is nobody to serve it
)

// reasonTable has all that is particular to a reason.
var reasonTable = [numReasons]struct {
	word     string
	clean    bool      // both peers were done
	orderly  bool      // with nothing unsent it is closed with FIN: see orderly
	refused  bool      // the client was turned away for who it is or what it said at first
	byClient bool      // what a client makes of a session that has come to nothing: see endReason
	alert    lastAlert // what a client that speaks TLS is told
	sqlState string    // what a client of Postgres is told; "" = nothing
}{
	noReason:        {word: "none"},
	ClientClosed:    {word: "client_closed", clean: true, orderly: true, byClient: true},
	ServerClosed:    {word: "server_closed", clean: true, orderly: true, alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	ClientReset:     {word: "client_reset", byClient: true},
	ServerReset:     {word: "server_reset", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	ConnectRefused:  {word: "connect_refused", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	ConnectTimeout:  {word: "connect_timeout", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	ConnectFailed:   {word: "connect_failed", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	NoBackend:       {word: "no_backend", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	QueueFull:       {word: "queue_full", alert: alertInternal, sqlState: pgwire.TooManyConnections},
	QueueTimeout:    {word: "queue_timeout", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	IdleTimeout:     {word: "idle_timeout", orderly: true},
	FinTimeout:      {word: "fin_timeout"},
	HeaderInvalid:   {word: "header_invalid", refused: true},
	HeaderTimeout:   {word: "header_timeout", refused: true},
	HeaderUntrusted: {word: "header_untrusted", refused: true},
	HelloInvalid:    {word: "hello_invalid", refused: true, alert: alertOfHello, byClient: true},
	HelloTimeout:    {word: "hello_timeout", refused: true, alert: alertOfHello, byClient: true},
	NoRoute:         {word: "no_route", refused: true, alert: alertOfHello, sqlState: pgwire.InvalidCatalogName},
	Denied:          {word: "denied", refused: true},
	RateLimited:     {word: "rate_limited", refused: true},
	ClientLimit:     {word: "client_limit", refused: true},
	BackendDown:     {word: "backend_down", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	Drained:         {word: "drained", alert: alertInternal, sqlState: pgwire.CannotConnectNow},
	Killed:          {word: "killed", alert: alertInternal, sqlState: pgwire.AdminShutdown},
	Rebalanced:      {word: "rebalanced", orderly: true},
	OutOfAge:        {word: "max_age"},
	Shutdown:        {word: "shutdown", alert: alertInternal},
}

var reasonWords = words.New("Reason", "reason", numReasons, func(r Reason) string { return reasonTable[r].word })

// String returns the word for r.
func (r Reason) String() string { return reasonWords.Of(r) }

// MarshalText returns the word for r.
func (r Reason) MarshalText() ([]byte, error) { return reasonWords.Marshal(r) }

// UnmarshalText sets r from its word.
func (r *Reason) UnmarshalText(text []byte) error { return reasonWords.Unmarshal(text, r) }

// Clean reports whether the session ended because both peers were done.
func (r Reason) Clean() bool { return r < numReasons && reasonTable[r].clean }

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
// end of the data. The idle timeout and rebalancing are the exceptions: both sides were
// silent, and clients of HAProxy and nginx know a FIN at that point.
func (r Reason) orderly() bool { return reasonTable[r].orderly }
