package pool

import "slices"

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

var adminStateWords = []string{Ready: "ready", Drain: "drain", Maint: "maint"}

// AdminStates returns the word of every state, for messages that say what can be written.
func AdminStates() []string { return slices.Clone(adminStateWords) }

// String returns the state's word: "ready", "drain" or "maint".
func (s AdminState) String() string { return wordOf(adminStateWords, "AdminState", uint8(s)) }

// MarshalText returns the state's word.
func (s AdminState) MarshalText() ([]byte, error) {
	return marshalWord(adminStateWords, "AdminState", uint8(s))
}

// UnmarshalText sets the state from its word.
func (s *AdminState) UnmarshalText(text []byte) error {
	v, err := parseWord(adminStateWords, "state", text)
	if err != nil {
		return err
	}
	*s = AdminState(v)
	return nil
}
