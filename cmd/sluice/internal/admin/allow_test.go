package admin

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAllow: who is of none of the networks is told which key to change, whatever is asked for; the control socket has no
// addresses. A reload may change it.
func TestAllow(t *testing.T) {
	var networks atomic.Pointer[[]netip.Prefix]
	set := func(all ...string) {
		some := []netip.Prefix{}
		for _, text := range all {
			some = append(some, netip.MustParsePrefix(text))
		}
		networks.Store(&some)
	}
	set()
	o := options(newPool(t, "web", "a"))
	o.Allow = func() []netip.Prefix { return *networks.Load() }
	_, tcp, socket := serve(t, o)
	f := func(method, path string, status int) {
		t.Helper()
		answer, text := tcp.do(method, path)
		if answer.StatusCode != status {
			t.Errorf("%s %s: %s %s", method, path, answer.Status, text)
		}
		if want := "127.0.0.1 may not ask here: add its network to admin.listen.allow\n"; status == 403 && text != want {
			t.Errorf("%q, want %q", text, want)
		}
		if answer, _ := socket.do("GET", path); answer.StatusCode == 403 {
			t.Errorf("%s at the control socket: %s", path, answer.Status)
		}
	}
	f("GET", "/api/v1/status", 200)
	set("10.0.0.0/8", "::1/128")
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/api/v1/sessions", "/nothing"} {
		f("GET", path, 403)
	}
	f("DELETE", "/api/v1/sessions", 403)
	set("10.0.0.0/8", "127.0.0.0/8")
	f("GET", "/api/v1/status", 200)
}

// TestMetricsAddress: it has counters, and nothing of clients.
func TestMetricsAddress(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	o.Allow = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} } // is for the other one
	s, _, socket := serve(t, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ServeMetrics(l)
	c := &client{t, l.Addr()}
	for path, status := range map[string]int{
		"/metrics": 200, "/healthz": 200, "/readyz?pool=web": 200, "/": 404, "/api/v1/status": 404, "/api/v1/sessions": 404,
		"/api/v1/openapi.json": 404, "/api/v1/pools/web/backends/a": 404,
	} {
		if answer, text := c.do("GET", path); answer.StatusCode != status {
			t.Errorf("%s: %s %s", path, answer.Status, text)
		}
	}
	for _, path := range []string{"/metrics", "/api/v1/reload"} {
		if answer, text := c.do("POST", path); answer.StatusCode != 405 || !strings.Contains(text, "read-only") {
			t.Errorf("POST %s: %s %s", path, answer.Status, text)
		}
	}
	if status, _ := askAs(t, c, "Host: evil.example"); status != 421 {
		t.Errorf("another host: %d", status)
	}
	if _, text := socket.do("GET", "/api/v1/status"); !strings.Contains(text, `"metrics": "`+l.Addr().String()+`"`) {
		t.Errorf("the status does not say where: %s", text)
	}
	s.Retire(l)
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the address was given up, and takes connections")
	}
	if status := s.Status(); status.Admin.Metrics != "" || status.Admin.Listen == "" {
		t.Errorf("the status says %+v", status.Admin)
	}
}
