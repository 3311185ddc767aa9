package route

import (
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	f := func(text string, kind patternKind, name string) {
		t.Helper()
		if got, err := parsePattern(text); err != nil || got != (namePattern{kind, name}) {
			t.Errorf("%q: %+v, %v; want %d, %q", text, got, err, kind, name)
		}
	}
	f("shop.example.com", patternExact, "shop.example.com")
	f("Shop.Example.COM", patternExact, "shop.example.com")
	f("shop.example.com.", patternExact, "shop.example.com")
	f("localhost", patternExact, "localhost")
	f("xn--bcher-kva.example", patternExact, "xn--bcher-kva.example")
	f("_sip._tcp.example.com", patternExact, "_sip._tcp.example.com")
	f("1.2.3.example", patternExact, "1.2.3.example")
	f("1.2.3", patternExact, "1.2.3")
	f("*.example.com", patternLabel, "example.com")
	f("*.Example.COM.", patternLabel, "example.com")
	f("*.localhost", patternLabel, "localhost")
	f("*", patternAny, "")
}

func TestParsePatternFails(t *testing.T) {
	f := func(text string, want error) {
		t.Helper()
		if got, err := parsePattern(text); err != want || got != (namePattern{}) {
			t.Errorf("%q: %+v, %v; want %v", text, got, err, want)
		}
	}
	f("", errNameSyntax)
	f(".", errNameSyntax)
	f("..", errNameSyntax)
	f(".example.com", errNameSyntax)
	f("a..example.com", errNameSyntax)
	f("a b.example.com", errNameSyntax)
	f("a.example.com\n", errNameSyntax)
	f("a.example.com\x00", errNameSyntax)
	f(strings.Repeat("a", 254), errNameSyntax)
	f("*.", errNameSyntax)
	f("**", errWildcard)
	f("*.*", errWildcard)
	f("*.*.example.com", errWildcard)
	f("*a.example.com", errWildcard)
	f("a*.example.com", errWildcard)
	f("shop.*.example.com", errWildcard)
	f("shop.example.*", errWildcard)
	f("*example.com", errWildcard)
	f("bücher.example", errUnicode)
	f("*.bücher.example", errUnicode)
	f("\xff.example", errUnicode)
	f("192.0.2.1", errAddress)
	f("192.0.2.1.", errAddress)
	f("2001:db8::1", errAddress)
	f("[2001:DB8::1]", errAddress)
}
