package pool

import (
	"fmt"
	"strings"
)

// wordOf returns the word of an enumeration's value, or a marker such as "Policy(9)" for a value that has none.
func wordOf(words []string, kind string, value uint8) string {
	if int(value) < len(words) {
		return words[value]
	}
	return fmt.Sprintf("%s(%d)", kind, value)
}

// marshalWord is wordOf for encoders, which must not write a marker that no decoder takes.
func marshalWord(words []string, kind string, value uint8) ([]byte, error) {
	if int(value) >= len(words) {
		return nil, fmt.Errorf("marshal %s: no word for value %d", kind, value)
	}
	return []byte(words[value]), nil
}

// parseWord finds the value of a word. The error lists what could have been written.
func parseWord(words []string, what string, text []byte) (uint8, error) {
	for i, w := range words {
		if w == string(text) {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q: want %s", what, text, strings.Join(words, ", "))
}
