package probe

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// bodies plays a server whose bodies are not over when the headers are.
func bodies(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	switch r.URL.Path {
	case "/stream": // says a word, and then nothing for as long as somebody listens
		_, _ = io.WriteString(w, "data: ok\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/silent":
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/endless":
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 4<<10)); err != nil {
				return
			}
		}
	case "/short": // less than it has promised
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "ok")
	case "/bad":
		w.WriteHeader(http.StatusBadGateway)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// TestHTTPBodyNotAsked: without a body to look for, status and headers decide.
func TestHTTPBodyNotAsked(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(bodies))
	defer s.Close()
	a := addressOf(t, s)
	f := func(path, body string, words ...string) {
		t.Helper()
		p := newProber(t, Config{Kind: HTTP, HTTP: HTTPConfig{Path: path, Body: body}}, a)
		timeout := patient
		if len(words) > 0 && words[0] == errNoAnswer.Error() {
			timeout = 300 * time.Millisecond
		}
		_, err := askWithin(t, p, timeout)
		if len(words) > 0 {
			wantError(t, err, words...)
		} else if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"/stream", "/silent", "/endless", "/short"} {
		f(path, "")
	}
	f("/bad", "", "status 502, want 200 to 399")
	// With one it is looked for as the body comes, and no further.
	f("/stream", "data: ok")
	f("/endless", "xxx")
	f("/short", "ok")
	f("/stream", "else", "no answer in time")
	f("/endless", "else", `body does not contain "else"`)
	f("/short", "else", "read body: the server closed the connection")
}

// TestHTTPChunksApart: a word that comes in two pieces is found.
func TestHTTPChunksApart(t *testing.T) {
	for cut := range len("needle") {
		const whole = "hay needle hay"
		first, second := whole[:4+cut], whole[4+cut:]
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, first)
			_, _ = io.WriteString(w, second)
			_ = w.Close()
		}()
		if found, err := contains(r, []byte("needle")); !found || err != nil {
			t.Errorf("cut at %d: %t, %v", cut, found, err)
		}
		_ = r.Close()
	}
}

// TestNginxHeadersAndOptions: what a server asks of a request can be said.
func TestNginxHeadersAndOptions(t *testing.T) {
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	config := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log notice;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3;
	uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
	server {
		listen 127.0.0.1:%[2]d;
		if ($http_authorization != "Bearer x") { return 401; }
		if ($http_x_probe != "a b") { return 403; }
		return 200 "agent $http_user_agent";
	}
}`, dir, port)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	runServer(t, []uint16{port}, "/usr/sbin/nginx", "-c", filepath.Join(dir, "conf"))
	a := pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
	f := func(c HTTPConfig, words ...string) {
		t.Helper()
		_, err := ask(t, newProber(t, Config{Kind: HTTP, HTTP: c}, a))
		if len(words) > 0 {
			wantError(t, err, words...)
		} else if err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	headers := map[string]string{"Authorization": "Bearer x", "X-Probe": "a b"}
	f(HTTPConfig{}, "status 401")
	f(HTTPConfig{Headers: map[string]string{"Authorization": "Bearer x"}}, "status 403")
	f(HTTPConfig{Headers: headers, Body: "agent sluice"})
	headers["User-Agent"] = "other"
	f(HTTPConfig{Headers: headers, Body: "agent other"})
}

// TestHTTPOptionsOfServer: "*" is the server as a whole.
func TestHTTPOptionsOfServer(t *testing.T) {
	asked := make(chan string, 10)
	a, _ := serve(t, nil, func(conn net.Conn) error {
		line := make([]byte, len("OPTIONS * HTTP/1.1\r\n"))
		if _, err := io.ReadFull(conn, line); err != nil {
			return err
		}
		asked <- string(line)
		return dialogue("HTTP/1.1 204 No Content\r\n\r\n")(conn)
	})
	c := Config{Kind: HTTP, HTTP: HTTPConfig{Method: "OPTIONS", Path: "*"}}
	if _, err := ask(t, newProber(t, c, a)); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != "OPTIONS * HTTP/1.1\r\n" {
		t.Errorf("asked for %q", got)
	}
	c.HTTP.Method = "GET"
	if _, err := New(c, a); err == nil {
		t.Error("GET * is taken")
	}
}
