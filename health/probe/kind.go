package probe

import (
	"fmt"
	"slices"
	"strings"
)

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

var kindWords = []string{
	TCP: "tcp", Off: "off", TLS: "tls", HTTP: "http", Postgres: "postgres", Expect: "expect", MySQL: "mysql",
}

// Kinds returns the word of every kind, for messages that say what can be written.
func Kinds() []string { return slices.Clone(kindWords) }

// String returns the kind's word, such as "tcp".
func (k Kind) String() string {
	if int(k) < len(kindWords) {
		return kindWords[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText returns the kind's word.
func (k Kind) MarshalText() ([]byte, error) {
	if int(k) >= len(kindWords) {
		return nil, fmt.Errorf("marshal Kind: no word for value %d", uint8(k))
	}
	return []byte(kindWords[k]), nil
}

// UnmarshalText sets the kind from its word.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kindWords, string(text))
	if i < 0 {
		return fmt.Errorf("unknown check type %q: want %s", text, strings.Join(kindWords, ", "))
	}
	*k = Kind(i)
	return nil
}
