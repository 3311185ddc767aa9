package configs

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	words := []string{"bind", "protocol", "pool", "accept_proxy", "timeouts"}
	f := func(word, want string) {
		t.Helper()
		if got := nearest(word, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
	f("bnid", "bind")
	f("Bind", "bind")
	f("pol", "pool")
	f("pools", "pool")
	f("timeout", "timeouts")
	f("acceptproxy", "accept_proxy")
	f("accept-proxy", "accept_proxy")
	f("routes", "")
	f("x", "")
	f("", "")
	f(strings.Repeat("bind", 100), "")
}
