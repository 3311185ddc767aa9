package health

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is what an active check does.
type Kind uint8

const (
	// KindTCP connects and closes.
	KindTCP Kind = iota
	// KindOff checks nothing: every backend counts as up.
	KindOff
)

var kindWords = []string{KindTCP: "tcp", KindOff: "off"}

// Kinds returns the word of every kind, for messages that say what can be written.
func Kinds() []string { return slices.Clone(kindWords) }

// String returns the kind's word: "tcp" or "off".
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
