package e2e

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"time"
)

// Connections to the admin address that are kept open after an answer take no descriptor from sessions, from checks or
// from those who ask later, at the address or at the control socket.
func TestAdminCrowd(t *testing.T) {
	t.Parallel()
	r := startOverload(t)
	for range 2 * overloadFiles {
		c := dialFrom(t, "127.0.0.1", r.admin, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(patient))
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
	}
	open := r.fill()
	r.untilFull()
	r.expectChecks()
	if code, text := r.get("/readyz?listener=one"); code != http.StatusOK {
		t.Errorf("at the limit, /readyz answers %d %q", code, text)
	}
	for _, c := range open {
		expectEcho(t, c)
		c.Close()
	}
	r.expectClean(uint64(len(open)))
	for _, l := range r.limits().Listeners {
		if l.AcceptErrors != 0 {
			t.Errorf("connections could not be accepted: %+v", l)
		}
	}
}
