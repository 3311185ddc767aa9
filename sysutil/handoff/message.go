package handoff

import (
	"encoding/json"
	"fmt"

	"sluice/sysutil"
)

// A Message is what was received at once. Its descriptors are the receiver's.
type Message struct {
	Kind  Kind
	Body  []byte // JSON
	Files []int  // in the order in which they were sent
}

// Decode reads the body; keys that v does not have are ignored.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("%w: read %v: %w", ErrFrame, m.Kind, err)
	}
	return nil
}

// CloseFiles closes the descriptors that came and gives them up.
func (m *Message) CloseFiles() {
	sysutil.CloseFiles(m.Files)
	m.Files = nil
}

// A PeerError is why the other process does not go on. It is the body of Refused and Failed too.
type PeerError struct {
	Kind     Kind            `json:"-"` // which of them
	Text     string          `json:"error"`
	Problems json.RawMessage `json:"problems,omitempty"` // what is wrong with a configuration, in whatever form both know
}

func (e *PeerError) Error() string {
	if e.Kind == Refused {
		return "the other process refuses: " + e.Text
	}
	return "the other process gives up: " + e.Text
}
