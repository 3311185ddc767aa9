package tlshello

import (
	"bytes"
	"testing"
)

// Clients of many kinds and versions understand the record: see TestRealHellos.
func TestTLSAlert(t *testing.T) {
	f := func(alert Alert, want string) {
		t.Helper()
		if got := alert.Record(); !bytes.Equal(got, []byte(want)) {
			t.Errorf("alert %d: %x, want %x", alert, got, want)
		}
	}
	f(AlertUnrecognizedName, "\x15\x03\x03\x00\x02\x02\x70")
	f(AlertDecodeError, "\x15\x03\x03\x00\x02\x02\x32")
}

func TestHelloAlert(t *testing.T) {
	f := func(err error, want Alert, understood bool) {
		t.Helper()
		if got, ok := AlertFor(err); got != want || ok != understood {
			t.Errorf("%v: alert %d, %v; want %d, %v", err, got, ok, want, understood)
		}
	}
	f(ErrNotTLS, 0, false)
	f(ErrNoHello, 10, true)
	f(ErrRecordTooLarge, 22, true)
	f(ErrMalformed, 50, true)
	f(ErrHelloTooLarge, 80, true)
}
