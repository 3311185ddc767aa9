package l4

import (
	"errors"
	"net/netip"
	"strings"
)

// maxName is the longest name that DNS has, written without the last dot
// (RFC 1035, 2.3.4: 255 bytes on the wire).
const maxName = 253

// foldName returns a DNS name in the one form in which names are compared: lower-case
// and without the dot that says it is complete (RFC 6066, 3). ok is false for what
// cannot be a name: a space, a byte that is not ASCII or not printable, NUL above all, an empty
// label, more than maxName bytes. What a label is made of is left to the server.
func foldName(name string) (folded string, ok bool) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName {
		return "", false
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c <= ' ' || c >= 0x7f, c == '.' && label == 0:
			return "", false
		case c == '.':
			label = 0
		default:
			label++
		}
	}
	return strings.ToLower(name), label > 0
}

// isAddress reports whether a folded name is an IPv4 or IPv6 address.
func isAddress(name string) bool {
	// Asking costs an error value for everything that is none, so most are
	// told by a glance.
	if last := name[len(name)-1]; !strings.Contains(name, ":") && (last < '0' || last > '9') {
		return false
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}

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
	name, ok := foldName(text)
	switch {
	case strings.ContainsRune(text, '*'):
		return namePattern{}, errWildcard
	case strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }):
		return namePattern{}, errUnicode
	case !ok:
		return namePattern{}, errNameSyntax
	case isAddress(name):
		return namePattern{}, errAddress
	}
	return namePattern{kind, name}, nil
}
