package probe

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
)

// floodMost is where a hostile server of these tests ends by itself.
const floodMost = 64 << 20

var errFlooded = errors.New("the client took it all")

// flood writes the same again and again, until the client hangs up.
func flood(conn net.Conn, piece string) error {
	block := bytes.Repeat([]byte(piece), 1+(64<<10)/len(piece))
	for sent := 0; sent < floodMost; sent += len(block) {
		if _, err := conn.Write(block); err != nil {
			return nil
		}
	}
	return errFlooded
}

// flooding returns a handler that goes through the lines first.
func flooding(piece string, handle func(net.Conn) error) func(net.Conn) error {
	return func(conn net.Conn) error {
		if err := handle(conn); err != nil {
			return err
		}
		return flood(conn, piece)
	}
}

// TestHostileServer sends without an end: what is taken of it is bounded, whatever is asked.
func TestHostileServer(t *testing.T) {
	f := func(c Config, handle func(net.Conn) error) {
		t.Helper()
		a, reports := serve(t, nil, handle)
		_, err := ask(t, newProber(t, c, a))
		wantError(t, err, "the server sent more than 1 MiB")
		if r := report(t, reports); errors.Is(r.err, errFlooded) {
			t.Errorf("%v: %v", c.Kind, r.err)
		}
	}
	ready := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	asked := startup(ready, "< "+message('Q', question+"\x00"))
	login := as("sluice", "prefer")
	f(login, flooding(message('S', "a\x00b\x00"), startup()))
	f(login, flooding(message('N', "SNOTICE\x00\x00"), startup()))
	f(login, flooding(message('R', "\x00\x00\x00\x00"), startup()))
	f(login, flooding(message('D', "\x00\x00"), asked))
	f(login, flooding(message('D', "\x00\x01\x00\x00\x80\x00"+strings.Repeat("x", 32<<10)), asked))
	f(login, flooding(message('T', "\x00\x00")+message('C', "SELECT 1\x00"), asked))
	f(login, flooding(message('S', "a\x00b\x00"), asked))
	f(Config{Kind: HTTP}, flooding("HTTP/1.1 100 Continue\r\n\r\n", silent))
	f(Config{Kind: HTTP}, flooding("X: y\r\n", dialogue("HTTP/1.1 200 OK\r\n")))
	f(Config{Kind: HTTP}, flooding("x", dialogue("HTTP/1.1 200 OK")))
}

// TestHostileServerInTLS: what is encrypted counts as well.
func TestHostileServerInTLS(t *testing.T) {
	certificate, _ := authority(t, nil)
	a, reports := serve(t, nil, func(conn net.Conn) error {
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
		return flooding("X: y\r\n", dialogue("HTTP/1.1 200 OK\r\n"))(secure)
	})
	_, err := ask(t, newProber(t, Config{Kind: HTTP, InTLS: true}, a))
	wantError(t, err, "read response: the server sent more than 1 MiB")
	if r := report(t, reports); errors.Is(r.err, errFlooded) {
		t.Error(r.err)
	}
}

// answered is what a replica says, in a row.
var answered = message('T', "\x00\x00") + message('D', "\x00\x06\x00\x00\x00\x01t\x00\x00\x00\x017"+
	strings.Repeat("\xff\xff\xff\xff", 4)) +
	message('C', "SELECT 1\x00") + message('Z', "I")

// TestHostileServerBetweenQuestions: a connection that is kept is no way around the bound either.
func TestHostileServerBetweenQuestions(t *testing.T) {
	ready := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	a, reports := serve(t, nil, flooding(message('S', "a\x00b\x00"),
		startup(ready, "< "+message('Q', question+"\x00"), answered)))
	p := newProber(t, as("sluice", "prefer"), a)
	lost := lostSoon(t, p)
	if _, err := ask(t, p); err != nil {
		t.Fatal(err)
	}
	wantLost(t, lost)
	if r := report(t, reports); errors.Is(r.err, errFlooded) {
		t.Error(r.err)
	}
}

// TestKeptConnectionIsBounded: each answer is within the bound, but a connection that takes one after another is replaced.
func TestKeptConnectionIsBounded(t *testing.T) {
	ready := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	much := strings.Repeat(message('S', "a\x00"+strings.Repeat("b", 1000)+"\x00"), 500)
	lines := []string{ready}
	for range 20 {
		lines = append(lines, "< "+message('Q', question+"\x00"), much, answered)
	}
	a, reports := serve(t, nil, startup(lines...))
	p := newProber(t, as("sluice", "prefer"), a)
	for range 12 {
		if _, err := ask(t, p); err != nil {
			t.Fatal(err)
		}
	}
	report(t, reports) // the first connection has ended
}
