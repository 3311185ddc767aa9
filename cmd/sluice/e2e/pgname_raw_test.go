package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Requests that come before a start-up packet: https://www.postgresql.org/docs/current/protocol-message-formats.html
const (
	pgSSLRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	pgGSSRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"
)

// pgStartup is a start-up packet.
func pgStartup(user, database string) string {
	text := "\x00\x03\x00\x00user\x00" + user + "\x00database\x00" + database + "\x00\x00"
	return string(binary.BigEndian.AppendUint32(nil, uint32(4+len(text)))) + text
}

// dialPg opens a connection on which things must happen soon, and sends something.
func dialPg(t *testing.T, address, sends string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patient))
	sendPg(t, c, sends)
	return c
}

func sendPg(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// expectByte reads one byte.
func expectByte(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, 1)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("the answer is %q, %v; want %q", got, err, want)
	}
}

// pgListeners is the listeners that know names, and what they want to hear first.
var pgListeners = map[string]string{"named": "", "other": "", "behind": "PROXY TCP4 192.0.2.1 192.0.2.2 40000 5432\r\n"}

// checkGSS asks for encryption by Kerberos first, as libpq does where it has a ticket, and goes on with TLS or in
// clear.
func (s *pgNames) checkGSS(r *rig) {
	for listener, before := range pgListeners {
		c := dialPg(s.t, r.address(listener), before+pgGSSRequest)
		expectByte(s.t, c, "N")
		sendPg(s.t, c, pgSSLRequest)
		expectByte(s.t, c, "S")
		secured := tls.Client(c, &tls.Config{ServerName: secondName, RootCAs: s.authority.pool})
		sendPg(s.t, secured, pgStartup("postgres", "app2"))
		expectByte(s.t, secured, "R") // Authentication...
		secured.Close()

		c = dialPg(s.t, r.address(listener), before+pgGSSRequest)
		expectByte(s.t, c, "N")
		sendPg(s.t, c, pgStartup("postgres", "app1"))
		expectByte(s.t, c, "R")
		c.Close()
	}
}

// checkStuffed sends more than a request for encryption before the answer, which somebody between client and sluice
// could have put there (CVE-2021-23222). No server may take it for something that the client has encrypted.
func (s *pgNames) checkStuffed(r *rig) {
	connects, invalid := r.connects(), r.status().ended("hello_invalid")
	stuffed := []string{
		pgSSLRequest + pgStartup("postgres", "app1"), pgSSLRequest + "\x16", pgSSLRequest + pgSSLRequest,
		pgSSLRequest + s.helloTo(firstName),
		pgGSSRequest + pgSSLRequest + pgStartup("postgres", "app1"),
	}
	for listener, before := range pgListeners {
		for _, text := range stuffed {
			c := dialPg(s.t, r.address(listener), before+text)
			// The end may be a reset: there is something that nobody has read.
			if answer, _ := io.ReadAll(c); string(answer) != "" && string(answer) != "N" {
				s.t.Errorf("%s: %.20q... is answered with %q", listener, text, answer)
			}
			c.Close()
		}
	}
	r.checkCounters()
	if n := r.status().ended("hello_invalid") - invalid; n != uint64(len(pgListeners)*len(stuffed)) {
		s.t.Errorf("%d sessions have ended with hello_invalid, want %d", n, len(pgListeners)*len(stuffed))
	}
	if got := r.connects(); got != connects {
		s.t.Errorf("%d connects were made for sessions that have sent too much", got-connects)
	}
}

// helloTo is the first message of a client that speaks TLS to a host.
func (s *pgNames) helloTo(host string) string {
	s.t.Helper()
	hello := new(helloCatcher)
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel() // there is nobody to wait for
	err := tls.Client(hello, &tls.Config{ServerName: host}).HandshakeContext(ctx)
	if err == nil || hello.sent.Len() == 0 {
		s.t.Fatalf("a handshake with nobody sends %d bytes and ends with %v", hello.sent.Len(), err)
	}
	return hello.sent.String()
}

