package configs

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

func tokenize(text string) (_ token.Tokens, err error) {
	defer recovered(&err)
	return joinPlain(lexer.Tokenize(text)), nil
}

// joinPlain puts text with a colon in it together again. Within a flow mapping the lexer splits 10.0.0.1:80 at the colon;
// by YAML 1.2 (7.3.3) a colon ends plain text only before a space, "," or a bracket.
func joinPlain(tokens token.Tokens) token.Tokens {
	joined := make(token.Tokens, 0, len(tokens))
	for _, t := range tokens {
		joined = append(joined, t)
		start := plainStart(joined)
		if start < 0 {
			continue
		}
		parts := joined[start:]
		var text strings.Builder
		for _, p := range parts {
			text.WriteString(p.Value)
		}
		whole := token.New(text.String(), text.String(), parts[0].Position)
		whole.Prev, whole.Next = parts[0].Prev, t.Next
		joined = append(joined[:start], whole)
	}
	return joined
}

// plainStart returns the index of the first of the last two or three tokens when they are one plain text: "a", ":", "b",
// or ":", "b" at the beginning of an element. Otherwise it returns -1.
func plainStart(tokens token.Tokens) int {
	n := len(tokens)
	if n < 3 {
		return -1
	}
	before, colon, after := tokens[n-3], tokens[n-2], tokens[n-1]
	if colon.Type != token.MappingValueType || !isPlain(after) || !adjacent(colon, after) {
		return -1
	}
	switch before.Type {
	case token.SequenceStartType, token.MappingStartType, token.CollectEntryType:
		return n - 2
	}
	if isPlain(before) && adjacent(before, colon) {
		return n - 3
	}
	return -1
}

func isPlain(t *token.Token) bool {
	return t.CharacterType == token.CharacterTypeMiscellaneous && t.Indicator == token.NotIndicator
}

// adjacent reports whether b begins where a ends.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

func parseTokens(tokens token.Tokens) (_ ast.Node, err error) {
	defer recovered(&err)
	return parseNode(tokens)
}

// recovered turns a panic of the YAML library into an error: a mistake in a file that is being reloaded must not end a
// process that serves.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the parser does not understand it: %v", r)
	}
}
