package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// pairConfig is two nodes, of which a session tries the one after the other.
const pairConfig = `
listeners:
  web: {bind: "127.0.0.1:0", pool: web}
pools:
  web:
    balance: first
    send_proxy: v2
    queue: {max: 0}
    check: %s
    eject: {failures: 0}
    backends:
      - {name: n1, address: "127.0.0.1:%d"}
      - {name: n2, address: "127.0.0.1:%d"}
`

// Nobody listens where the backends should be, and nobody checks: every client is told with a reset, and sluice says
// why. When one comes up it is used at once.
func TestConnectRefused(t *testing.T) {
	t.Parallel()
	n := newNginx(t, "n1", "proxy_protocol")
	r := startSluice(t, fmt.Sprintf(pairConfig, "{type: off}", n.port, systest.ReservePort(t)))
	const clients = 20
	expectResets(t, r.address("web"), clients)
	r.expectEnds(map[string]uint64{"connect_refused": clients})
	for _, name := range []string{"n1", "n2"} {
		if got := r.status().backend(t, name).ConnectFailures["refused"]; got != clients {
			t.Errorf("%d connects were refused by %s, want %d", got, name, clients)
		}
		r.expectMetric(fmt.Sprintf(`sluice_backend_connect_failures_total{pool="web",backend=%q,reason="refused"}`, name),
			clients)
	}
	r.expectMetric(`sluice_sessions_ended_total{listener="web",pool="web",reason="connect_refused"}`, clients)
	for _, s := range r.sessions() {
		if s.Error != "connection refused" || s.Backend != "n2" || s.Sent+s.Received != 0 {
			t.Errorf("a session is logged with %+v; want the refusal by n2, and no bytes", s)
		}
	}
	n.start(t)
	crowd(t, 20, r.address("web"), "127.0.0.1")
	r.expectEnded("connect_refused", clients)
}

// With checks, sluice knows that nobody listens: it does not try, and it is not ready until a node is.
func TestNoBackend(t *testing.T) {
	t.Parallel()
	n := newNginx(t, "n1", "proxy_protocol")
	r := startSluice(t, fmt.Sprintf(pairConfig, "{interval: 100ms, timeout: 30s, rise: 1}", n.port, systest.ReservePort(t)))
	r.untilUsable("n1", false)
	r.untilUsable("n2", false)
	if code, text := r.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, `pool "web"`) {
		t.Errorf("/readyz answers %d %q when no backend is up", code, text)
	}
	expectResets(t, r.address("web"), 10)
	r.expectEnds(map[string]uint64{"no_backend": 10})
	n.start(t)
	r.untilUsable("n1", true)
	if code, text := r.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d %q when a backend is up", code, text)
	}
	crowd(t, 10, r.address("web"), "127.0.0.1")
	r.expectEnded("no_backend", 10)
}

// expectEnded checks how many sessions have ended for one reason, whatever others have.
func (r *rig) expectEnded(reason string, want uint64) {
	r.t.Helper()
	if got := r.status().ended(reason); got != want {
		r.t.Errorf("%d sessions have ended with %s, want %d", got, reason, want)
	}
}

// expectResets opens connections all at once, and checks that each is reset before it is given anything.
func expectResets(t *testing.T, address string, n int) {
	t.Helper()
	errs := make([]error, n)
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { errs[i] = dialReset(address, "GET / HTTP/1.0\r\n\r\n") })
	}
	clients.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// dialReset connects, sends something, and returns an error unless nothing but a reset comes back. The kernel reports
// it to one call, whichever is the first.
func dialReset(address, sends string) error {
	c, err := net.Dial("tcp", address)
	if isReset(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(c, sends); isReset(err) {
		return nil
	} else if err != nil {
		return err
	}
	data, err := io.ReadAll(c)
	if len(data) > 0 || !isReset(err) {
		return fmt.Errorf("got %q and %v, want a reset", data, err)
	}
	return nil
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// bigFile is more than the buffers of all sockets on the way can hold.
const bigFile = 100_000_000

// startBig runs a node with a big file, /files/big, and sluice in front of it.
func startBig(t *testing.T) (*rig, *node) {
	t.Helper()
	n := startNginx(t, "n1", "proxy_protocol")
	writeRandom(t, []*node{n}, "big", bigFile)
	return startSluice(t, fmt.Sprintf(pairConfig, "{type: off}", n.port, systest.ReservePort(t))), n
}

// A client that is killed while it downloads is a reset for the node, which does not go on sending.
func TestClientKilled(t *testing.T) {
	t.Parallel()
	r, _ := startBig(t)
	var clients []*process
	for range 3 {
		cmd := command(t, program(t, "curl"), "--silent", "--limit-rate", "100k", "--output", "/dev/null",
			"http://"+r.address("web")+"/files/big")
		clients = append(clients, start(t, "curl", tempDir(t), cmd))
	}
	until(t, "each download has begun", func() error {
		begun := slices.DeleteFunc(r.openSessions(), func(s openSession) bool { return s.Received == 0 })
		if len(begun) != len(clients) {
			return fmt.Errorf("%d have", len(begun))
		}
		return nil
	})
	// Of who has read everything so far, the kernel says goodbye with a FIN.
	for _, c := range clients {
		c.signal(syscall.SIGSTOP)
	}
	until(t, "each client has something unread", func() error {
		for _, s := range clientSockets(t, r.address("web")) {
			if s.Unread == 0 {
				return errors.New("one has not")
			}
		}
		return nil
	})
	for _, c := range clients {
		c.kill()
	}
	r.expectEnds(map[string]uint64{"client_reset": 3})
	crowd(t, 10, r.address("web"), "127.0.0.1")
}

// A node that is killed with a request unread resets its connection. The client sees a reset, not the end of a file.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	r, n := startBig(t)
	c := beginDownload(t, r.address("web"))
	before := r.status().backend(t, n.name).Sent
	const next = "GET /files/never HTTP/1.1\r\nHost: h\r\n\r\n"
	if _, err := io.WriteString(c, next); err != nil {
		t.Fatal(err)
	}
	until(t, "the second request is at the node", func() error {
		if sent := r.status().backend(t, n.name).Sent - before; sent != uint64(len(next)) {
			return fmt.Errorf("%d of %d bytes were sent", sent, len(next))
		}
		return nil
	})
	n.kill()
	if got, err := io.Copy(io.Discard, c); !isReset(err) || got >= bigFile {
		t.Errorf("the download goes on for %d bytes and ends with %v, want a reset", got, err)
	}
	r.expectEnds(map[string]uint64{"server_reset": 1})
}

// beginDownload returns a connection on which the big file has begun to come.
func beginDownload(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(c, "GET /files/big HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.ContentLength != bigFile {
		t.Fatalf("the download begins with %+v, %v", answer, err)
	}
	return c
}
