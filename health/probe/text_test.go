package probe

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile is text that a terminal would obey, or that would look like something else in a log.
const hostile = "\x1b[2J\x1b]0;pwned\a\b\x7f one\ntwo\r\x00 \u009b31m \u202eback\u2066 \xff\xfe end"

// wantHarmless checks that text can be printed as it is.
func wantHarmless(t *testing.T, text string) {
	t.Helper()
	if len(text) > reasonMost+len("...") {
		t.Errorf("%d bytes: %.100q", len(text), text)
	}
	if !utf8.ValidString(text) {
		t.Errorf("no UTF-8: %q", text)
	}
	for _, r := range text {
		if !strconv.IsPrint(r) {
			t.Errorf("has %U: %.200q", r, text)
			return
		}
	}
}

func TestPrintable(t *testing.T) {
	f := func(text string, most int, want string) {
		t.Helper()
		if got := printable(text, most); got != want {
			t.Errorf("%q is made %q, want %q", text, got, want)
		}
	}
	f("", 10, "")
	f("größe 大小", 100, "größe 大小")
	f(" one\r\n\ttwo\u2028three ", 100, "one two three")
	f(hostile, 200, `\x1b[2J\x1b]0;pwned\a\b\x7f one two \x00 \u009b31m \u202eback\u2066 ? end`)
	f("12345678901", 10, "1234567890...")
	f("1234567890", 10, "1234567890")
	f("123456789ö", 10, "123456789...")
	f(strings.Repeat(" ", 1<<20)+"x", 10, "x")
	f(strings.Repeat("\x1b", 1<<20), 10, `\x1b\x1b...`)
}

// TestHostileServers: what a server says reaches nobody's terminal as it is, by whatever way it comes.
func TestHostileServers(t *testing.T) {
	long := hostile + strings.Repeat("x", 20<<10)
	refusal := message('E', "S"+long+"\x00C"+hostile+"\x00M"+long+"\x00\x00")
	names := make([]string, 50)
	for i := range names {
		names[i] = fmt.Sprintf("\x1b[2J\a%d.%s", i, strings.Repeat("n", 200))
	}
	certificate, trusted := authority(t, names)
	ofCertificate := serveTLS(&tls.Config{Certificates: []tls.Certificate{certificate}}, nil)
	a, _ := serve(t, nil, ofCertificate)
	_, err := ask(t, newProber(t, Config{Kind: TLS, TLS: TLSConfig{CAFile: trusted, ServerName: "db.test"}}, a))
	wantError(t, err)
	wantHarmless(t, err.Error())

	for _, answer := range []string{refusal, hostile, long} {
		a, _ = serve(t, nil, startup(answer))
		_, err = askOnce(t, as("sluice", "disable"), a)
		wantError(t, err)
		wantHarmless(t, err.Error())
	}
	for _, answer := range []string{
		hostile, long, "HTTP/1.1 500 " + long + "\r\n\r\n", "HTTP/1.1 200 OK\r\n" + long + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + long, "HTTP/1.1 " + hostile + "\r\n\r\n",
	} {
		a, _ = serve(t, nil, dialogue("< GET", answer))
		_, err = ask(t, newProber(t, Config{Kind: HTTP, HTTP: HTTPConfig{Body: "fine"}}, a))
		wantError(t, err)
		wantHarmless(t, err.Error())
	}
	a, _ = serve(t, nil, func(conn net.Conn) error {
		defer conn.Close()
		return dialogue(long)(conn)
	})
	_, err = ask(t, newProber(t, Config{Kind: Expect, Steps: []Step{{Want: []byte("+OK")}}}, a))
	wantError(t, err)
	wantHarmless(t, err.Error())
}

// TestPrintableErrorsKeepTheirCause: health asks what an error is, whatever it says.
func TestPrintableErrorsKeepTheirCause(t *testing.T) {
	a, _ := serve(t, nil, startup(message('E', "S"+hostile+"\x00C57P03\x00Mstarting\x00\x00")))
	_, err := askOnce(t, as("sluice", "disable"), a)
	wantError(t, err, "57P03")
	if !Unavailable(err) {
		t.Errorf("%v is not the server's own word", err)
	}
}
