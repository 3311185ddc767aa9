package pool

import "sluice/pool/words"

// AdminState is what the operator wants of a backend, whatever its health.
type AdminState uint8

const (
	// Ready lets a backend take sessions.
	Ready AdminState = iota
	// Drain gives a backend no new sessions and leaves it those it has.
	Drain
	// Maint gives a backend no new sessions and stops its health checks.
	Maint
)

var adminStateWords = words.Table[AdminState]{
	Type: "AdminState", What: "state", Words: []string{Ready: "ready", Drain: "drain", Maint: "maint"},
}

// AdminStates returns the word of every state, for messages that say what can be written.
func AdminStates() []string { return adminStateWords.All() }

// String returns the state's word: "ready", "drain" or "maint".
func (s AdminState) String() string { return adminStateWords.Of(s) }

// MarshalText returns the state's word.
func (s AdminState) MarshalText() ([]byte, error) { return adminStateWords.Marshal(s) }

// UnmarshalText sets the state from its word.
func (s *AdminState) UnmarshalText(text []byte) error { return adminStateWords.Unmarshal(text, s) }
