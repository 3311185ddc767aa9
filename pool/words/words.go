// Package words writes the values of an enumeration as the words that a configuration has for
// them, and reads them.
package words

import (
	"fmt"
	"slices"
	"strings"
)

// A Table has the words for the values of T, by their numbers.
type Table[T ~uint8] struct {
	Type  string // the name of T, for a value that has no word
	What  string // what the words say, for messages
	Words []string
}

// New makes the table of a type whose words stand in rows with other things: word returns
// that of each value below n.
func New[T ~uint8](name, what string, n T, word func(T) string) Table[T] {
	t := Table[T]{Type: name, What: what}
	for value := range n {
		t.Words = append(t.Words, word(value))
	}
	return t
}

// All returns every word, for messages that say what can be written.
func (t *Table[T]) All() []string { return slices.Clone(t.Words) }

// Of returns the word for a value, or a marker such as "Policy(9)" for one that has none.
func (t *Table[T]) Of(value T) string {
	if int(value) < len(t.Words) {
		return t.Words[value]
	}
	return fmt.Sprintf("%s(%d)", t.Type, uint8(value))
}

// Marshal is Of for encoders, which must not write a marker that no decoder takes.
func (t *Table[T]) Marshal(value T) ([]byte, error) {
	if int(value) >= len(t.Words) {
		return nil, fmt.Errorf("marshal %s: no word for value %d", t.Type, uint8(value))
	}
	return []byte(t.Words[value]), nil
}

// Unmarshal sets a value from its word. The error lists what could have been written.
func (t *Table[T]) Unmarshal(text []byte, value *T) error {
	i := slices.Index(t.Words, string(text))
	if i < 0 {
		return fmt.Errorf("unknown %s %q: want %s", t.What, text, strings.Join(t.Words, ", "))
	}
	*value = T(i)
	return nil
}
