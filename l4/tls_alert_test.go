package l4

import (
	"bytes"
	"testing"
)

// Clients of many kinds and versions understand the record: see TestRealHellos.
func TestTLSAlert(t *testing.T) {
	f := func(description byte, want string) {
		t.Helper()
		if got := tlsAlert(description); !bytes.Equal(got, []byte(want)) {
			t.Errorf("alert %d: %x, want %x", description, got, want)
		}
	}
	f(alertUnrecognizedName, "\x15\x03\x03\x00\x02\x02\x70")
	f(alertDecodeError, "\x15\x03\x03\x00\x02\x02\x32")
}

func TestHelloAlert(t *testing.T) {
	f := func(err error, want byte, understood bool) {
		t.Helper()
		if got, ok := helloAlert(err); got != want || ok != understood {
			t.Errorf("%v: alert %d, %v; want %d, %v", err, got, ok, want, understood)
		}
	}
	f(errNotTLS, 0, false)
	f(errNoHello, 10, true)
	f(errRecordLarge, 22, true)
	f(errHello, 50, true)
	f(errHelloLarge, 80, true)
}
