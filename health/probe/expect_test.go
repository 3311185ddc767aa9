package probe

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
)

func step(send, want string) Step { return Step{Send: []byte(send), Want: []byte(want)} }

func matching(send, pattern string) Step {
	return Step{Send: []byte(send), Pattern: regexp.MustCompile(pattern)}
}

func TestExpect(t *testing.T) {
	// A MySQL greeting: length, number, protocol 10, version, NUL.
	mysql := "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00"
	f := func(handle func(net.Conn) error, steps ...Step) {
		t.Helper()
		a, reports := serve(t, nil, handle)
		if _, err := ask(t, newProber(t, Config{Kind: Expect, Steps: steps}, a)); err != nil {
			t.Error(err)
		}
		if r := report(t, reports); r.err != nil {
			t.Errorf("the server saw %v", r.err)
		}
	}
	f(dialogue("< PING\r\n", "+PONG\r\n"), step("PING\r\n", "+PONG"))
	f(dialogue("< AUTH x\r\n", "+OK\r\n", "< PING\r\n", "+PONG\r\n", "< QUIT\r\n", "+OK\r\n"),
		step("AUTH x\r\n", "+OK"), step("PING\r\n", "+PONG"), step("QUIT\r\n", "+OK"))
	f(dialogue("220 mail.test ESMTP\r\n", "< EHLO sluice\r\n", "250-mail.test\r\n250 OK\r\n", "< QUIT\r\n", "221 bye\r\n"),
		matching("", `^220 .*\r\n`), matching("EHLO sluice\r\n", `(?m)^250 `), step("QUIT\r\n", "221"))
	f(dialogue(mysql), matching("", `^.\x00\x00\x00\x0a\d+\.`))
	f(dialogue("ab", "c"), step("", "a"), step("", "bc")) // the second step goes on where the first ended
	f(dialogue("< one", "< two"), Step{Send: []byte("one")}, Step{Send: []byte("two")})
	f(dialogue(strings.Repeat(".", answerMost-3)+"end"), step("", "end"))
	f(dialogue("hello, and much that nobody reads"), step("", "hello"))
}

func TestExpectFails(t *testing.T) {
	f := func(handle func(net.Conn) error, steps []Step, words ...string) {
		t.Helper()
		a, _ := serve(t, nil, handle)
		askUntilError(t, newProber(t, Config{Kind: Expect, Steps: steps}, a), words...)
	}
	closing := func(handle func(net.Conn) error) func(net.Conn) error {
		return func(conn net.Conn) error {
			if err := handle(conn); err != nil {
				return err
			}
			return conn.(*recorded).Conn.(*net.TCPConn).CloseWrite()
		}
	}
	ping := []Step{step("PING\r\n", "+PONG")}
	f(dialogue("< PING\r\n", "-NOAUTH\r\n"), ping,
		`step 1: no answer in time: got "-NOAUTH\r\n", want "+PONG"`)
	f(closing(dialogue("< PING\r\n", "-ERR\r\n")), ping,
		`step 1: the server closed the connection: got "-ERR\r\n", want "+PONG"`)
	f(closing(dialogue("a", "< b")), []Step{step("", "a"), matching("b", "^c")},
		`step 2: the server closed the connection: got "", want a match of "^c"`)
	f(closing(dialogue(strings.Repeat("x", 200))), []Step{step("", "y")},
		`got "`+strings.Repeat("x", 80)+`"...,`)
	f(dialogue(strings.Repeat("x", answerMost)+"y"), []Step{step("", "y")}, "and more")
}

// TestExpectInTLS: the dialogue is inside TLS, also where the server speaks first.
func TestExpectInTLS(t *testing.T) {
	certificate, trusted := authority(t, []string{"mail.test"})
	secure := func(lines ...string) func(net.Conn) error {
		return func(conn net.Conn) error {
			s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
			if err := dialogue(lines...)(s); err != nil {
				return err
			}
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // a close_notify
				return err
			}
			return s.CloseWrite()
		}
	}
	f := func(handle func(net.Conn) error, files TLSConfig, steps []Step, words ...string) {
		t.Helper()
		a, reports := serve(t, nil, handle)
		_, err := ask(t, newProber(t, Config{Kind: Expect, InTLS: true, TLS: files, Steps: steps}, a))
		r := report(t, reports)
		if len(words) > 0 {
			wantError(t, err, words...)
		} else if err != nil || r.err != nil {
			t.Errorf("%v; the server saw %v", err, r.err)
		}
	}
	known := TLSConfig{CAFile: trusted, ServerName: "mail.test"}
	smtp := []Step{step("", "220"), step("QUIT\r\n", "221")}
	f(secure("220 mail.test\r\n", "< QUIT\r\n", "221 bye\r\n"), TLSConfig{}, smtp)
	f(secure("220 mail.test\r\n", "< QUIT\r\n", "221 bye\r\n"), known, smtp)
	f(dialogue("220 mail.test\r\n"), TLSConfig{}, smtp, "TLS handshake", "not look like")
	f(secure(), TLSConfig{CAFile: trusted, ServerName: "other.test"}, smtp, "TLS handshake", "other.test")
}
