package pool

import (
	"encoding"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	f := func(a Address, network, text string) {
		t.Helper()
		if a.Network() != network || a.String() != text || a.IsUnix() != (network == "unix") {
			t.Errorf("%+v is %q %q, unix %v", a, a.Network(), a, a.IsUnix())
		}
	}
	f(Address{}, "tcp", "")
	f(Address{TCP: netip.MustParseAddrPort("10.0.0.1:80")}, "tcp", "10.0.0.1:80")
	f(Address{TCP: netip.MustParseAddrPort("[::1]:80")}, "tcp", "[::1]:80")
	f(Address{Unix: "/run/x.sock"}, "unix", "unix:/run/x.sock")
}

func TestAddressWithHost(t *testing.T) {
	f := func(a Address, host, want string) {
		t.Helper()
		if got := a.WithHost(host); got != want {
			t.Errorf("%v with host %q is %q, want %q", a, host, got, want)
		}
	}
	known, port := netip.MustParseAddrPort("10.0.0.1:80"), netip.AddrPortFrom(netip.Addr{}, 80)
	f(Address{TCP: known}, "db.example", "10.0.0.1:80")
	f(Address{TCP: port}, "db.example", "db.example:80")
	f(Address{TCP: port}, "", ":80")
	f(Address{Unix: "/run/x.sock"}, "db.example", "unix:/run/x.sock")
}

func TestWords(t *testing.T) {
	if got, want := Policies(), []string{"least_conn", "round_robin", "random", "source_hash", "first"}; !slices.Equal(got, want) {
		t.Errorf("Policies() = %v, want %v", got, want)
	}
	if got, want := AdminStates(), []string{"ready", "drain", "maint"}; !slices.Equal(got, want) {
		t.Errorf("AdminStates() = %v, want %v", got, want)
	}
	for i, word := range Policies() {
		roundTrip(t, Policy(i), new(Policy), word)
	}
	for i, word := range AdminStates() {
		roundTrip(t, AdminState(i), new(AdminState), word)
	}
}

// roundTrip checks that value and word are the text forms of each other.
func roundTrip[T comparable, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, value T, into P, word string) {
	t.Helper()
	text, err := any(value).(encoding.TextMarshaler).MarshalText()
	if err != nil || string(text) != word {
		t.Errorf("MarshalText = %q, %v, want %q", text, err, word)
	}
	if err := into.UnmarshalText(text); err != nil || *into != value {
		t.Errorf("UnmarshalText(%q) = %v, %v, want %v", text, *into, err, value)
	}
}

func TestWordErrors(t *testing.T) {
	f := func(err error, want string) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	p, s := SourceHash, Maint
	f(p.UnmarshalText([]byte("leastconn")),
		`unknown balance policy "leastconn": want least_conn, round_robin, random, source_hash, first`)
	f(s.UnmarshalText([]byte("up")), `unknown state "up": want ready, drain, maint`)
	if p != SourceHash || s != Maint {
		t.Errorf("a wrong word changed the value: %v, %v", p, s)
	}
	_, err := Policy(9).MarshalText()
	f(err, "marshal Policy: no word for value 9")
	_, err = AdminState(9).MarshalText()
	f(err, "marshal AdminState: no word for value 9")
}

func TestDialResultWords(t *testing.T) {
	var words []string
	for _, r := range append([]DialResult{DialOK}, DialFailures()...) {
		words = append(words, r.String())
	}
	if got := strings.Join(words, " "); got != "ok refused timeout error" {
		t.Errorf("words %q", got)
	}
	if got := len(words); got != int(numDialResults) {
		t.Errorf("DialFailures leaves out a result: %d of %d", got, numDialResults)
	}
}
