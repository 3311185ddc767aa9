package probe

import "sluice/pool/words"

// Kind is what a probe asks.
type Kind uint8

const (
	// TCP connects, but so that the server accepts nothing.
	TCP Kind = iota
	// Off asks nothing: every backend counts as up.
	Off
	// TLS makes a TLS handshake, or begins one.
	TLS
	// HTTP makes one HTTP/1.1 request.
	HTTP
	// Postgres logs in and asks for role and replay lag.
	Postgres
	// Expect sends bytes and compares what comes back.
	Expect
	// MySQL logs in to MySQL or MariaDB and asks for role and replication.
	MySQL
)

var kindWords = words.Table[Kind]{Type: "Kind", What: "check type", Words: []string{
	TCP: "tcp", Off: "off", TLS: "tls", HTTP: "http", Postgres: "postgres", Expect: "expect", MySQL: "mysql",
}}

// Kinds returns the word of every kind, for messages that say what can be written.
func Kinds() []string { return kindWords.All() }

// String returns the kind's word, such as "tcp".
func (k Kind) String() string { return kindWords.Of(k) }

// MarshalText returns the kind's word.
func (k Kind) MarshalText() ([]byte, error) { return kindWords.Marshal(k) }

// UnmarshalText sets the kind from its word.
func (k *Kind) UnmarshalText(text []byte) error { return kindWords.Unmarshal(text, k) }
