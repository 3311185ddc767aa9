package l4

import "sluice/pool/words"

// Protocol is what is known of the bytes of a listener's sessions.
type Protocol uint8

const (
	// ProtocolTCP is nothing: no byte is looked at.
	ProtocolTCP Protocol = iota
	// ProtocolPostgres reads the first packet of a client: cancel requests go
	// to the server that owns the session, and a session that the backend has
	// not answered yet can go to another one.
	ProtocolPostgres
	// ProtocolTLS reads the ClientHello, for routes by server name and ALPN.
	ProtocolTLS
)

// protocolTraits are all that is particular to a protocol.
type protocolTraits struct {
	word    string
	peeks   bool // the client's first bytes are read before a backend is chosen
	startup bool // they may be a start-up in clear, with a database and a user
	hello   bool // they are a ClientHello, mostly with the connection; one that cannot be read is any pool's
	cancels bool // a session may be cancelled through another connection
	finEnds bool // a client that has sent FIN waits for no answer
}

var protocolTable = [...]protocolTraits{
	ProtocolTCP:      {word: "tcp"},
	ProtocolPostgres: {word: "postgres", peeks: true, startup: true, cancels: true, finEnds: true},
	ProtocolTLS:      {word: "tls", peeks: true, hello: true},
}

var protocolWords = words.New("Protocol", "protocol", Protocol(len(protocolTable)),
	func(p Protocol) string { return protocolTable[p].word })

// traits are those of the protocol of s.
func (s *session) traits() *protocolTraits { return &protocolTable[s.rules.config.Protocol] }

// Protocols returns the words that Protocol.UnmarshalText takes.
func Protocols() []string { return protocolWords.All() }

// Peeks reports whether a client's first bytes are read, so that there may be routes.
func (p Protocol) Peeks() bool { return protocolTable[p].peeks }

// HasStartup reports whether a client's first bytes may name a database and a user in clear.
func (p Protocol) HasStartup() bool { return protocolTable[p].startup }

// HasCancels reports whether clients may cancel what a session does through another
// connection.
func (p Protocol) HasCancels() bool { return protocolTable[p].cancels }

// String returns the word for p.
func (p Protocol) String() string { return protocolWords.Of(p) }

// MarshalText returns the word for p.
func (p Protocol) MarshalText() ([]byte, error) { return protocolWords.Marshal(p) }

// UnmarshalText sets p from its word.
func (p *Protocol) UnmarshalText(text []byte) error { return protocolWords.Unmarshal(text, p) }
