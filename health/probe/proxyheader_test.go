package probe

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// afterHeader reads a PROXY header from a connection, hands it out, and handles the rest.
func afterHeader(headers chan<- *proxyproto.Header, handle func(net.Conn) error) func(net.Conn) error {
	return func(conn net.Conn) error {
		r := bufio.NewReader(conn)
		header, err := proxyproto.Read(r)
		if err != nil {
			headers <- nil
			return err
		}
		headers <- header
		return handle(&unread{conn, r})
	}
}

// unread is a connection of which something was read ahead.
type unread struct {
	net.Conn
	r *bufio.Reader
}

func (u *unread) Read(p []byte) (int, error) { return u.r.Read(p) }

// wantHeader checks a header that a probe sent.
func wantHeader(t *testing.T, h *proxyproto.Header, version uint8, unix bool) {
	t.Helper()
	if h == nil {
		t.Fatal("no PROXY header")
	}
	if h.Version != version || version == 2 && !h.Command.IsLocal() {
		t.Errorf("header %+v, want version %d, LOCAL if that is 2", h, version)
	}
	if version == 1 && !unix {
		source, destination, ok := h.TCPAddrs()
		if !ok || !source.IP.IsLoopback() || source.Port == 0 || !destination.IP.IsLoopback() {
			t.Errorf("header %+v, want the probe's own addresses", h)
		}
	}
}

func TestProxyHeader(t *testing.T) {
	certificate, _ := authority(t, []string{"localhost"})
	greeting := Step{Want: []byte("hello")}
	ping := Step{Send: []byte("PING\r\n"), Want: []byte("+PONG")}
	secure := func(conn net.Conn) error {
		return tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake()
	}
	// rest is what the first read must have after the header: it is sent in the same segment.
	f := func(c Config, version uint8, network, rest string, handle func(net.Conn) error) {
		t.Helper()
		address := map[string]string{
			"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")}[network]
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		headers := make(chan *proxyproto.Header, 1)
		a, reports := serve(t, l, afterHeader(headers, handle))
		c.ProxyVersion = version
		if _, err := ask(t, newProber(t, c, a)); err != nil {
			t.Errorf("%v over %s: %v", c.Kind, network, err)
		}
		wantHeader(t, <-headers, version, network == "unix")
		first := report(t, reports).first
		if version == 1 {
			word := map[string]string{
				"tcp4": "PROXY TCP4 127.0.0.1 ", "tcp6": "PROXY TCP6 ::1 ", "unix": "PROXY UNKNOWN\r\n"}[network]
			if !bytes.HasPrefix(first, []byte(word)) {
				t.Errorf("%v over %s: got %q", c.Kind, network, first)
			}
		}
		if !strings.Contains(string(first), rest) {
			t.Errorf("%v over %s: %q did not come with the header, but %q", c.Kind, network, rest, first)
		}
	}
	for _, version := range []uint8{1, 2} {
		for _, network := range []string{"tcp4", "tcp6", "unix"} {
			f(Config{}, version, network, "", silent)
			f(Config{Kind: TLS}, version, network, "\x16\x03\x01", secure)
			f(Config{Kind: HTTP}, version, network, "GET / HTTP/1.1\r\n",
				dialogue("< GET / HTTP/1.1\r\n", "HTTP/1.1 204 No Content\r\n\r\n"))
			f(Config{Kind: Expect, Steps: []Step{greeting}}, version, network, "", dialogue("hello"))
			f(Config{Kind: Expect, Steps: []Step{ping}}, version, network, "PING\r\n", dialogue("< PING\r\n", "+PONG\r\n"))
		}
	}
}
