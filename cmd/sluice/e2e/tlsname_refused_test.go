package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
)

// unknown are connections that no route takes, at listeners that have no pool for them.
var unknown = []call{
	{listener: "strict", name: "www.example.net", alpn: "h2,http/1.1"},
	{listener: "strict", name: "de.shop.example.com", alpn: "http/1.1"},
	{listener: "any", name: "127.0.0.1", alpn: "http/1.1"}, // no name is not any name
}

// A client that no route takes is told so, in the words of TLS.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	s := startNames(t)
	var want []string
	for _, c := range unknown {
		for _, refusal := range []string{s.refusedCurl(c), s.refusedOpenSSL(c), s.refusedGo(c)} {
			if !strings.Contains(refusal, "unrecognized name") {
				t.Errorf("%+v: %s", c, refusal)
			}
			want = append(want, c.listener+"/"+c.serverName()+"/no_route")
		}
	}
	s.expectEnds(map[string]uint64{"no_route": uint64(len(want))})
	untilSame(t, "refused names are logged", want, func() (got []string) {
		for _, line := range s.sessions() {
			got = append(got, line.Listener+"/"+line.ServerName+"/"+line.Reason)
		}
		return got
	})
	for _, p := range s.status().Pools {
		for _, b := range p.Backends {
			if b.Connects != 0 {
				t.Errorf("%s was connected to %d times for clients that are refused", b.Name, b.Connects)
			}
		}
	}
}

// refusedCurl returns what curl says when it fails.
func (s *tlsNames) refusedCurl(c call) string {
	s.t.Helper()
	out, err := command(s.t, program(s.t, "curl"), s.curlArgs(c, "/")...).Output()
	return fmt.Sprintf("curl: %s, %v: %s", out, err, complaint(err))
}

// refusedOpenSSL returns what openssl says when it fails: it knows the alert's number, too.
func (s *tlsNames) refusedOpenSSL(c call) string {
	s.t.Helper()
	_, err := command(s.t, program(s.t, "openssl"), s.sClientArgs(c)...).Output()
	said := complaint(err)
	if !strings.Contains(said, "SSL alert number 112") {
		s.t.Errorf("%+v: openssl s_client: %v: %s", c, err, said)
	}
	return said
}

func (s *tlsNames) refusedGo(c call) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patient)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{ServerName: c.name, RootCAs: s.pool, NextProtos: strings.Split(c.alpn, ",")}}
	conn, err := dialer.DialContext(ctx, "tcp", s.addresses[c.listener])
	if err == nil {
		conn.Close()
	}
	return fmt.Sprintf("Go: %v", err)
}

// What is no TLS goes to the listener's pool, whose node answers as it likes, or is refused without a word.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	s := startNames(t)
	curl := program(t, "curl")
	out := output(t, command(t, curl, "--silent", "--show-error", "http://"+s.addresses["web"]+"/"))
	if !strings.Contains(out, "The plain HTTP request was sent to HTTPS port") {
		t.Errorf("the node answers %q", out)
	}
	out, err := s.plain("strict")
	if err == nil || out != "" {
		t.Errorf("a plain request at a listener without a pool is answered with %q, %v", out, err)
	}
	s.untilEnds("one for the node, one refused", func(got map[string]uint64) bool {
		return got["hello_invalid"] == 1 && got["client_closed"]+got["server_closed"]+got["server_reset"] == 1
	})
}

// plain makes a request without TLS.
func (s *tlsNames) plain(listener string) (string, error) {
	out, err := command(s.t, program(s.t, "curl"), "--silent", "http://"+s.addresses[listener]+"/").Output()
	return string(out), err
}

// A file of several megabytes arrives as it is, over both versions of HTTP, after its hello was read.
func TestNamedDownload(t *testing.T) {
	t.Parallel()
	s := startNames(t)
	want := writeRandom(t, []*node{s.nodes["shop"].node}, "download", 8_000_000)
	for _, alpn := range []string{"h2,http/1.1", "http/1.1"} {
		c := call{listener: "web", name: "shop.example.com", alpn: alpn}
		out := output(t, command(t, program(t, "curl"), append(s.curlArgs(c, "/files/download"), "--fail")...))
		if sum := sha256.Sum256([]byte(out)); string(sum[:]) != want {
			t.Errorf("%s: SHA-256 of %d bytes is %x, want %x", alpn, len(out), sum, want)
		}
	}
}
