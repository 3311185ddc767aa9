package route

import (
	"errors"
	"strings"

	"sluice/l4/tlshello"
)

// A namePattern is one entry of a route's list of server names.
type namePattern struct {
	kind patternKind
	name string // folded; without the "*." of patternLabel, "" of patternAny
}

type patternKind uint8

const (
	patternExact patternKind = iota
	patternLabel             // "*.name": name with exactly one label before it
	patternAny               // "*": whatever the name is
)

var (
	errWildcard   = errors.New(`"*" must be all of the name or all of its first label, as in "*.example.com"`)
	errUnicode    = errors.New(`not ASCII: write it as clients send it, with labels in the form "xn--..." (an A-label)`)
	errNameSyntax = errors.New("not a DNS name")
	errAddress    = errors.New("an IP address, which clients do not send as a name")
)

// parsePattern reads one entry of a route's list of server names.
func parsePattern(text string) (namePattern, error) {
	if text == "*" {
		return namePattern{kind: patternAny}, nil
	}
	kind := patternExact
	text, wild := strings.CutPrefix(text, "*.")
	if wild {
		kind = patternLabel
	}
	name, ok := tlshello.FoldName(text)
	switch {
	case strings.ContainsRune(text, '*'):
		return namePattern{}, errWildcard
	case strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }):
		return namePattern{}, errUnicode
	case !ok:
		return namePattern{}, errNameSyntax
	case tlshello.IsAddress(name):
		return namePattern{}, errAddress
	}
	return namePattern{kind, name}, nil
}
