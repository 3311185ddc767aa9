package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// The server sees the addresses that the pool is given, in turn.
func TestSource(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	r := startSluice(t, fmt.Sprintf(`
listeners: {front: {bind: "127.0.0.1:0", pool: app}}
pools: {app: {check: {type: off}, source: [127.0.0.2, 127.0.0.3], backends: [%q]}}
`, server.Addr()))
	seen := map[string]int{}
	for range 4 {
		c, err := net.Dial("tcp", r.address("front"))
		if err != nil {
			t.Fatal(err)
		}
		_ = server.(*net.TCPListener).SetDeadline(time.Now().Add(patient))
		s, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		seen[s.RemoteAddr().(*net.TCPAddr).IP.String()]++
		c.Close()
		s.Close()
	}
	if seen["127.0.0.2"] != 2 || seen["127.0.0.3"] != 2 {
		t.Errorf("the server saw %v, want each source twice", seen)
	}
	r.expectClean(4)
}