// A helloCatcher is a connection to nobody that keeps what is sent.
type helloCatcher struct {
	net.Conn
	sent bytes.Buffer
}

func (h *helloCatcher) Write(p []byte) (int, error)      { return h.sent.Write(p) }
func (h *helloCatcher) Read([]byte) (int, error)         { return 0, io.EOF }
func (h *helloCatcher) Close() error                     { return nil }
func (h *helloCatcher) SetDeadline(time.Time) error      { return nil }
func (h *helloCatcher) SetReadDeadline(time.Time) error  { return nil }
func (h *helloCatcher) SetWriteDeadline(time.Time) error { return nil }

// startPgAnswer runs a server that answers an SSLRequest and no other, and then says nothing until the other side is
// done. It returns its address.
func startPgAnswer(t *testing.T, answer string) string {
	t.Helper()
	return serveConns(t, listenHere(t), func(c net.Conn) {
		request := make([]byte, len(pgSSLRequest))
		if _, err := io.ReadFull(c, request); err == nil && string(request) == pgSSLRequest {
			_, _ = io.WriteString(c, answer) // sluice and the client look at what comes
			_, _ = io.Copy(io.Discard, c)
		}
	})
}

// checkStrangeServers asks a server by its name that has no TLS, and one that says more than "yes". The client has been
// told that there is TLS, so it learns in TLS that there is nobody, and nothing else that such a server says.
func (s *pgNames) checkStrangeServers(r *rig) {
	before := r.status().ended("server_reset")
	for _, host := range []string{"plain.test", "early.test"} {
		s.expectRefused(r.address("named"), pgLogin{host: host, sslmode: "require"}, "alert internal error")
	}
	r.checkCounters()
	if n := r.status().ended("server_reset") - before; n != 2 {
		s.t.Errorf("%d sessions have ended with server_reset, want 2", n)
	}
}

// A pgDirect is a server that speaks TLS without being asked for it, as Postgres does from version 17 on.
type pgDirect struct {
	t         *testing.T
	at        string
	authority *authority
}

const directName = "pg.direct.test"

func startPgDirect(s *pgNames) *pgDirect {
	s.t.Helper()
	c := s.authority.issue("direct", directName)
	pair, err := tls.LoadX509KeyPair(c.file, c.key)
	if err != nil {
		s.t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"postgresql"}}
	at := serveConns(s.t, tls.NewListener(listenHere(s.t), config), func(c net.Conn) {
		_, _ = io.Copy(c, c) // the client looks at what comes back
	})
	return &pgDirect{t: s.t, at: at, authority: s.authority}
}

func (d *pgDirect) address() string { return d.at }

// check speaks TLS at once, to the server and to names or with protocols that no route has.
func (d *pgDirect) check(address string) {
	d.t.Helper()
	c := tls.Client(dialPg(d.t, address, ""),
		&tls.Config{ServerName: directName, RootCAs: d.authority.pool, NextProtos: []string{"postgresql"}})
	sendPg(d.t, c, "x")
	expectByte(d.t, c, "x")
	if got := c.ConnectionState().NegotiatedProtocol; got != "postgresql" {
		d.t.Errorf("the protocol is %q", got)
	}
	c.Close()
	f := func(name string, protocols ...string) {
		d.t.Helper()
		c := tls.Client(dialPg(d.t, address, ""),
			&tls.Config{ServerName: name, RootCAs: d.authority.pool, NextProtos: protocols})
		if err := c.Handshake(); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			d.t.Errorf("TLS to %q with %q: %v, want an alert", name, protocols, err)
		}
		c.Close()
	}
	f("direct.test", "postgresql")
	f(directName, "h2")
	f(directName)
}

// expectPolite checks that nothing of a client that was refused has come to a server.
func (s *pgNames) expectPolite() {
	s.t.Helper()
	for _, m := range s.members {
		for _, line := range readLines(s.t, m.log) {
			for _, word := range []string{"startup packet", "unencrypted data", "SSL error", "could not accept SSL"} {
				if strings.Contains(line, word) {
					s.t.Errorf("%s complains: %s", m.name, line)
				}
			}
		}
	}
}
