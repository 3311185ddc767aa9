package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// callCurl makes a request with curl.
func callCurl(t *testing.T, s *tlsNames, c call) {
	t.Helper()
	out := output(t, command(t, program(t, "curl"), append(s.curlArgs(c, "/"),
		"--fail", "--write-out", "%{ssl_verify_result} %{local_ip}:%{local_port}")...))
	answer, used, _ := strings.Cut(out, "\n")
	socket, verified := strings.CutPrefix(used, "0 ")
	if !verified {
		t.Errorf("%+v: curl has not verified the certificate: %q", c, used)
	}
	s.expectAnswer(t, c, answer, socket)
}

// curlArgs makes curl ask a listener of sluice under the name and with the ALPN of c.
func (s *tlsNames) curlArgs(c call, path string) []string {
	_, port, _ := strings.Cut(s.addresses[c.listener], ":")
	args := []string{"--silent", "--show-error", "--cacert", s.file, "--noproxy", "*",
		"--connect-to", "::" + s.addresses[c.listener], "https://" + c.name + ":" + port + path}
	switch c.alpn {
	case "":
		args = append(args, "--no-alpn")
	case "http/1.1":
		args = append(args, "--http1.1")
	default:
		args = append(args, "--http2")
	}
	return args
}

// callOpenSSL makes a request with openssl s_client. It speaks no HTTP/2: there, the handshake is all that it does.
func callOpenSSL(t *testing.T, s *tlsNames, c call) {
	t.Helper()
	cmd := command(t, program(t, "openssl"), s.sClientArgs(c)...)
	if c.protocol != "h2" {
		cmd.Args = append(cmd.Args, "-ign_eof")
		cmd.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: " + c.name + "\r\nConnection: close\r\n\r\n")
	}
	out := strings.ReplaceAll(output(t, cmd), "CN = ", "CN=") // as OpenSSL 3.2 and later write it
	alpn := "No ALPN negotiated"
	if c.protocol != "" {
		alpn = "ALPN protocol: " + c.protocol
	}
	for _, want := range []string{"Verify return code: 0 (ok)", "subject=CN=" + c.node + "\n", alpn} {
		if !strings.Contains(out, want) {
			t.Errorf("%+v: openssl s_client does not say %q:\n%s", c, want, out)
		}
	}
	if c.protocol != "h2" {
		s.expectAnswer(t, c, out, "")
	}
}

// sClientArgs makes openssl connect to a listener of sluice under the name and with the ALPN of c, and be strict about
// the certificate. Where OpenSSL has it, from 3.5 on, it sends a key share of X25519MLKEM768.
func (s *tlsNames) sClientArgs(c call) []string {
	args := []string{"s_client", "-connect", s.addresses[c.listener], "-CAfile", s.file, "-verify_return_error"}
	if name := c.serverName(); name != "" {
		args = append(args, "-servername", name, "-verify_hostname", name)
	} else {
		args = append(args, "-noservername", "-verify_ip", c.name)
	}
	if c.alpn != "" {
		args = append(args, "-alpn", c.alpn)
	}
	return args
}

// callGo makes a request with the client of Go, whose hello has a key share of X25519MLKEM768 and takes more than one
// segment on a usual network.
func callGo(t *testing.T, s *tlsNames, c call) {
	t.Helper()
	var offers []string
	if c.alpn != "" {
		offers = strings.Split(c.alpn, ",")
	}
	var hello helloConn
	s.get(t, c, &hello, &http.Transport{
		DisableKeepAlives: true,
		ForceAttemptHTTP2: true, // if that is what it and the node agree on
		DialTLSContext: func(ctx context.Context, _, _ string) (_ net.Conn, err error) {
			hello.Conn, err = new(net.Dialer).DialContext(ctx, "tcp", s.addresses[c.listener])
			return tls.Client(&hello, &tls.Config{RootCAs: s.pool, ServerName: c.name, NextProtos: offers}), err
		},
	})
}

// get makes a request over a transport and checks the answer, and the hello that was sent for it.
func (s *tlsNames) get(t *testing.T, c call, hello *helloConn, transport *http.Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.name+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	if answer.TLS.NegotiatedProtocol != c.protocol {
		t.Errorf("%+v: client and node agree on %q", c, answer.TLS.NegotiatedProtocol)
	}
	if len(hello.sent) < keyShareML {
		t.Errorf("%+v: a hello of %d bytes has no key share of X25519MLKEM768", c, len(hello.sent))
	}
	s.expectAnswer(t, c, string(body), hello.LocalAddr().String())
}

// keyShareML is the length of a key share of X25519MLKEM768.
const keyShareML = 1216

// A helloConn keeps the first write of a TLS client, its ClientHello.
type helloConn struct {
	net.Conn
	sent []byte
}

func (c *helloConn) Write(data []byte) (int, error) {
	if c.sent == nil {
		c.sent = slices.Clone(data)
	}
	return c.Conn.Write(data)
}
