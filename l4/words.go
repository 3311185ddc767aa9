package l4

import (
	"fmt"
	"slices"
	"strings"
)

// wordOf returns the word for a value that is written as one of a list, by its number.
func wordOf[T ~uint8](words []string, value T) string {
	if int(value) < len(words) {
		return words[value]
	}
	return "unknown"
}

// readWord sets a value from its word. what names the kind of value in the error.
func readWord[T ~uint8](what string, words []string, text []byte, value *T) error {
	i := slices.Index(words, string(text))
	if i < 0 {
		return fmt.Errorf("unknown %s %q: use %s", what, text, strings.Join(words, ", "))
	}
	*value = T(i)
	return nil
}
