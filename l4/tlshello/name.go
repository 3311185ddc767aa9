package tlshello

import (
	"net/netip"
	"strings"
)

// MaxName is the longest name that DNS has, written without the last dot (RFC 1035, 2.3.4: 255 bytes on the wire).
const MaxName = 253

// FoldName returns a DNS name in the one form in which names are compared: lower-case and without the dot that says it
// is complete (RFC 6066, 3). ok is false for what cannot be a name: a space, a byte that is not ASCII or not printable,
// NUL above all, an empty label, more than MaxName bytes. What a label is made of is left to the server.
func FoldName(name string) (folded string, ok bool) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > MaxName {
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

// IsAddress reports whether a folded name is an IPv4 or IPv6 address.
func IsAddress(name string) bool {
	// Asking costs an error value for everything that is none, so most are told by a glance.
	if last := name[len(name)-1]; !strings.Contains(name, ":") && (last < '0' || last > '9') {
		return false
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}
