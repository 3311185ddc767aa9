package admin

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// askAs sends a request with this line for the host; "" = none, as HTTP/1.0 has it.
func askAs(t *testing.T, c *client, host string) (status int, body string) {
	t.Helper()
	request := "GET /healthz HTTP/1.0\r\n\r\n"
	if host != "" {
		request = "GET /healthz HTTP/1.1\r\nConnection: close\r\n" + host + "\r\n\r\n"
	}
	conn := dial(t, c.addr)
	conn.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// TestHost: a page in a browser cannot read answers by leading its own name to the admin address.
func TestHost(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	o.Hosts = func() []string { return []string{"metrics.internal", "lb1"} }
	_, tcp, socket := serve(t, o)
	for _, host := range []string{
		"", "Host: 127.0.0.1", "Host: 127.0.0.1:9600", "Host: [::1]:9600", "Host: [::1]", "Host: [fe80::1%25eth0]:1",
		"Host: localhost", "Host: LocalHost:9600", "Host: metrics.internal:9600", "Host: METRICS.internal.", "Host: lb1", "Host:",
	} {
		if status, body := askAs(t, tcp, host); status != http.StatusOK {
			t.Errorf("%q: %d %s", host, status, body)
		}
	}
	for _, host := range []string{
		"attacker.example", "attacker.example:9600", "internal", "x.metrics.internal", "127.0.0.1.attacker.example",
		"localhost.attacker.example", "0x7f000001", strings.Repeat("a", 300),
	} {
		status, body := askAs(t, tcp, "Host: "+host)
		if status != http.StatusMisdirectedRequest || !strings.Contains(body, "add the name to admin.hosts") || len(body) > 200 {
			t.Errorf("%q: %d %s", host, status, body)
		}
		if status, body := askAs(t, socket, "Host: "+host); status != http.StatusOK {
			t.Errorf("%q on the control socket: %d %s", host, status, body)
		}
	}
}
