package probe

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"sluice/pool"
)

// answerer plays a server whose answers the path chooses.
func answerer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/redirect":
		http.Redirect(w, r, "/503", http.StatusFound)
	case "/503":
		http.Error(w, "no", http.StatusServiceUnavailable)
	case "/request":
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.RequestURI, r.Host, r.UserAgent(), r.Header.Get("Connection"))
	case "/large":
		_, _ = w.Write(bytes.Repeat([]byte("."), bodyMost-2))
		_, _ = w.Write([]byte("end, and more"))
	case "/hint":
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	default:
		_, _ = w.Write([]byte("all ok\n"))
	}
}

func addressOf(t *testing.T, s *httptest.Server) pool.Address {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return pool.Address{TCP: netip.MustParseAddrPort(u.Host)}
}

func TestHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(answerer))
	defer s.Close()
	a := addressOf(t, s)
	f := func(c HTTPConfig, words ...string) {
		t.Helper()
		_, err := ask(t, newProber(t, Config{Kind: HTTP, HTTP: c}, a))
		if len(words) > 0 {
			wantError(t, err, words...)
		} else if err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	f(HTTPConfig{})
	f(HTTPConfig{Method: "HEAD"})
	f(HTTPConfig{Body: "all ok"})
	f(HTTPConfig{Body: "ok!"}, `body does not contain "ok!"`)
	f(HTTPConfig{Path: "/redirect"})
	f(HTTPConfig{Path: "/hint", Status: []StatusRange{{204, 204}}})
	f(HTTPConfig{Path: "/503"}, "status 503, want 200 to 399")
	f(HTTPConfig{Path: "/503", Status: []StatusRange{{200, 200}, {500, 599}}})
	f(HTTPConfig{Path: "/503", Status: []StatusRange{{200, 200}, {204, 204}, {300, 399}}}, "want 200, 204 or 300 to 399")
	f(HTTPConfig{Path: "/large", Body: ".end"}, `body does not contain ".end"`) // its last byte is behind the first 64 KiB
	f(HTTPConfig{Path: "/large", Body: ".en"})
	f(HTTPConfig{Path: "/request?lag=10MB", Host: "x.test", Body: "GET /request?lag=10MB x.test sluice close"})
	f(HTTPConfig{Path: "/request", Method: "OPTIONS", Body: "OPTIONS /request " + a.String()})
}

func TestHTTPOverTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(answerer))
	certificate, trusted := authority(t, []string{"web.test"}, "127.0.0.1")
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	var log bytes.Buffer
	s.Config.ErrorLog = newLogger(&log)
	s.StartTLS()
	a := addressOf(t, s)
	f := func(ca, name string, words ...string) {
		t.Helper()
		c := Config{Kind: HTTP, InTLS: true, HTTP: HTTPConfig{Body: "ok"}, TLS: TLSConfig{CAFile: ca, ServerName: name}}
		_, err := ask(t, newProber(t, c, a))
		if len(words) > 0 {
			wantError(t, err, words...)
		} else if err != nil {
			t.Error(err)
		}
	}
	f("", "")
	f("", "any.test")
	f(trusted, "")
	f(trusted, "web.test")
	s.Close() // waits for the connections
	if log.Len() > 0 {
		t.Errorf("the server logged %s", log.String())
	}
}

func TestHTTPUnixSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := serve(t, l, dialogue("< GET / HTTP/1.1\r\nHost: localhost\r\n", "HTTP/1.1 204 No Content\r\n\r\n"))
	if _, err := ask(t, newProber(t, Config{Kind: HTTP}, a)); err != nil {
		t.Error(err)
	}
}

func TestHTTPOdd(t *testing.T) {
	f := func(answer string, words ...string) {
		t.Helper()
		a, _ := serve(t, nil, func(conn net.Conn) error {
			if err := dialogue("< GET / HTTP/1.1\r\n", answer)(conn); err != nil {
				return err
			}
			return conn.(*recorded).Conn.(*net.TCPConn).CloseWrite()
		})
		_, err := ask(t, newProber(t, Config{Kind: HTTP}, a))
		wantError(t, err, words...)
		if len(err.Error()) > 400 {
			t.Errorf("%d bytes of error", len(err.Error()))
		}
	}
	f("", "read response: the server closed the connection")
	f("220 mail.test\r\n", "read response", "malformed")
	f(strings.Repeat("x", 100_000)+"\r\n", "read response", "malformed")
	f(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", takeMost/20), "read response: the server sent more than 1 MiB")
}

func TestHTTPSilent(t *testing.T) {
	a, _ := serve(t, nil, silent)
	askUntilError(t, newProber(t, Config{Kind: HTTP}, a), "read response: no answer in time")
}
